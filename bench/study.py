"""A blind user study: a page that hides the methods, its key, and the raters' files as records with their agreement."""

from __future__ import annotations

import csv
import io
import json
import math
from base64 import b64encode
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import bench
from bench import image, provenance, summary
from bench import result as results
from bench.agreement import Alpha, alpha_with_interval
from bench.contracts import Cell, Column, Measured, MethodRow, Record, Result, Table
from bench.store import FILENAME, Store, explained
from bench.summary import NO_ENHANCEMENT, Pool

Floats = NDArray[np.float64]

PAGE, KEY = "study.html", "key.json"
KEY_FORMAT, SCORES_FORMAT = "lowlight-bench study key 1", "lowlight-bench study scores 1"
LONG_SIDE = 1200
"""Pixels of the page's pictures; smaller ones are not enlarged."""
QUALITY = 90
"""Of the page's pictures, WebP."""
REPORTS = ("csv", "records", "markdown", "latex")
NOT_SCORED = "not scored"

_CODE_LETTERS = "bcdfghjkmnpqrstvwxz23456789"
"""Without vowels: no code is a word."""


@dataclass(frozen=True, slots=True)
class Scale:
    """A question to the raters."""

    name: str
    label: str
    question: str
    low: float
    high: float
    step: float
    low_means: str
    high_means: str
    paper: str

    @property
    def choices(self) -> list[float]:
        """Every score that may be given."""
        count = round((self.high - self.low) / self.step)
        return [self.low + place * self.step for place in range(count + 1)]

    def objection(self, value: object) -> str | None:
        """Why a value is no score on this scale, None where it is one."""
        if isinstance(value, bool) or not isinstance(value, int | float):
            return f"{json.dumps(value)[:60]} is not a number"
        if not self.low <= value <= self.high:
            return f"{json.dumps(value)[:60]} is not between {self.low:g} and {self.high:g}"
        steps = (value - self.low) / self.step
        if abs(steps - round(steps)) > 1e-9:
            return f"{json.dumps(value)[:60]} is not on the scale's steps of {self.step:g}"
        return None


SCALES: Mapping[str, tuple[Scale, ...]] = {
    "drgn": (
        Scale("naturalness", "Naturalness", "How natural does the picture look?", 1, 5, 0.5, "unnatural",
              "fully natural", "content naturalness (CN) of DRGN's Table 3"),
        Scale("colour", "Colour", "How true do the colours look?", 1, 5, 0.5, "strongly wrong", "true",
              "colour deviation (CD) of DRGN's Table 3, higher for less deviation"),
    ),
    "jcrnet": (
        Scale("overall", "Overall", "How good is the picture as a whole?", 1, 10, 1, "very bad", "excellent",
              "score of JCRNet's Figure 12c"),
    ),
}  # fmt: skip
"""The papers' scales. DRGN writes 1.0 to 5.0 without a step; half points are this project's choice."""


@dataclass(frozen=True, slots=True)
class Design:
    """What the user wants to ask."""

    scale: str = "drgn"
    images: int = 10
    seed: int = 0
    methods: tuple[str, ...] = ()
    """Empty for every method of the run but the unenhanced input."""
    raters: int | None = None
    """How many numbered raters there are; None where raters give a name."""
    show_low: bool = False


@dataclass(frozen=True, slots=True)
class Shown:
    """What a code stands for."""

    code: str
    method: str
    dataset: str
    image: str
    sha256: str
    """Of the WebP file inside the page."""


@dataclass(frozen=True, slots=True)
class Key:
    """What the raters must not see."""

    study: str
    scale: str
    seed: int
    raters: int | None
    run: Mapping[str, Any]
    """Version, commit, protocol and digest of the enhancement keys of the run."""
    methods: tuple[MethodRow, ...]
    datasets: Mapping[str, str]
    """Label of each data set."""
    pictures: tuple[Shown, ...]

    @property
    def scales(self) -> tuple[Scale, ...]:
        """The questions."""
        return SCALES[self.scale]


@dataclass(frozen=True, slots=True)
class Packed:
    """What was written."""

    page: Path
    key_file: Path
    key: Key
    size: int
    """Bytes of the page."""


