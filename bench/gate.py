"""Two baselines in, findings out: what got worse, what changed, and what keeps the two from being compared.

Quality is compared picture by picture. A difference within a metric's noise counts as none; a regression is a mean
difference in the bad direction that is larger than the tolerance and that a two-sided Wilcoxon signed-rank test over
the pictures separates from chance, Holm-corrected over the methods of the column. Speed is compared as a ratio to the
work that was timed in between (`bench.calibration`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import Enum
from statistics import NormalDist
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from bench.baseline import Baseline, Made, Series, Timed
from bench.contracts import Column
from bench.summary import ALPHA, holm

Floats = NDArray[np.float64]

FEWEST = 6
"""Pictures that must differ for the signed-rank test to reach p = 0.05; fewer are listed as changed."""
SHORTEST = 1e-2
"""Seconds; a picture that takes less counts as taking this long: such times are mostly the clock's and the system's."""
FEWEST_TIMED = 3
"""Pictures that speed is judged by, at least."""
INPUT = "input"
"""The row that every run holds: its pictures are the data set's."""
SLOWER = 1.5
"""A method, metric or task that takes more than this times what it took, by every yardstick, is slower."""


class Status(Enum):
    """What became of something that the baseline holds."""

    MISSING = "missing"
    """A method, data set, metric or picture of the baseline that the run does not have."""
    SWAPPED = "other weights"
    """A method with other files than the baseline's, whatever that did to its values: who means it saves a new one."""
    FAILING = "failing"
    """Pictures that had a value and now have an error."""
    REMEASURED = "metric changed"
    """The enhanced pictures are the same to the bit, their values are not."""
    WORSE = "worse"
    SLOWER = "slower"
    CHANGED = "changed"
    """Values moved beyond the noise, not for the worse as far as the pictures can tell."""
    BETTER = "better"
    FASTER = "faster"
    NEW = "new"
    """Not in the baseline."""

    @property
    def regression(self) -> bool:
        """Whether it fails the check."""
        return self not in (Status.CHANGED, Status.BETTER, Status.FASTER, Status.NEW)


@dataclass(frozen=True, slots=True)
class Limits:
    """What counts as a regression."""

    tolerance: Mapping[str, float] = field(default_factory=dict)
    """By metric, in its unit: smaller mean differences are no regression. Default: the metric's noise."""
    slower: float = SLOWER
    """See SLOWER; 0: speed is not compared."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is not as it was; '' where a word does not apply."""

    status: Status
    method: str = ""
    dataset: str = ""
    metric: str = ""
    """For speed of a metric or task, its name."""
    protocol: str = ""
    detail: str = ""
    """What a maintainer needs to go on: pictures, reasons, what else differs."""
    column: Column | None = None
    """Of a change of quality."""
    before: float | None = None
    after: float | None = None
    """Means of a change of quality; of a change of speed, median seconds per picture."""
    change: float | None = None
    """Mean paired difference, positive where the value rose; of speed, the ratio that every yardstick grants."""
    p: float | None = None
    """Of the paired test, after Holm's correction; None where none was made."""
    pictures: int = 0
    """How many pictures moved beyond the noise."""
    of: int = 0
    """How many both have."""


@dataclass(frozen=True)
class Verdict:
    """The outcome of a check."""

    findings: tuple[Finding, ...] = ()
    incomparable: tuple[str, ...] = ()
    """Why the two cannot be compared at all; then there are no findings."""
    notes: tuple[str, ...] = ()
    """What differs without being a finding of its own: weights, code, versions, threads."""
    compared: int = 0
    """Cells that were compared picture by picture."""
    timed: int = 0
    """Speeds that were compared."""

    @property
    def regressions(self) -> tuple[Finding, ...]:
        """The findings that fail the check."""
        return tuple(finding for finding in self.findings if finding.status.regression)

    @property
    def passed(self) -> bool:
        """Whether nothing got worse."""
        return not self.incomparable and not self.regressions


