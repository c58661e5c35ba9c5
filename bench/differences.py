"""Two runs in, everything that is not the same in them out, and as far as their stores tell the cause."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from bench.contracts import Column
from bench.facts import METHODS, METRICS, SURROUNDINGS, TASKS, Fact, Paired, differ, task_on, unrecorded
from bench.facts import between as facts_between
from bench.recorded import Run, Seen

PROTOCOL, DATA, METHOD, METRIC, UNKNOWN = "protocol", "data", "method", "metric", "unknown"
"""What made a picture's value another: another protocol, another picture to begin with, another enhanced picture,
another score of the same enhanced picture; or a run that kept too little to tell."""


@dataclass(frozen=True, slots=True)
class Moved:
    """A picture with another value in the second run."""

    image: str
    before: float
    after: float
    cause: str
    """PROTOCOL, DATA, METHOD, METRIC or UNKNOWN."""

    @property
    def difference(self) -> float:
        """Second less first, in the metric's unit; infinite where one of them is."""
        return self.after - self.before


@dataclass(frozen=True, slots=True)
class Change:
    """A method's values in one column, of two runs, picture by picture."""

    n: int
    """How many pictures have a value in both."""
    moved: tuple[Moved, ...]
    """Those with another value, largest difference first."""
    noise: float
    """How far a value moves between machines; smaller differences are none."""
    mean: float | None
    """Mean of second less first over the pictures with finite values in both; None where there is none."""
    failed: tuple[str, ...] = ()
    """Pictures with a value in the first run and an error in the second."""
    recovered: tuple[str, ...] = ()
    """The other way round."""
    only_before: tuple[str, ...] = ()
    """Pictures that the second run does not have."""
    only_after: tuple[str, ...] = ()

    @property
    def beyond(self) -> tuple[Moved, ...]:
        """Those that moved by more than noise."""
        return tuple(one for one in self.moved if abs(one.difference) > self.noise)

    @property
    def largest(self) -> Moved | None:
        """The picture that moved most, None where none did."""
        return self.moved[0] if self.moved else None

    @property
    def causes(self) -> Mapping[str, int]:
        """How many of the moved pictures have each cause; of those beyond noise where there are any."""
        return Counter(one.cause for one in self.beyond or self.moved)

    @property
    def same(self) -> bool:
        """Whether both runs have the same pictures and no value moved by more than noise."""
        return not (self.beyond or self.failed or self.recovered or self.only_before or self.only_after)


def compare(before: Iterable[Seen], after: Iterable[Seen], noise: float = 0) -> Change:
    """Pair two runs' pictures by their ids and say what moved; values are of one method in one column."""
    first, second = ({one.image: one for one in run} for run in (before, after))
    both = [(one, second[image]) for image, one in first.items() if image in second]
    differences: list[float] = []
    moved: list[Moved] = []
    failed: list[str] = []
    recovered: list[str] = []
    n = 0
    for old, new in both:
        if old.value is None or new.value is None:
            if old.value is not None:
                failed.append(old.image)
            elif new.value is not None:
                recovered.append(old.image)
            continue
        n += 1
        if math.isfinite(old.value) and math.isfinite(new.value):
            differences.append(new.value - old.value)
        if old.value != new.value:
            moved.append(Moved(old.image, old.value, new.value, cause_of(old, new)))
    return Change(
        n=n,
        moved=tuple(sorted(moved, key=lambda one: -abs(one.difference))),
        noise=noise,
        mean=math.fsum(differences) / len(differences) if differences else None,
        failed=tuple(failed),
        recovered=tuple(recovered),
        only_before=tuple(image for image in first if image not in second),
        only_after=tuple(image for image in second if image not in first),
    )


def cause_of(before: Seen, after: Seen) -> str:
    """Why a picture has another value: what changed first on its way from file to score."""
    if differ(before.files, after.files) or differ(before.low, after.low):
        return DATA
    if before.content is None or after.content is None:
        return UNKNOWN
    return METRIC if before.content == after.content else METHOD


@dataclass(frozen=True, slots=True)
class Gap:
    """A method's column that only one of the runs has values for."""

    method: str
    dataset: str
    metric: str
    lost: bool
    """Whether it is the second run that has none."""
    reason: str
    """Why that one has none."""


@dataclass(frozen=True, slots=True)
class Changed:
    """A method's column with other values."""

    method: str
    dataset: str
    column: Column
    """The second run's."""
    pooled: bool
    """Whether it is one score over all pictures together, which stands as a single picture."""
    change: Change
    because: tuple[str, ...]
    """What the runs recorded that can have caused it; what bears on all values, where nothing nearer differs."""


@dataclass(frozen=True, slots=True)
class Differences:
    """All that two runs differ in."""

    before: Path
    after: Path
    facts: tuple[Fact, ...]
    """In the order of SECTIONS."""
    gaps: tuple[Gap, ...]
    values: tuple[Changed, ...]
    """Columns that are not identical, in table order."""
    compared: int
    """Method x column that both runs have values for."""
    unrecorded: Mapping[str, tuple[str, ...]]
    """What a run did not note and the other did, by 'first' and 'second': an older version made it."""

    @property
    def moved(self) -> tuple[Changed, ...]:
        """Columns that differ by more than noise."""
        return tuple(one for one in self.values if not one.change.same)

    @property
    def values_agree(self) -> bool:
        """Whether the second run has every value of the first, within noise."""
        return not self.moved and not any(gap.lost for gap in self.gaps)

    @property
    def same(self) -> bool:
        """Whether nothing differs that both recorded, values within noise."""
        return not (self.facts or self.gaps or self.moved)