def pack(run: Path, folder: Path, design: Design) -> Packed:
    """Write the raters' page and the key that tells the methods.

    Raises LookupError for an unknown scale or method, ValueError where the run kept too few pictures, FileExistsError
    where the folder holds a key: without it the scores of that study could never be read.
    """
    if design.scale not in SCALES:
        raise LookupError(f"--scale {design.scale} does not exist; there are {', '.join(SCALES)}")
    if (folder / KEY).exists():
        raise FileExistsError(f"{folder / KEY} belongs to a study whose scores need it; give another --out")
    with Store(run, readonly=True) as store:
        finished = results.load(store)
        keys = {(job["method"], job["dataset"]): job["key"] for job in (store.noted(results.PLAN) or {})["jobs"]}
    rows = _methods(finished, design.methods)
    pictures = _pictures(finished, rows, design)
    used = sorted(keys[row.method, dataset] for row in rows for dataset in {dataset for dataset, _ in pictures})
    enhancements = sha256("\n".join(used).encode()).digest()
    # From the run as well: who only guesses the seed cannot tell a code's method.
    generator = np.random.default_rng([design.seed, *enhancements])
    codes = _codes(len(pictures) * len(rows), generator)
    files: dict[str, bytes] = {}
    shown = []
    for code, (row, (dataset, name)) in zip(codes, ((row, place) for place in pictures for row in rows), strict=True):
        files[code] = _webp(finished.views[dataset, name, row.method].full)
        shown.append(Shown(code, row.method, dataset, name, sha256(files[code]).hexdigest()))
    key = Key(
        study="",
        scale=design.scale,
        seed=design.seed,
        raters=design.raters,
        run={
            "version": finished.manifest["version"],
            "commit": finished.manifest.get("commit"),
            "protocol": finished.manifest["protocol"]["name"],
            "enhancements": enhancements.hex(),
        },
        methods=rows,
        datasets={name: _dataset_label(finished, name) for name in dict.fromkeys(dataset for dataset, _ in pictures)},
        pictures=tuple(shown),
    )
    key = replace(key, study=sha256(json.dumps(asdict(key), sort_keys=True).encode()).hexdigest()[:8])
    lows = {}
    if design.show_low:
        lows = {place: _webp(finished.views[*place, "low"].full) for place in _shuffled(pictures, generator)}
    text = page(key, files, lows)
    with explained(folder):
        folder.mkdir(parents=True, exist_ok=True)
        document = {"format": KEY_FORMAT, **asdict(key)}
        # The key first: a page without its key would waste the raters' time.
        (folder / KEY).write_text(json.dumps(document, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
        (folder / PAGE).write_text(text, encoding="utf-8")
    return Packed(folder / PAGE, folder / KEY, key, len(text.encode()))


def _methods(finished: Result, wanted: Sequence[str]) -> tuple[MethodRow, ...]:
    there = {row.method: row for row in finished.table.rows}
    unknown = [name for name in wanted if name not in there]
    if unknown:
        raise LookupError(f"--methods {', '.join(unknown)}: not in the run, which has {', '.join(there)}")
    rows = [there[name] for name in dict.fromkeys(wanted)] or [
        row for row in there.values() if row.kind != NO_ENHANCEMENT
    ]
    if not rows:
        raise ValueError(f"{finished.folder} holds no method besides the unenhanced input; name it by --methods")
    return tuple(rows)


def _pictures(finished: Result, rows: Sequence[MethodRow], design: Design) -> list[tuple[str, str]]:
    """As many pictures as asked for, drawn at random and evenly from the data sets, of those all methods have."""
    needed = [row.method for row in rows] + (["low"] if design.show_low else [])
    of_dataset: defaultdict[str, list[tuple[str, str]]] = defaultdict(list)
    for dataset, name in dict.fromkeys((dataset, name) for dataset, name, _ in finished.views):
        views = [finished.views.get((dataset, name, method)) for method in needed]
        if all(view is not None and view.full is not None for view in views):
            of_dataset[dataset].append((dataset, name))
    generator = np.random.default_rng([design.seed, design.images])
    drawn = [_shuffled(pictures, generator) for _, pictures in sorted(of_dataset.items())]
    turns = [some[turn] for turn in range(max(map(len, drawn), default=0)) for some in drawn if turn < len(some)]
    if len(turns) < design.images:
        raise ValueError(
            f"{finished.folder} kept {len(turns)} pictures that every method has, {design.images} are wanted: give the "
            f"same `bench run` command with --thumbnails {design.images} (or more), or take fewer by --images"
        )
    return turns[: design.images]


def _shuffled(items: Sequence[tuple[str, str]], generator: np.random.Generator) -> list[tuple[str, str]]:
    return [items[place] for place in generator.permutation(len(items))]


def _codes(count: int, generator: np.random.Generator) -> list[str]:
    codes: dict[str, None] = {}
    while len(codes) < count:
        codes["".join(_CODE_LETTERS[place] for place in generator.integers(len(_CODE_LETTERS), size=6))] = None
    return list(codes)


def _webp(file: Path | None) -> bytes:
    """The picture at the page's size, from its pixels alone: no metadata comes along."""
    assert file is not None  # _pictures took only pictures that are kept
    picture = image.read_rgb(file)
    height, width = picture.shape[-2:]
    if max(height, width) > LONG_SIDE:
        factor = LONG_SIDE / max(height, width)
        picture = image.resize(picture, f"{max(1, round(width * factor))}x{max(1, round(height * factor))}")
    stream = io.BytesIO()
    image.encode_webp(picture, stream, QUALITY)
    return stream.getvalue()


def _dataset_label(finished: Result, name: str) -> str:
    return str(finished.manifest["datasets"][name]["label"])


def page(key: Key, files: Mapping[str, bytes], lows: Mapping[tuple[str, str], bytes]) -> str:
    """Fill the template; it is given codes and pictures, and nothing that names a method or a file."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters["whole"] = lambda value: f"{value:g}"
    places = {place: index for index, place in enumerate(lows)}
    pictures = [
        {"code": one.code, "source": _data_uri(files[one.code])}
        | ({"low": places[one.dataset, one.image]} if lows else {})
        for one in sorted(key.pictures, key=lambda one: one.code)
    ]
    asked = [asdict(scale) | {"choices": scale.choices} for scale in key.scales]
    told = ("name", "label", "low", "high", "step")
    return environment.get_template("_study_page.j2").render(
        study=key.study,
        count=len(pictures),
        scales=asked,
        raters=key.raters,
        show_low=bool(lows),
        several=len(key.methods) > 1,
        unenhanced=any(row.kind == NO_ENHANCEMENT for row in key.methods),
        data={
            "format": SCORES_FORMAT,
            "study": key.study,
            "scales": [{name: scale[name] for name in told} for scale in asked],
            "pictures": pictures,
            "lows": [_data_uri(low) for low in lows.values()],
        },
    )


def _data_uri(webp: bytes) -> str:
    return f"data:image/webp;base64,{b64encode(webp).decode('ascii')}"


def read_key(file: Path) -> Key:
    """The key that `pack` wrote; raises ValueError or OSError naming the file."""
    document = _json_object(file)
    if document.get("format") != KEY_FORMAT:
        raise ValueError(f"{file} is no key of a study; `bench study pack` wrote it as {KEY}, beside the page")
    try:
        SCALES[document["scale"]]
        return Key(
            study=document["study"],
            scale=document["scale"],
            seed=document["seed"],
            raters=document["raters"],
            run=document["run"],
            methods=tuple(MethodRow(**row) for row in document["methods"]),
            datasets=document["datasets"],
            pictures=tuple(Shown(**one) for one in document["pictures"]),
        )
    except (KeyError, TypeError) as error:
        raise ValueError(f"{file} is damaged ({error}); take the copy that `bench study pack` wrote") from error


@dataclass(frozen=True, slots=True)
class Problem:
    """Something in a rater's file that does not count, with the reason."""

    file: str
    place: str
    """Which entry, '' for the whole file."""
    reason: str

    def __str__(self) -> str:
        return f"{self.file}{f', {self.place}' if self.place else ''}: {self.reason}"


@dataclass(frozen=True, slots=True)
class Rating:
    """One rater's answer to one question about one picture, or why there is none."""

    rater: str
    shown: Shown
    scale: Scale
    value: float | None
    error: str | None


@dataclass(frozen=True, slots=True)
class _Answers:
    """One file, read."""

    file: str
    rater: str
    entries: tuple[tuple[str, Mapping[str, Any]], ...]
    """Place in the file and what stands there."""

    @property
    def person(self) -> str:
        """The rater however the name is written."""
        return self.rater.casefold()

    @property
    def content(self) -> object:
        return sorted(json.dumps(entry, sort_keys=True) for _, entry in self.entries)


def read_ratings(files: Sequence[Path], key: Key) -> tuple[list[Rating], list[Problem]]:
    """Every rating the files hold and every gap, and what was wrong.

    A file or entry that is wrong costs itself alone. Of two files by one rater, equal ones count once and different
    ones not at all: which of them is meant cannot be known.
    """
    problems: list[Problem] = []
    by_person: defaultdict[str, list[_Answers]] = defaultdict(list)
    for file in files:
        try:
            answers = _read_answers(file, key)
        except (OSError, ValueError, RecursionError) as error:
            problems.append(Problem(_legible(str(file)), "", " ".join(str(error).removeprefix(f"{file} ").split())))
        else:
            by_person[answers.person].append(answers)
    ratings: list[Rating] = []
    for same in by_person.values():
        first, *others = same
        if any(other.content != first.content for other in others):
            for one in same:
                rest = ", ".join(other.file for other in same if other is not one)
                problems.append(
                    Problem(one.file, "", f"rater {one.rater!r} has also sent {rest}, with other scores; give one")
                )
            continue
        problems += [
            Problem(other.file, "", f"the same scores by {other.rater!r} as in {first.file}; counted once")
            for other in others
        ]
        found, wrong = _ratings(first, key)
        ratings += found
        problems += wrong
    return ratings, problems


def _read_answers(file: Path, key: Key) -> _Answers:
    document = _json_object(file)
    if document.get("format") != SCORES_FORMAT:
        raise ValueError("holds no scores of a study page (its 'format' is another)")
    if document.get("study") != key.study:
        raise ValueError(f"belongs to study {json.dumps(document.get('study'))[:60]}, the key to {key.study!r}")
    rater, scores = document.get("rater"), document.get("scores")
    if not isinstance(rater, str) or not rater.strip():
        raise ValueError("names no rater")
    rater = _legible(" ".join(rater.split()))
    if key.raters is not None and rater not in {str(number) for number in range(1, key.raters + 1)}:
        raise ValueError(f"rater {rater!r} is no number from 1 to {key.raters}")
    if not isinstance(scores, list) or not all(isinstance(entry, dict) for entry in scores):
        raise ValueError("'scores' is no list of objects")
    return _Answers(
        _legible(str(file)), rater, tuple((f"scores[{place}]", entry) for place, entry in enumerate(scores))
    )


def _legible(text: str) -> str:
    """Text that every UTF-8 file may hold: half characters become question marks."""
    return text.encode("utf-8", "replace").decode("utf-8")


def _ratings(answers: _Answers, key: Key) -> tuple[list[Rating], list[Problem]]:
    """A rating or a gap for every picture and scale of the study."""
    problems: list[Problem] = []
    codes = {one.code for one in key.pictures}
    names = {scale.name for scale in key.scales}
    entries: defaultdict[str, list[tuple[str, Mapping[str, Any]]]] = defaultdict(list)
    for place, entry in answers.entries:
        code = entry.get("picture")
        if not isinstance(code, str) or code not in codes:
            problems.append(Problem(answers.file, place, f"picture {json.dumps(code)[:60]} is not in the key"))
            continue
        problems += [
            Problem(answers.file, place, f"{name!r} is no scale of this study ({', '.join(sorted(names))})")
            for name in sorted(set(entry) - names - {"picture"})
        ]
        entries[code].append((place, entry))
    ratings = []
    for shown in key.pictures:
        there = entries[shown.code]
        for scale in key.scales:
            given = [(place, entry[scale.name]) for place, entry in there if entry.get(scale.name) is not None]
            if not given:
                ratings.append(Rating(answers.rater, shown, scale, None, NOT_SCORED))
                continue
            _, value = given[0]
            error = _doubled([value for _, value in given]) or scale.objection(value)
            ratings.append(Rating(answers.rater, shown, scale, None if error else float(value), error))
            if error or len(given) > 1:
                where = f"{' and '.join(place for place, _ in given)} (picture {shown.code})"
                reason = error or "the same score twice; counted once"
                problems.append(Problem(answers.file, where, f"{scale.name}: {reason}"))
    return ratings, problems


def _doubled(values: Sequence[Any]) -> str | None:
    if all(value == values[0] for value in values):
        return None
    return f"scored {len(values)} times: {', '.join(json.dumps(value)[:20] for value in values)}"


def _json_object(file: Path) -> dict[str, Any]:
    """A file's JSON object; raises ValueError for anything else, a doubled name and numbers that are none."""

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) < len(pairs):
            names = [name for name, _ in pairs]
            raise ValueError(f"names {next(name for name in names if names.count(name) > 1)!r} twice in one object")
        return found

    def refuse(constant: str) -> float:
        raise ValueError(f"{constant} is not a number")

    try:
        # utf-8-sig: text pasted into a Windows editor begins with a mark.
        document = json.loads(file.read_text(encoding="utf-8-sig"), object_pairs_hook=unique, parse_constant=refuse)
    except json.JSONDecodeError as error:
        raise ValueError(f"{file} is no JSON: {error}") from error
    except UnicodeDecodeError as error:
        raise ValueError(f"{file} is no UTF-8 text") from error
    if not isinstance(document, dict):
        raise ValueError(f"{file} holds no JSON object")
    return document


@dataclass(frozen=True)
class Outcome:
    """A scored study."""

    key: Key
    ratings: tuple[Rating, ...]
    problems: tuple[Problem, ...]
    alphas: Mapping[str, Alpha]
    """By scale."""
    table: Table
    records: tuple[Record, ...]

    @property
    def raters(self) -> list[str]:
        """Everyone with a file that counts."""
        return list(dict.fromkeys(rating.rater for rating in self.ratings))

    @property
    def absent(self) -> list[str]:
        """Numbered raters without a file that counts."""
        there = set(self.raters)
        return [str(number) for number in range(1, (self.key.raters or 0) + 1) if str(number) not in there]


def score(files: Sequence[Path], key: Key) -> Outcome:
    """Check, unblind and sum up the raters' files.

    A cell is the mean over pictures of the mean over the raters who scored the picture; with every score given, that is
    the mean of all. Its interval, and the test that marks the best, draw pictures and raters with replacement,
    independently of each other and alike for all methods (Owen 2007, The pigeonhole bootstrap); fewer than six
    pictures or raters separate nobody. No score is filled in. Raises ValueError where no file counts.
    """
    ratings, problems = read_ratings(files, key)
    if not ratings:
        raise ValueError("no file counts:\n" + "\n".join(map(str, problems)))
    raters = list(dict.fromkeys(rating.rater for rating in ratings))
    matrices = {scale.name: _matrix(ratings, raters, key, scale) for scale in key.scales}
    alphas = {
        name: alpha_with_interval(matrix, [(one.dataset, one.image) for one in key.pictures], key.seed)
        for name, matrix in matrices.items()
    }
    columns = {scale.name: _column(scale, key, matrices[scale.name], alphas[scale.name]) for scale in key.scales}
    pools: dict[tuple[str, Column], Pool] = {}
    records: list[Record] = []
    for name, column in columns.items():
        for row in key.methods:
            mine = [place for place, one in enumerate(key.pictures) if one.method == row.method]
            ours = matrices[name][:, mine]
            records += _records(column, row, [key.pictures[place] for place in mine], ours, len(key.datasets) > 1)
            pools[row.method, column] = _pool(column, ours, key.seed)
    table = summary.tabulate(key.methods, list(columns.values()), records, {}, key.seed, pools)
    return Outcome(key, tuple(ratings), tuple(problems), alphas, table, tuple(records))


def _matrix(ratings: Sequence[Rating], raters: Sequence[str], key: Key, scale: Scale) -> Floats:
    """(raters, pictures of all methods), NaN where there is no score."""
    matrix = np.full((len(raters), len(key.pictures)), np.nan)
    row = {rater: place for place, rater in enumerate(raters)}
    column = {one.code: place for place, one in enumerate(key.pictures)}
    for rating in ratings:
        if rating.scale == scale and rating.value is not None:
            matrix[row[rating.rater], column[rating.shown.code]] = rating.value
    return matrix


def _column(scale: Scale, key: Key, matrix: Floats, agreed: Alpha) -> Column:
    raters, pictures = matrix.shape
    given = int(np.isfinite(matrix).sum())
    several = len(key.datasets) > 1
    dataset = "study" if several else next(iter(key.datasets))
    names = ", ".join(key.datasets.values())
    return Column(
        dataset=dataset,
        dataset_label=f"User study ({names})" if several else f"{names}, user study",
        protocol=f"study-{key.study}-{raters}-{'rater' if raters == 1 else 'raters'}",
        metric=f"study:{scale.name}",
        metric_label=scale.label,
        higher_is_better=True,
        unit="",
        decimals=2,
        definition=(
            f"score from {scale.low:g} ({scale.low_means}) to {scale.high:g} ({scale.high_means}) in steps of "
            f"{scale.step:g}, given blind; {scale.paper}; {given} of {raters * pictures} scores given by {raters} "
            f"{'rater' if raters == 1 else 'raters'}; mean over pictures of the mean over raters; raters are drawn "
            f"again for the interval and the test as the pictures are; {alpha_in_words(agreed)}"
        ),
    )


def alpha_in_words(agreed: Alpha) -> str:
    """Krippendorff's alpha with its interval, or that there is none."""
    if agreed.value is None:
        return "Krippendorff's alpha undefined: it needs two raters of one picture and scores that differ"
    ends = "" if agreed.low is None or agreed.high is None else f" [{agreed.low:.2f}, {agreed.high:.2f}]"
    return f"Krippendorff's alpha (interval) {agreed.value:.2f}{ends}"


def _records(column: Column, row: MethodRow, shown: Sequence[Shown], ours: Floats, several: bool) -> Iterator[Record]:
    for one, scores in zip(shown, ours.T, strict=True):
        given = scores[np.isfinite(scores)]
        yield Record(
            method=row.method,
            dataset=column.dataset,
            protocol=column.protocol,
            image=f"{one.dataset}/{one.image}" if several else one.image,
            metric=column.metric,
            value=float(given.mean()) if given.size else None,
            error=None if given.size else "no rater scored it",
        )


def _pool(column: Column, ours: Floats, seed: int) -> Pool:
    present, active = (np.count_nonzero(np.isfinite(ours), axis=axis) > 0 for axis in (0, 1))
    measured = Measured(
        name=column.metric,
        label=column.metric_label,
        higher_is_better=True,
        definition=column.definition,
        statistic=_mean(ours, seed),
        support=min(int(present.sum()), int(active.sum())),
    )
    return Pool(measured, present.astype(np.float64), ("no rater scored it",) * int((~present).sum()))


def _mean(ours: Floats, seed: int) -> Callable[[Floats], Floats]:
    """Mean over weighted pictures of the mean over raters; resamples of pictures are resamples of raters too."""
    given = np.isfinite(ours).astype(np.float64)
    filled = np.where(given > 0, ours, 0.0)
    raters = len(ours)

    def mean(weights: Floats) -> Floats:
        if len(weights) == 1:
            drawn = np.ones((1, raters))
        else:  # the trailing 1 keeps these draws apart from those of as many pictures
            generator = np.random.default_rng([seed, raters, len(weights), 1])
            drawn = generator.multinomial(raters, np.full(raters, 1 / raters), size=len(weights)).astype(np.float64)
        counts = drawn @ given
        of_picture = (drawn @ filled) / np.where(counts > 0, counts, 1)
        weights = weights * (counts > 0)
        total = weights.sum(axis=1)
        means: Floats = np.full(len(weights), np.nan)
        means[total > 0] = (weights * of_picture).sum(axis=1)[total > 0] / total[total > 0]
        return means

    return mean


SUMMARY_HEADER = ("scale", "method", "label", "mean", "ci_low", "ci_high", "sd", "pictures", "raters", "ratings",
                  "missing", "rejected", "rank", "mark")  # fmt: skip


def summary_rows(outcome: Outcome) -> list[tuple[object, ...]]:
    """One row per scale and method, as SUMMARY_HEADER says; None where there is no value.

    `sd` is the deviation of single ratings (n - 1); `missing` scores were not given, `rejected` ones do not count.
    """
    rows: list[tuple[object, ...]] = []
    for column, scale in zip(outcome.table.columns, outcome.key.scales, strict=True):
        for row in outcome.key.methods:
            cell: Cell = outcome.table.cell(row, column)
            mine = [one for one in outcome.ratings if one.scale == scale and one.shown.method == row.method]
            values = [one.value for one in mine if one.value is not None]
            raters = {one.rater for one in mine if one.value is not None}
            missing = sum(one.error == NOT_SCORED for one in mine)
            rows.append(
                (scale.name, row.method, row.label, cell.mean, cell.ci_low, cell.ci_high,
                 float(np.std(values, ddof=1)) if len(values) > 1 else None, cell.n, len(raters), len(values),
                 missing, len(mine) - len(values) - missing, cell.rank, cell.mark)
            )  # fmt: skip
    return rows


def overview(outcome: Outcome) -> tuple[list[str], list[list[str]]]:
    """How much was scored, and agreement, one line for each scale."""
    lines = []
    for scale in outcome.key.scales:
        errors = [one.error for one in outcome.ratings if one.scale == scale]
        missing, given = errors.count(NOT_SCORED), errors.count(None)
        counts = [len(outcome.raters), given, missing, len(errors) - given - missing]
        lines.append([scale.label, *map(str, counts), alpha_in_words(outcome.alphas[scale.name])])
    return ["scale", "raters", "scores", "missing", "rejected", "agreement"], lines


def write(outcome: Outcome, folder: Path, command: Sequence[str]) -> list[Path]:
    """Write single scores, the summary, agreement, problems, the usual tables and the plot.

    Raises FileExistsError for a run's folder, whose own tables would be lost.
    """
    if (folder / FILENAME).exists():
        raise FileExistsError(f"{folder} holds a run, whose tables would be replaced; give another --out")
    with explained(folder):
        folder.mkdir(parents=True, exist_ok=True)
        written = [
            _write_csv(
                folder / "scores.csv",
                ("method", "dataset", "image", "metric", "rater", "value", "error", "code"),
                (
                    (one.shown.method, one.shown.dataset, one.shown.image, f"study:{one.scale.name}", one.rater,
                     one.value, one.error, one.shown.code)
                    for one in sorted(outcome.ratings, key=_unblinded_order(outcome.key))
                ),
            ),
            _write_csv(folder / "study.csv", SUMMARY_HEADER, summary_rows(outcome)),
            _write_csv(
                folder / "agreement.csv",
                ("scale", "alpha", "ci_low", "ci_high", "ratings"),
                ((name, *agreed) for name, agreed in outcome.alphas.items()),
            ),
            _write_csv(
                folder / "problems.csv",
                ("file", "place", "reason"),
                ((one.file, one.place, one.reason) for one in outcome.problems),
            ),
        ]  # fmt: skip
        written += plot(outcome, folder)
    finished = Result(outcome.table, outcome.records, _manifest(outcome, command), folder)
    return written + results.write(finished, results.build_reports(REPORTS))


def _unblinded_order(key: Key) -> Callable[[Rating], tuple[int, int, str]]:
    methods = [row.method for row in key.methods]
    places = {one.code: place for place, one in enumerate(key.pictures)}
    return lambda one: (methods.index(one.shown.method), places[one.shown.code], one.scale.name)


def _write_csv(path: Path, header: Sequence[str], rows: Iterable[Sequence[object]]) -> Path:
    with path.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(header)
        writer.writerows([repr(value) if isinstance(value, float) else value for value in row] for row in rows)
    return path


def _manifest(outcome: Outcome, command: Sequence[str]) -> dict[str, Any]:
    commit, dirty = provenance.revision()
    return {
        "version": bench.__version__,
        "commit": commit,
        "dirty": dirty,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": " ".join(command),
        "seed": outcome.key.seed,
        "protocol": {"name": outcome.table.columns[0].protocol},
        "study": {
            "id": outcome.key.study,
            "scale": outcome.key.scale,
            "raters": outcome.raters,
            "absent": outcome.absent,
            "pictures": len(outcome.key.pictures),
            "agreement": {name: agreed._asdict() for name, agreed in outcome.alphas.items()},
            "problems": [str(problem) for problem in outcome.problems],
            "run": dict(outcome.key.run),
        },
    }


def plot(outcome: Outcome, folder: Path) -> list[Path]:
    """Write distribution.png and .pdf: how often each method got each score, its quartiles, mean and interval."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    scales, rows = outcome.key.scales, outcome.key.methods
    figure = Figure(figsize=(0.8 + 3.4 * len(scales), 1.1 + 0.42 * len(rows)), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(1, len(scales), sharey=True, squeeze=False)[0]
    for panel, scale, column in zip(axes, scales, outcome.table.columns, strict=True):
        for place, row in enumerate(rows):
            values = [
                one.value
                for one in outcome.ratings
                if one.scale == scale and one.shown.method == row.method and one.value is not None
            ]
            _distribution(panel, place, values, outcome.table.cell(row, column))
        panel.set_title(scale.label, fontsize=10)
        panel.set_xlim(scale.low - 0.06 * (scale.high - scale.low), scale.high + 0.06 * (scale.high - scale.low))
        panel.set_xticks(range(math.ceil(scale.low), math.floor(scale.high) + 1))
        panel.set_yticks(range(len(rows)), _titles(rows))
        panel.set_ylim(len(rows) - 0.4, -0.6)
        panel.tick_params(length=0, labelsize=9)
        panel.grid(axis="x", color="0.9", linewidth=0.6)
        panel.set_axisbelow(True)
        for side in ("top", "right", "left"):
            panel.spines[side].set_visible(False)
    figure.supxlabel(
        "circles: share of ratings · box: quartiles · diamond: mean with 95 % interval", fontsize=7, color="0.35"
    )
    paths = [folder / "distribution.png", folder / "distribution.pdf"]
    figure.savefig(paths[0], dpi=200)
    figure.savefig(paths[1], metadata={"CreationDate": None})
    return paths


def _distribution(panel: Any, place: int, values: Sequence[float], cell: Cell) -> None:
    if not values or cell.mean is None:
        return
    levels, counts = np.unique(values, return_counts=True)
    panel.scatter(levels, np.full(len(levels), place), s=260 * counts / len(values), color="#9dbfdd", linewidths=0)
    low, high = np.quantile(values, [0.25, 0.75])
    panel.broken_barh([(low, high - low)], (place - 0.3, 0.6), facecolors="none", edgecolors="0.45", linewidth=0.9)
    if cell.ci_low is not None and cell.ci_high is not None:
        panel.plot([cell.ci_low, cell.ci_high], [place, place], color="#0a3d6b", linewidth=1.6)
    panel.plot(
        [cell.mean], [place], marker="D", markersize=4.5, markeredgewidth=0.6, color="#0a3d6b", markeredgecolor="white"
    )


def _titles(rows: Sequence[MethodRow]) -> list[str]:
    """Labels; methods that share one are told apart by what the user wrote. No dollar sign begins a formula."""
    shared = [row.label for row in rows]
    titles = [row.label if shared.count(row.label) == 1 else f"{row.label} ({row.method})" for row in rows]
    return [title.replace("$", r"\$") for title in titles]