def check(saved: Baseline, found: Baseline, limits: Limits) -> Verdict:
    """Compare a run with a baseline."""
    obstacles = tuple(_obstacles(saved, found))
    if obstacles:
        return Verdict(incomparable=obstacles, notes=tuple(_notes(saved, found)))
    pairs = list(_pairs(saved, found))
    cells = [_cell(before, after, saved, found, limits) for before, after in pairs]
    speeds = [_speed(one, saved, found, limits) for one in _timings(saved, found)] if limits.slower else []
    findings = [
        *_missing(saved, found),
        *_swapped(saved, found),
        *_holm([cell for cell in cells if cell is not None], limits),
        *(finding for finding in speeds if finding is not None),
        *_new(saved, found),
    ]
    order = list(Status)
    findings.sort(key=lambda one: order.index(one.status))
    return Verdict(findings=tuple(findings), notes=tuple(_notes(saved, found)), compared=len(pairs), timed=len(speeds))


def _obstacles(saved: Baseline, found: Baseline) -> Iterator[str]:
    """What makes values mean something else: protocol, seed, pictures, parameters."""
    for name, before in saved.protocol.items():
        after = found.protocol.get(name)
        if name != "name" and after != before:
            yield f"protocol: {name} is {before!r} in the baseline and {after!r} in the run"
    seeds = saved.provenance.get("seed"), found.provenance.get("seed")
    if seeds[0] != seeds[1]:
        yield f"seed: {seeds[0]} in the baseline, {seeds[1]} in the run"
    for dataset, images in saved.images.items():
        here = found.images.get(dataset, {})
        others = [image for image, digest in images.items() if here.get(image, digest) != digest]
        if others:
            yield f"data: {_listed(others)} of {dataset} {'is' if len(others) == 1 else 'are'} not the same picture"
            continue
        made = [image for image, before, after in _contents(INPUT, dataset, saved, found) if before != after]
        if made:
            yield f"data: {_listed(made)} of {dataset} come out of the same files differently (its code changed)"
    for name, metric in saved.metrics.items():
        here_files = found.metrics[name].files if name in found.metrics else metric.files
        for file in metric.files:
            if here_files.get(file) != metric.files[file]:
                yield f"parameters: {file} of {metric.label} is another file"
    yield from _other_protocols(saved, found)


def _other_protocols(saved: Baseline, found: Baseline) -> Iterator[str]:
    """Columns of a task that another model or size fills."""
    here = {(column["dataset"], column["metric"]): column["protocol"] for column in found.columns}
    told = set()
    for column in saved.columns:
        after = here.get((column["dataset"], column["metric"]), column["protocol"])
        if after != column["protocol"] and (column["protocol"], after) not in told:
            told.add((column["protocol"], after))
            yield f"protocol: {column['dataset_label']} was scored under {column['protocol']}, now under {after}"


def _notes(saved: Baseline, found: Baseline) -> Iterator[str]:
    """Differences that may explain findings."""
    for kind, before, after in (("method", saved.methods, found.methods), ("metric", saved.metrics, found.metrics)):
        for name in before:
            same_files = name in after and before[name].files == after[name].files
            if same_files and before[name].digest != after[name].digest:
                yield f"{kind} {name}: its code or option differs"
    for fact in ("device", "threads", "python", "platform", "version"):
        was, now = saved.provenance.get(fact), found.provenance.get(fact)
        if was != now:
            yield f"{fact}: {was} in the baseline, {now} in the run"
    was, now = (one.provenance.get("packages", {}) for one in (saved, found))
    moved = [f"{name} {was.get(name, 'absent')} → {now.get(name, 'absent')}" for name in {**was, **now}]
    moved = [text for text in moved if len(set(text.partition(" ")[2].split(" → "))) > 1]
    if moved:
        yield f"packages: {', '.join(moved)}"


def _swapped(saved: Baseline, found: Baseline) -> Iterator[Finding]:
    for name, before in saved.methods.items():
        now = found.methods[name].files if name in found.methods else before.files
        files = [file for file in {**before.files, **now} if before.files.get(file) != now.get(file)]
        if files:
            told = [f"{file} ({before.files.get(file, 'none')[:8]} → {now.get(file, 'none')[:8]})" for file in files]
            yield Finding(Status.SWAPPED, method=name, detail=", ".join(told))