def between(first: Run, second: Run) -> Differences:
    """Everything that is not the same in two runs, whatever their protocols and stores."""
    paired = Paired.of(first, second)
    facts = facts_between(first, second, paired)
    gaps: list[Gap] = []
    values: list[Changed] = []
    compared = 0
    for method, old_column, column, before, after in _columns(first, second, paired):
        if isinstance(before, str) or isinstance(after, str):
            if not (isinstance(before, str) and isinstance(after, str)):
                lost = isinstance(after, str)
                gaps.append(Gap(method, column.dataset, column.metric, lost, str(after if lost else before)))
            continue
        compared += 1
        change = compare(before, after, max(old_column.noise, column.noise))
        if any(fact.section == PROTOCOL for fact in facts):
            # Enhanced pictures of two protocols have digests of different things.
            change = replace(change, moved=tuple(replace(one, cause=PROTOCOL) for one in change.moved))
        if change.moved or not change.same:
            because = _because(facts, change, method, column)
            pooled = (method, column) in second.found.pools
            values.append(Changed(method, column.dataset, column, pooled, change, because))
    return Differences(
        before=first.folder,
        after=second.folder,
        facts=tuple(facts),
        gaps=tuple(gaps),
        values=tuple(values),
        compared=compared,
        unrecorded={"first": unrecorded(first, second), "second": unrecorded(second, first)},
    )


def as_json(differences: Differences) -> dict[str, Any]:
    """The same as JSON values; an infinite value is the text 'inf' or '-inf'."""
    return {
        "first": str(differences.before),
        "second": str(differences.after),
        "same": differences.same,
        "values_agree": differences.values_agree,
        "facts": [asdict(fact) for fact in differences.facts],
        "gaps": [asdict(gap) for gap in differences.gaps],
        "compared": differences.compared,
        "values": [
            {
                "method": one.method,
                "dataset": one.dataset,
                "protocol": one.column.protocol,
                "metric": one.column.metric,
                "group": one.column.group,
                "pooled": one.pooled,
                "n": one.change.n,
                "noise": one.change.noise,
                "same": one.change.same,
                "mean": one.change.mean,
                "moved": [
                    {
                        "image": moved.image,
                        "before": _finite(moved.before),
                        "after": _finite(moved.after),
                        "difference": _finite(moved.difference),
                        "cause": moved.cause,
                    }
                    for moved in one.change.moved
                ],
                "failed": one.change.failed,
                "recovered": one.change.recovered,
                "only_before": one.change.only_before,
                "only_after": one.change.only_after,
                "because": one.because,
            }
            for one in differences.values
        ],
        "unrecorded": differences.unrecorded,
    }


def _finite(value: float) -> float | str:
    return value if math.isfinite(value) else str(value)


Values = Sequence[Seen] | str
"""Of a method in a column, or the reason why there are none."""


def _columns(first: Run, second: Run, paired: Paired) -> Iterator[tuple[str, Column, Column, Values, Values]]:
    """Every method in every column that both runs have: its name, the columns and the values of both.

    A column of another protocol is the same column: two protocols are never summed up together, but compared they are.
    """
    before = {
        (paired.datasets.now(one.dataset), paired.metrics.now(one.metric), one.group, _task(one)): one
        for one in first.found.columns
    }
    for column in second.found.columns:
        old = before.get((column.dataset, column.metric, column.group, _task(column)))
        if old is not None:
            for was, method in paired.methods.both:
                yield method, old, column, first.values(was, old), second.values(method, column)


def _task(column: Column) -> str:
    """The task that a column belongs to, '' for none."""
    return column.dataset_label.rpartition(", ")[2] if "+" in column.protocol else ""


def _because(facts: Sequence[Fact], change: Change, method: str, column: Column) -> tuple[str, ...]:
    """What differs on the way that the cause points to; where nothing does, what bears on every value."""
    task = TASKS, task_on(_task(column), column.dataset)
    of = {
        PROTOCOL: [one for one in facts if one.section == PROTOCOL],
        DATA: [one for one in facts if (one.section, one.name) == (DATA, column.dataset)],
        METHOD: [one for one in facts if (one.section, one.name) == (METHODS, method)],
        METRIC: [one for one in facts if (one.section, one.name) in ((METRICS, column.metric), task)],
    }
    # References and truths are the data set's; the pictures' digests do not show when its code makes others of them.
    of[METRIC] += [one for one in of[DATA] if one.what in ("code", "boxes and masks")]
    ways = {UNKNOWN: (DATA, METHOD, METRIC), PROTOCOL: (PROTOCOL, METHOD, METRIC)}
    causes = [*change.causes, *([DATA] if change.only_before or change.only_after else [])]
    if change.failed or change.recovered:
        causes.append(UNKNOWN)
    found: list[Fact] = []
    for cause in causes:
        near = [fact for way in ways.get(cause, (cause,)) for fact in of[way]]
        found += near or [fact for fact in facts if fact.section in SURROUNDINGS]
    return tuple(dict.fromkeys(fact.text for fact in found))
