"""What a run reached, as one reviewable JSON file that later runs are checked against."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import BaseModel, ConfigDict, ValidationError

from bench import calibration, result, summary
from bench.contracts import Column
from bench.result import Gathered
from bench.store import FILENAME, Store

FORMAT = 1
DIGITS = 9
"""Significant digits of a value: what is left out lies far below any metric's noise."""
SECONDS_DIGITS = 3
PREFIX = 16
"""Hex digits kept of a SHA-256: enough to tell pictures apart, and half the file."""
REPLICATES = 100
"""Resampled scores kept of a score that is no mean over pictures; those of two runs are drawn alike, so they pair."""
FACTS = ("version", "commit", "dirty", "created", "command", "python", "platform", "device", "threads", "seed")
"""Of the manifest; with the packages' versions, what a reader of a failed check asks first."""


class BaselineError(ValueError):
    """The file is no baseline; the text names the place in it."""


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Subject(_Part):
    """A method, or a metric: whether it is still the same."""

    label: str
    digest: str
    """Over its code, option and files."""
    files: dict[str, str]
    """SHA-256 of the files it depends on, by name."""


class Series(_Part):
    """What a method has in a column, picture by picture."""

    method: str
    dataset: str
    protocol: str
    metric: str
    mean: float | None
    n: int
    values: list[float | None] | None = None
    """In the order of the data set's images, None where there is none; None as a whole for a score that is no mean."""
    errors: dict[str, str] = {}
    """Why there is none, by image."""
    missing: str | None = None
    """Why the whole cell is empty."""
    replicates: list[float] | None = None
    """Of a score that is no mean over pictures; None where too few pictures hold what is scored."""

    @property
    def place(self) -> tuple[str, str, str, str]:
        """Method, data set, protocol, metric."""
        return self.method, self.dataset, self.protocol, self.metric


class Made(_Part):
    """What a method made of a data set, and how long each picture took."""

    method: str
    dataset: str
    contents: list[str | None]
    """SHA-256 of each enhanced picture, in the order of the images."""
    seconds: list[float | None]


class Timed(_Part):
    """How long a metric or a task took for each picture of a data set: the median over methods."""

    name: str
    dataset: str
    seconds: list[float | None]


class Baseline(_Part):
    """A run as the gate sees it: saved in a file, or read from a run's folder."""

    format: int = FORMAT
    provenance: dict[str, Any]
    protocol: dict[str, str | int]
    images: dict[str, dict[str, str]]
    """Digest of the files of each picture by data set and id."""
    methods: dict[str, Subject]
    metrics: dict[str, Subject]
    columns: list[dict[str, Any]]
    """The table's columns, as `Column` has them."""
    series: list[Series]
    made: list[Made]
    timed: list[Timed]
    yardsticks: dict[str, tuple[float, float, float]]
    """Quartiles of the seconds of the work that was timed in between; empty where the run computed nothing."""

    def column(self, series: Series) -> Column:
        """The column that a series stands in."""
        wanted = series.dataset, series.protocol, series.metric
        return next(one for one in map(_column, self.columns) if (one.dataset, one.protocol, one.metric) == wanted)


def of_run(store: Store) -> Baseline:
    """A finished run; raises StoreError where the folder holds no plan."""
    found = result.gather(store)
    manifest = found.manifest
    images = {name: dict(pairs) for name, pairs in found.plan["images"].items()}
    # Classes and kinds of light stay out: their parts are too small to gate, and the whole holds them all.
    columns = [column for column in found.columns if not column.group]
    return Baseline(
        provenance={**{name: manifest.get(name) for name in FACTS}, "packages": dict(manifest["packages"])},
        protocol=dict(manifest["protocol"]),
        images={name: {image: digest[:PREFIX] for image, digest in each.items()} for name, each in images.items()},
        methods={name: _subject(facts) for name, facts in manifest["methods"].items()},
        metrics={name: _subject(facts) for name, facts in manifest["metrics"].items()},
        columns=[_facts(column) for column in columns],
        series=_series(found, columns, images),
        made=_made(store, found, images),
        timed=_timed(store, found, images),
        yardsticks=_rounded(calibration.spread((store.noted(calibration.NOTE) or {}).get("readings", ()))),
    )


def read(place: Path) -> Baseline:
    """A baseline from its file or from another run's folder; raises OSError or BaselineError naming what is wrong."""
    if (place / FILENAME).is_file():
        with Store(place, readonly=True) as store:
            return of_run(store)
    if place.is_dir():
        raise BaselineError(
            f"{place} is a folder without a run; give a file of `bench baseline save`, or a run's folder"
        )
    if not place.is_file():
        raise FileNotFoundError(f"{place} does not exist; `bench baseline save RUN {place}` makes it")
    try:
        content = json.loads(place.read_text(encoding="utf-8"))
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        raise BaselineError(f"{place} is no baseline: {error}") from error
    known = content.get("format") if isinstance(content, dict) else None
    if known != FORMAT:
        raise BaselineError(f"{place} has format {known!r}, this version reads {FORMAT}; save it anew from a run")
    try:
        return Baseline.model_validate(content)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise BaselineError(f"{place}: {where}: {first['msg']}") from error