def _missing(saved: Baseline, found: Baseline) -> Iterator[Finding]:
    """What the run lacks as a whole, each named once; pictures whose files are gone."""
    for dataset, images in saved.images.items():
        if dataset not in found.images:
            yield Finding(Status.MISSING, dataset=dataset, detail="the run has no such data set")
            continue
        gone = [image for image in images if image not in found.images[dataset]]
        if gone:
            yield Finding(
                Status.MISSING,
                dataset=dataset,
                detail=f"{_listed(gone)} no longer in the data set",
                pictures=len(gone),
                of=len(images),
            )
    for name, method in saved.methods.items():
        if name not in found.methods:
            yield Finding(Status.MISSING, method=name, detail=f"the run has no {method.label}")
    columns = {(column["dataset"], column["metric"]) for column in found.columns}
    for column in saved.columns:
        if column["dataset"] in found.images and (column["dataset"], column["metric"]) not in columns:
            yield Finding(
                Status.MISSING,
                dataset=column["dataset"],
                metric=column["metric"],
                detail=f"the run has no {column['metric_label']}",
            )


def _new(saved: Baseline, found: Baseline) -> Iterator[Finding]:
    for name, method in found.methods.items():
        if name not in saved.methods:
            yield Finding(Status.NEW, method=name, detail=f"{method.label} is not in the baseline")
    for dataset, images in found.images.items():
        if dataset not in saved.images:
            yield Finding(Status.NEW, dataset=dataset, detail="not in the baseline")
            continue
        more = [image for image in images if image not in saved.images[dataset]]
        if more:
            yield Finding(Status.NEW, dataset=dataset, detail=f"{_listed(more)} not in the baseline")


def _pairs(saved: Baseline, found: Baseline) -> Iterator[tuple[Series, Series]]:
    here = {series.place: series for series in found.series}
    for series in saved.series:
        if series.place in here:
            yield series, here[series.place]


@dataclass(frozen=True)
class _Cell:
    """A comparison before the tests of its column are corrected for each other."""

    finding: Finding
    p: float
    """Uncorrected; 1 where no test could be made."""
    good: float
    """The mean change, positive where it is for the better."""


def _cell(before: Series, after: Series, saved: Baseline, found: Baseline, limits: Limits) -> _Cell | None:
    """Compare one method in one column; None where nothing moved beyond the noise."""
    column = saved.column(before)
    finding = Finding(
        Status.CHANGED,
        method=before.method,
        dataset=before.dataset,
        metric=before.metric,
        protocol=before.protocol,
        column=column,
        before=before.mean,
        after=after.mean,
    )
    failing = _newly_failing(finding, before, after, saved, found)
    if failing is not None:
        return _Cell(failing, 1.0, 0.0)
    sign = 1.0 if column.higher_is_better else -1.0
    if before.values is None or after.values is None:
        return _pooled_cell(finding, before, after, sign, _noise(column))
    rows = _rows(before, after, saved, found)
    change = np.array([_minus(row.now, row.was) for row in rows])
    moved = np.abs(change) > _noise(column)
    if not moved.any():
        return None
    worst = int(np.argmin(sign * np.where(np.isfinite(change), change, np.sign(change) * 1e300)))
    finding = replace(
        finding,
        change=float(np.mean(change[np.isfinite(change)])) if np.isfinite(change).any() else float(change[worst]),
        pictures=int(moved.sum()),
        of=len(rows),
        detail=f"largest loss: {rows[worst].image} {signed(change[worst], column)}" if sign * change[worst] < 0 else "",
    )
    if all(row.same_picture for row, is_moved in zip(rows, moved, strict=True) if is_moved):
        detail = _remeasured(before.metric, saved, found)
        return _Cell(replace(finding, status=Status.REMEASURED, detail=detail), 1.0, 0.0)
    p = _wilcoxon(np.where(moved, change, 0.0))
    return _Cell(finding, p, sign * float(finding.change or 0.0))


def _pooled_cell(finding: Finding, before: Series, after: Series, sign: float, noise: float) -> _Cell | None:
    """A score that is no mean over pictures: by its replicates, taken as normally distributed."""
    if before.mean is None or after.mean is None:
        return None if before.mean == after.mean else _Cell(finding, 1.0, 0.0)
    change = after.mean - before.mean
    if abs(change) <= noise:
        return None
    finding = replace(finding, change=change, pictures=0, of=min(before.n, after.n))
    p = 1.0
    if before.replicates and after.replicates and before.n == after.n:
        spread = float(np.std(np.subtract(after.replicates, before.replicates), ddof=1))
        p = 2 * NormalDist().cdf(-abs(change) / spread) if spread else 0.0
    return _Cell(finding, p, sign * change)


def _holm(cells: Sequence[_Cell], limits: Limits) -> list[Finding]:
    """Tell worse and better from changed, with the tests of each column corrected for each other."""
    findings = []
    for column in dict.fromkeys(cell.finding.column for cell in cells):
        here = [cell for cell in cells if cell.finding.column == column]
        tested = [cell for cell in here if cell.finding.status is Status.CHANGED]
        adjusted = dict(zip(map(id, tested), holm([cell.p for cell in tested]), strict=True))
        findings += [_judged(cell, adjusted.get(id(cell)), limits) for cell in here]
    return findings


def _judged(cell: _Cell, p: float | None, limits: Limits) -> Finding:
    finding, column = cell.finding, cell.finding.column
    if p is None or column is None:
        return finding
    tolerance = limits.tolerance.get(column.metric, _noise(column))
    separated = p <= ALPHA and abs(cell.good) > tolerance
    status = (Status.BETTER if cell.good > 0 else Status.WORSE) if separated else Status.CHANGED
    return replace(finding, status=status, p=p if cell.p < 1 else None)


def _newly_failing(finding: Finding, before: Series, after: Series, saved: Baseline, found: Baseline) -> Finding | None:
    """Pictures that had a value in the baseline and have none now; None where there are none."""
    if before.values is None:
        images = [image for image in after.errors if image not in before.errors]
    else:
        now = _by_image(after, found)
        images = [image for image in _by_image(before, saved) if image in found.images[after.dataset]]
        images = [image for image in images if image not in now]
    if not images:
        return None
    reason = after.missing or next((after.errors[image] for image in images if image in after.errors), "not scored")
    return replace(
        finding,
        status=Status.FAILING,
        detail=f"{_listed(images)}: {reason}",
        pictures=len(images),
        of=len(saved.images[before.dataset]),
    )


class _Row(NamedTuple):
    """A picture that has a value in both."""

    image: str
    was: float
    now: float
    same_picture: bool
    """Whether the enhanced pictures are known to be the same to the bit."""


def _rows(before: Series, after: Series, saved: Baseline, found: Baseline) -> list[_Row]:
    now = _by_image(after, found)
    same = {image for image, was, then in _contents(before.method, before.dataset, saved, found) if was == then}
    return [
        _Row(image, was, now[image], image in same) for image, was in _by_image(before, saved).items() if image in now
    ]


def _by_image(series: Series, baseline: Baseline) -> dict[str, float]:
    pairs = zip(baseline.images[series.dataset], series.values or (), strict=False)
    return {image: value for image, value in pairs if value is not None}


def _contents(method: str, dataset: str, saved: Baseline, found: Baseline) -> Iterator[tuple[str, str, str]]:
    """Digests of what a method made, before and now, of every picture where both are known."""
    before, after = (_made(method, dataset, one) for one in (saved, found))
    if before is None or after is None:
        return
    now = dict(zip(found.images[dataset], after.contents, strict=True))
    for image, was in zip(saved.images[dataset], before.contents, strict=True):
        then = now.get(image)
        if was is not None and then is not None:
            yield image, was, then


def _made(method: str, dataset: str, baseline: Baseline) -> Made | None:
    return next((one for one in baseline.made if (one.method, one.dataset) == (method, dataset)), None)


def _remeasured(metric: str, saved: Baseline, found: Baseline) -> str:
    before, after = saved.metrics.get(metric), found.metrics.get(metric)
    if before is None or after is None or before.digest == after.digest:
        return "same pictures, other values; its code and files are unchanged, see the versions"
    return "same pictures, other values: the metric's code, option or files changed"