def write(baseline: Baseline, file: Path) -> None:
    """Write the file, one line for each thing that a reviewer would want to see changed on its own."""
    content = baseline.model_dump(exclude_defaults=False)
    parts = []
    for name, value in content.items():
        if isinstance(value, list):
            body = ",\n".join(f"    {_line(one)}" for one in value)
            parts.append(f"  {json.dumps(name)}: [\n{body}\n  ]" if value else f"  {json.dumps(name)}: []")
        elif isinstance(value, dict) and value:
            body = ",\n".join(f"    {json.dumps(key)}: {_line(one)}" for key, one in value.items())
            parts.append(f"  {json.dumps(name)}: {{\n{body}\n  }}")
        else:
            parts.append(f"  {json.dumps(name)}: {_line(value)}")
    file.parent.mkdir(parents=True, exist_ok=True)
    part = file.with_name(f"{file.name}.part")
    part.write_text("{\n" + ",\n".join(parts) + "\n}\n", encoding="utf-8")
    part.replace(file)


def _line(value: Any) -> str:
    return json.dumps(_finite(value), ensure_ascii=False)


def _finite(value: Any) -> Any:
    """JSON has no infinity; the PSNR of identical pictures is one."""
    if isinstance(value, float) and not np.isfinite(value):
        return str(value)
    if isinstance(value, list | tuple):
        return [_finite(one) for one in value]
    return {key: _finite(one) for key, one in value.items()} if isinstance(value, dict) else value


def _subject(facts: Mapping[str, Any]) -> Subject:
    return Subject(label=facts["label"], digest=facts["digest"], files=dict(facts["files"]))


def _facts(column: Column) -> dict[str, Any]:
    return {name: getattr(column, name) for name in Column.__dataclass_fields__ if name not in ("caveat", "group")}


def _column(facts: Mapping[str, Any]) -> Column:
    return Column(**{name: value for name, value in facts.items() if name in Column.__dataclass_fields__})


def _series(found: Gathered, columns: Sequence[Column], images: Mapping[str, Mapping[str, str]]) -> list[Series]:
    values: dict[tuple[str, str, str, str], dict[str, float]] = {}
    errors: dict[tuple[str, str, str, str], dict[str, str]] = {}
    for record in found.records:
        place = record.method, record.dataset, record.protocol, record.metric
        if record.value is None:
            errors.setdefault(place, {})[record.image] = record.error or ""
        else:
            values.setdefault(place, {})[record.image] = record.value
    series = []
    for column in columns:
        for row in found.rows:
            place = row.method, column.dataset, column.protocol, column.metric
            where: dict[str, Any] = dict(zip(("method", "dataset", "protocol", "metric"), place, strict=True))
            missing = found.missing.get((row.method, column))
            pool = found.pools.get((row.method, column))
            if pool is not None:
                series.append(Series(**where, **_of_pool(pool, found), errors=errors.get(place, {}), missing=missing))
                continue
            here = values.get(place, {})
            finite = [value for value in here.values() if np.isfinite(value)]
            series.append(
                Series(
                    **where,
                    mean=_significant(float(np.mean(finite)), DIGITS) if finite else None,
                    n=len(finite),
                    values=[
                        _significant(here[image], DIGITS) if image in here else None for image in images[column.dataset]
                    ],
                    errors=errors.get(place, {}),
                    missing=missing,
                )
            )
    return series


def _of_pool(pool: summary.Pool, found: Gathered) -> dict[str, Any]:
    measured, n = pool.measured, int(pool.present.sum())
    value = float(measured.statistic(pool.present[None])[0]) if n else float("nan")
    enough = (n if measured.support is None else measured.support) >= measured.fewest
    drawn = summary.replicates(pool, int(found.manifest["seed"]), REPLICATES) if enough and np.isfinite(value) else None
    return {
        "mean": _significant(value, DIGITS) if np.isfinite(value) else None,
        "n": n,
        "replicates": None if drawn is None else [_significant(one, 5) for one in drawn.tolist()],
    }


def _made(store: Store, found: Gathered, images: Mapping[str, Mapping[str, str]]) -> list[Made]:
    made = []
    for job in found.plan["jobs"]:
        known = store.enhancements(job["key"])
        each = [known.get(name) for name in images[job["dataset"]].items()]
        made.append(
            Made(
                method=job["method"],
                dataset=job["dataset"],
                contents=[None if one is None or one.content is None else one.content[:PREFIX] for one in each],
                seconds=[None if one is None else _significant(one.seconds, SECONDS_DIGITS) for one in each],
            )
        )
    return made


def _timed(store: Store, found: Gathered, images: Mapping[str, Mapping[str, str]]) -> list[Timed]:
    seconds: dict[tuple[str, str], dict[str, list[float]]] = {}
    for record in found.records:
        if record.seconds is not None:
            seconds.setdefault((record.metric, record.dataset), {}).setdefault(record.image, []).append(record.seconds)
    for job in found.plan["jobs"]:
        for task, key in job["task_keys"].items():
            of_task = seconds.setdefault((task, job["dataset"]), {})
            for image, taken in store.prediction_seconds(key).items():
                of_task.setdefault(image, []).append(taken)
    return [
        Timed(
            name=name,
            dataset=dataset,
            seconds=[
                _significant(float(np.median(each[image])), SECONDS_DIGITS) if image in each else None
                for image in images[dataset]
            ],
        )
        for (name, dataset), each in seconds.items()
    ]


def _rounded(quartiles: Mapping[str, Sequence[float]]) -> dict[str, tuple[float, float, float]]:
    rounded = {}
    for name, each in quartiles.items():
        low, middle, high = (_significant(value, SECONDS_DIGITS) for value in each)
        rounded[name] = low, middle, high
    return rounded


def _significant(value: float, digits: int) -> float:
    return float(f"{value:.{digits}g}")