class _Timing(NamedTuple):
    """Seconds per picture of a method, metric or task on a data set, before and now."""

    method: str
    name: str
    """Of the metric or task; '' for a method's own time."""
    dataset: str
    was: Mapping[str, float]
    now: Mapping[str, float]


def _timings(saved: Baseline, found: Baseline) -> Iterator[_Timing]:
    for made in saved.made:
        after = _made(made.method, made.dataset, found)
        if after is not None:
            was, now = _seconds(made, saved), _seconds(after, found)
            yield _Timing(made.method, "", made.dataset, was, now)
    here = {(timed.name, timed.dataset): timed for timed in found.timed}
    for timed in saved.timed:
        if (timed.name, timed.dataset) in here:
            was, now = _seconds(timed, saved), _seconds(here[timed.name, timed.dataset], found)
            yield _Timing("", timed.name, timed.dataset, was, now)


def _seconds(one: Made | Timed, baseline: Baseline) -> dict[str, float]:
    pairs = zip(baseline.images[one.dataset], one.seconds, strict=True)
    return {image: max(seconds, SHORTEST) for image, seconds in pairs if seconds is not None}


def _speed(timing: _Timing, saved: Baseline, found: Baseline, limits: Limits) -> Finding | None:
    """Whether a time grew by more than every yardstick did; None where it did not, or where that cannot be told."""
    common = [image for image in timing.was if image in timing.now]
    paces = [
        _pace(saved.yardsticks[name], found.yardsticks[name]) for name in saved.yardsticks if name in found.yardsticks
    ]
    if len(common) < FEWEST_TIMED or not paces:
        return None
    was, now = (np.array([times[image] for image in common]) for times in (timing.was, timing.now))
    if max(np.median(was), np.median(now)) <= SHORTEST:
        return None
    ratio = float(np.median(now / was))
    # At the least and at the most, as far as the yardsticks can tell.
    least, most = min(ratio / pace.highest for pace in paces), max(ratio / pace.lowest for pace in paces)
    if least <= limits.slower and most >= 1 / limits.slower:
        return None
    status = Status.SLOWER if least > limits.slower else Status.FASTER
    machine = ", ".join(f"{name} x{pace.middle:.2f}" for name, pace in zip(saved.yardsticks, paces, strict=False))
    return Finding(
        status,
        method=timing.method,
        dataset=timing.dataset,
        metric=timing.name,
        before=float(np.median(was)),
        after=float(np.median(now)),
        change=least if status is Status.SLOWER else most,
        of=len(common),
        detail=f"the machine's own work meanwhile: {machine}",
    )


class _Pace(NamedTuple):
    """How much longer the machine took for its own work than the baseline's did, given how much both varied."""

    lowest: float
    middle: float
    highest: float


def _pace(before: Sequence[float], after: Sequence[float]) -> _Pace:
    """From the lower half of the readings of both: what others do on a machine only ever adds time."""
    return _Pace(after[0] / before[1], after[1] / before[1], after[1] / before[0])


def _wilcoxon(change: Floats) -> float:
    """Two-sided p of the signed-rank test over the pictures that moved; 1 where too few did."""
    moved = change[(change != 0) & ~np.isnan(change)]
    return float(stats.wilcoxon(moved, method="auto").pvalue) if moved.size >= FEWEST else 1.0


def _minus(now: float, was: float) -> float:
    return 0.0 if now == was else now - was  # two infinite values are equal


def _noise(column: Column) -> float:
    """What moves between machines; half of the last printed digit where that was not measured."""
    return column.noise or 0.5 * 10.0**-column.decimals


def signed(change: float, column: Column) -> str:
    """A change with the digits of the column's tables, or one that shows it where those would show nothing."""
    text = f"{change:+.{column.decimals}f}"
    return f"{text if float(text) else f'{change:+.1g}'}{' ' if column.unit else ''}{column.unit}"


def _listed(names: Sequence[str]) -> str:
    """The first few names, and how many more there are."""
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return ", ".join(names[:3]) + more
