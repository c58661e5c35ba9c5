"""Records in, Table out: means, bootstrap intervals, ranks and paired tests; the only place that averages."""

from __future__ import annotations

import math
import re
from array import array
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import special, stats

from bench.contracts import REFIT, Agreement, Cell, Column, Measured, MethodRow, Record, Table

Floats = NDArray[np.float64]

RESAMPLES = 2000
"""Bootstrap resamples of each interval."""
CONFIDENCE = 0.95
POOL_RESAMPLES = 1000
"""Resamples of scores that are no means over pictures; each costs an evaluation."""
ALPHA = 0.05
"""Family-wise error rate of the paired tests of one column."""

NO_ENHANCEMENT = "none"
"""Kind of the row that the others' gains are counted from."""

_MOST_VALUES = 2_000_000
"""Resampled values in memory at a time: 16 MB, a few times over."""


@dataclass(frozen=True, slots=True)
class _Scores:
    """What one method has in one column, in natural order of the pictures."""

    images: tuple[str, ...]
    values: Floats
    errors: tuple[str, ...]
    caveats: int
    """How many of the values carry a caveat."""

    @property
    def finite(self) -> Floats:
        finite: Floats = self.values[np.isfinite(self.values)]
        return finite

    @property
    def infinite(self) -> int:
        return int(np.isinf(self.values).sum())


class Gain(NamedTuple):
    """A difference to the row without enhancement with its interval, named as a cell's fields."""

    gain: float | None
    gain_low: float | None
    gain_high: float | None


NO_GAIN = Gain(None, None, None)


@dataclass(frozen=True, slots=True)
class Pool:
    """A score over all pictures together that is no mean over them, for one method in one column."""

    measured: Measured
    present: Floats
    """(N,): 1 for pictures the method has an answer for, 0 for others."""
    errors: tuple[str, ...]
    """Why there is none for the others."""


def tabulate(
    rows: Sequence[MethodRow],
    columns: Sequence[Column],
    records: Sequence[Record],
    missing: Mapping[tuple[str, Column], str],
    seed: int,
    pools: Mapping[tuple[str, Column], Pool] | None = None,
) -> Table:
    """Summarise every method in every column.

    The interval is the 95 % BCa bootstrap interval of the mean over pictures. The best mean is marked 'best' only if a
    two-sided Wilcoxon signed-rank test over the pictures both methods have, Holm-corrected over the other methods,
    separates it from each of them; otherwise it and all that are not separated from it are marked 'tie'. `missing`
    says why a cell has no records. Records of other methods and columns are ignored. Nothing depends on the order of
    rows, columns or records. Raises ValueError for a picture that is scored twice in one cell.

    A column of `pools` holds scores that are functions of all pictures together: their intervals are percentiles over
    resampled pictures, and the best is separated from another method where the interval of the difference over the same
    resamples, at Holm's level, leaves out zero. Every cell also says what the method gains over the row without
    enhancement (kind 'none').
    """
    pools = pools or {}
    pooled = {column for _, column in pools}
    scores, pictures = _collect(rows, columns, records)
    intervals = _intervals([each.finite for each in scores.values()], seed)
    interval = dict(zip(scores, intervals, strict=True))

    plain = next((row.method for row in rows if row.kind == NO_ENHANCEMENT), None)
    gains = _gains(rows, columns, scores, plain, seed)
    cells: dict[tuple[str, Column], Cell] = {}
    for column in columns:
        if column in pooled:
            here_pools = {row.method: pools[row.method, column] for row in rows if (row.method, column) in pools}
            for row in rows:
                if row.method not in here_pools:
                    cells[row.method, column] = _empty(missing.get((row.method, column), "not scored"))
            cells |= {(method, column): cell for method, cell in _pooled(here_pools, plain, column, seed).items()}
            continue
        here = {row.method: scores[row.method, column] for row in rows}
        mean = {method: float(each.finite.mean()) for method, each in here.items() if each.finite.size}
        rank, mark = _ranks(mean, column.higher_is_better), _marks(here, mean, column.higher_is_better)
        total = pictures[column.dataset, column.protocol]
        for method, each in here.items():
            low, high = interval[method, column]
            cells[method, column] = Cell(
                mean=mean.get(method),
                n=each.finite.size,
                failed=len(each.errors),
                infinite=each.infinite,
                ci_low=low,
                ci_high=high,
                reason=_reason(each, total, missing.get((method, column), "not scored")),
                rank=rank.get(method),
                mark=mark.get(method, ""),
                caveats=each.caveats,
                **gains.get((method, column), NO_GAIN)._asdict(),
            )
    return Table(tuple(rows), tuple(columns), cells, tuple(_agreements(rows, columns, scores)))


def _gains(
    rows: Sequence[MethodRow],
    columns: Sequence[Column],
    scores: Mapping[tuple[str, Column], _Scores],
    plain: str | None,
    seed: int,
) -> dict[tuple[str, Column], Gain]:
    """Mean difference to the row without enhancement with its interval, over the pictures both have."""
    if plain is None:
        return {}
    pairs = [(row.method, column) for column in columns for row in rows if row.method != plain]
    differences = [_differences(scores[method, column], scores[plain, column]) for method, column in pairs]
    return {
        pair: Gain(float(one.mean()), low, high)
        for pair, one, (low, high) in zip(pairs, differences, _intervals(differences, seed), strict=True)
        if one.size
    }


def _differences(one: _Scores, other: _Scores) -> Floats:
    """One minus the other on common pictures, finite ones."""
    if one.images == other.images:
        difference = _minus(one.values, other.values)
    else:
        there = dict(zip(other.images, other.values, strict=True))
        common = [(value, there[name]) for name, value in zip(one.images, one.values, strict=True) if name in there]
        pairs = np.array(common, dtype=np.float64).reshape(-1, 2)
        difference = _minus(pairs[:, 0], pairs[:, 1])
    finite: Floats = difference[np.isfinite(difference)]
    return finite


def _pooled(pools: Mapping[str, Pool], plain: str | None, column: Column, seed: int) -> dict[str, Cell]:
    """Cells of a column whose scores are functions of all pictures together."""
    found = {method: _Resampled.of(pool, seed) for method, pool in pools.items()}
    mean = {method: one.value for method, one in found.items() if np.isfinite(one.value)}
    rank = _ranks(mean, column.higher_is_better)
    mark = _pool_marks({method: found[method] for method in mean}, column.higher_is_better)
    cells = {}
    for method, one in found.items():
        low, high = one.interval() if method in mean else (None, None)
        compared = plain is not None and method != plain and {method, plain} <= set(mean)
        gain = one.gain_over(found[plain]) if plain is not None and compared else NO_GAIN
        cells[method] = Cell(
            mean=mean.get(method),
            n=int(one.pool.present.sum()),
            failed=len(one.pool.errors),
            infinite=0,
            ci_low=low,
            ci_high=high,
            reason=_pool_reason(one),
            rank=rank.get(method),
            mark=mark.get(method, ""),
            **gain._asdict(),
        )
    return cells


@dataclass(frozen=True)
class _Resampled:
    """A pool's score over its pictures and over resamples of them; every method sees the same resamples."""

    pool: Pool
    seed: int
    value: float
    drawn: Floats

    @classmethod
    def of(cls, pool: Pool, seed: int, present: Floats | None = None) -> _Resampled:
        present = pool.present if present is None else present
        value = float(pool.measured.statistic(present[None])[0]) if present.any() else float("nan")
        if not np.isfinite(value) or present.sum() < 2:
            return cls(pool, seed, value, np.full(POOL_RESAMPLES, value))
        return cls(pool, seed, value, pool.measured.statistic(_weights(len(present), seed) * present))

    def interval(self) -> tuple[float | None, float | None]:
        """95 % percentile interval; None where there are fewer than two pictures."""
        if self.pool.present.sum() < 2:
            return None, None
        return _percentiles(self.drawn)

    def gain_over(self, other: _Resampled) -> Gain:
        """Difference over the pictures both have, with its interval."""
        here, there = self.beside(other)
        low, high = _percentiles(here.drawn - there.drawn) if here.pool.present.sum() > 1 else (None, None)
        return Gain(here.value - there.value, low, high)

    def beside(self, other: _Resampled) -> tuple[_Resampled, _Resampled]:
        """Both over the pictures that both have."""
        if np.array_equal(self.pool.present, other.pool.present):
            return self, other
        common = self.pool.present * other.pool.present
        return _Resampled.of(self.pool, self.seed, common), _Resampled.of(other.pool, self.seed, common)


def replicates(pool: Pool, seed: int, count: int) -> Floats:
    """The first `count` of the scores over resampled pictures, (count,); drawn alike for equally many pictures."""
    weights: Floats = _weights(len(pool.present), seed)[:count] * pool.present
    return pool.measured.statistic(weights)


@lru_cache(maxsize=8)
def _weights(pictures: int, seed: int) -> Floats:
    """How often each picture is drawn, one row per resample."""
    generator = np.random.default_rng([seed, pictures, POOL_RESAMPLES])
    drawn = generator.multinomial(pictures, np.full(pictures, 1 / pictures), size=POOL_RESAMPLES)
    return drawn.astype(np.float64)


def _percentiles(drawn: Floats) -> tuple[float | None, float | None]:
    finite = drawn[np.isfinite(drawn)]  # a resample may hold no object of a class
    if not finite.size:
        return None, None
    low, high = np.quantile(finite, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    return float(low), float(high)


def _pool_marks(found: Mapping[str, _Resampled], higher_is_better: bool) -> dict[str, str]:
    """As `_marks`, the test being a two-sided one over the differences of the resamples."""
    if len(found) < 2 or not any(np.isfinite(one.drawn).any() for one in found.values()):
        return {}
    sign = 1.0 if higher_is_better else -1.0
    leader = min(found, key=lambda method: (-sign * found[method].value, method))
    others = sorted(set(found) - {leader})
    tests = []
    for other in others:
        here, there = found[leader].beside(found[other])
        difference = here.drawn - there.drawn
        difference = difference[np.isfinite(difference)]
        support = here.pool.measured.support
        pictures = int(here.pool.present.sum()) if support is None else support
        shares = [(1 + int(side.sum())) / (1 + difference.size) for side in (difference <= 0, difference >= 0)]
        enough = pictures >= here.pool.measured.fewest and difference.size
        tests.append(min(1.0, 2 * min(shares)) if enough else 1.0)
    tied = [other for other, p in zip(others, holm(tests), strict=True) if p > ALPHA]
    return dict.fromkeys([leader, *tied], "tie") if tied else {leader: "best"}


def _pool_reason(one: _Resampled) -> str | None:
    total, failed = len(one.pool.present), len(one.pool.errors)
    if failed:
        return f"{failed} of {total} failed: {one.pool.errors[0]}" if failed < total else one.pool.errors[0]
    return None if np.isfinite(one.value) else "undefined: nothing annotated, or nothing found to divide by"


def _empty(reason: str) -> Cell:
    return Cell(None, 0, 0, 0, None, None, reason, None, "")


def _agreements(
    rows: Sequence[MethodRow], columns: Sequence[Column], scores: Mapping[tuple[str, Column], _Scores]
) -> Iterator[Agreement]:
    """Spearman's rank correlation of every refit column with the published one beside it."""
    named = {(column.dataset, column.protocol, column.metric): column for column in columns}
    for refit in columns:
        published = named.get((refit.dataset, refit.protocol, refit.metric.removesuffix(REFIT)))
        if not refit.metric.endswith(REFIT) or published is None:
            continue
        pairs = []
        for row in rows:
            there = scores[row.method, published]
            other = dict(zip(there.images, there.values, strict=True))
            here = scores[row.method, refit]
            pairs += [
                (value, other[image]) for image, value in zip(here.images, here.values, strict=True) if image in other
            ]
        if len(pairs) > 2:
            fitted, official = np.array(pairs).T
            if np.ptp(fitted) > 0 and np.ptp(official) > 0:
                yield Agreement(refit, published, float(stats.spearmanr(fitted, official).statistic), len(pairs))


def _collect(
    rows: Sequence[MethodRow], columns: Sequence[Column], records: Sequence[Record]
) -> tuple[dict[tuple[str, Column], _Scores], dict[tuple[str, str], int]]:
    """Scores of every cell, and how many pictures each data set has under each protocol."""
    found = {(row.method, of.dataset, of.protocol, of.metric): _Gathered() for row in rows for of in columns}
    pictures: defaultdict[tuple[str, str], set[str]] = defaultdict(set)
    for record in records:
        gathered = found.get((record.method, record.dataset, record.protocol, record.metric))
        if gathered is not None:
            gathered.add(record)
            pictures[record.dataset, record.protocol].add(record.image)
    place = {image: index for index, image in enumerate(sorted(set().union(*pictures.values()), key=_natural))}
    scores = {
        (row.method, of): found[row.method, of.dataset, of.protocol, of.metric].scores(row.method, of, place)
        for row in rows
        for of in columns
    }
    totals = {(col.dataset, col.protocol): len(pictures[col.dataset, col.protocol]) for col in columns}
    return scores, totals


class _Gathered:
    """One method's records in one column, in columns themselves: there may be millions of them."""

    def __init__(self) -> None:
        self._images: list[str] = []
        self._values = array("d")
        self._errors: dict[str, str] = {}
        self._caveats = 0

    def add(self, record: Record) -> None:
        self._images.append(record.image)
        if record.error is not None or record.value is None:
            self._errors[record.image] = record.error or "neither a value nor an error was stored"
        elif math.isnan(record.value):
            self._errors[record.image] = "the value is not a number"
        else:
            self._values.append(record.value)
            self._caveats += bool(record.caveat)
            return
        self._values.append(math.nan)

    def scores(self, method: str, column: Column, place: Mapping[str, int]) -> _Scores:
        if len(set(self._images)) < len(self._images):
            twice = Counter(self._images).most_common(1)[0][0]
            raise ValueError(
                f"picture {column.dataset}/{twice} has two values of {column.metric!r} by {method!r} "
                f"under {column.protocol!r}; a summary needs one record of each"
            )
        values = np.array(self._values, dtype=np.float64)
        order = np.argsort([place[image] for image in self._images]) if self._images else np.arange(0)
        named = [self._images[at] for at in order]
        known = ~np.isnan(values[order])
        return _Scores(
            images=tuple(image for image, there in zip(named, known, strict=True) if there),
            values=values[order][known],
            errors=tuple(self._errors[image] for image, there in zip(named, known, strict=True) if not there),
            caveats=self._caveats,
        )


def _intervals(samples: Sequence[Floats], seed: int) -> list[tuple[float | None, float | None]]:
    """BCa interval of each sample's mean; samples of equal size share their resamples, as paired pictures should."""
    intervals: list[tuple[float | None, float | None]] = [(None, None)] * len(samples)
    by_size: defaultdict[int, list[int]] = defaultdict(list)
    for index, sample in enumerate(samples):
        if sample.size < 2:
            continue
        if np.ptp(sample) == 0:  # BCa divides by the spread; without any, every resample has the same mean
            intervals[index] = (float(sample[0]), float(sample[0]))
        else:
            by_size[sample.size].append(index)
    for size, indices in by_size.items():
        ends = _bca([samples[index] for index in indices], np.random.default_rng([seed, size]))
        for index, (low, high) in zip(indices, ends, strict=True):
            intervals[index] = (low, high)
    return intervals


def _bca(samples: Sequence[Floats], generator: np.random.Generator) -> list[tuple[float, float]]:
    """BCa interval of the mean of each sample, all of one size and drawn from alike.

    Efron and Tibshirani, An Introduction to the Bootstrap, 14.3; the jackknife of a mean is known without leaving a
    picture out: each mean of the others lies (value - mean) / (n - 1) off.
    """
    size = samples[0].size
    # BCa commutes with shift and scale; on [0, 1] the cubes of its acceleration cannot underflow.
    scaled = [(sample - sample.min()) / np.ptp(sample) for sample in samples]
    resampled = np.empty((len(samples), RESAMPLES))
    rows = max(1, min(RESAMPLES, _MOST_VALUES // size))
    for start in range(0, RESAMPLES, rows):
        drawn = generator.integers(0, size, (min(rows, RESAMPLES - start), size))
        for means, sample in zip(resampled, scaled, strict=True):
            means[start : start + len(drawn)] = sample[drawn].mean(axis=1)
    normal = special.ndtri(np.array([1 - CONFIDENCE, 1 + CONFIDENCE]) / 2)
    ends = []
    for sample, unit, means in zip(samples, scaled, resampled, strict=True):
        mean = unit.mean()
        bias = special.ndtri(((means < mean).mean() + (means <= mean).mean()) / 2)
        off = mean - (unit.sum() - unit) / (size - 1)
        off -= off.mean()
        acceleration = (off**3).sum() / (6 * (off**2).sum() ** 1.5)
        shares = special.ndtr(bias + (bias + normal) / (1 - acceleration * (bias + normal)))
        low, high = (float(end) for end in np.quantile(means, shares) * np.ptp(sample) + sample.min())
        ends.append((low, high))
    return ends


def _ranks(mean: Mapping[str, float], higher_is_better: bool) -> dict[str, int]:
    """1 for the best mean; equal means share a rank."""
    ordered = sorted(mean.values(), reverse=higher_is_better)
    return {method: ordered.index(value) + 1 for method, value in mean.items()}


def _marks(scores: Mapping[str, _Scores], mean: Mapping[str, float], higher_is_better: bool) -> dict[str, str]:
    """'best' or 'tie' of the methods that deserve one; a lone method has nobody to be better than and gets none."""
    if len(mean) < 2:
        return {}
    sign = 1.0 if higher_is_better else -1.0
    leader = min(mean, key=lambda method: (-sign * mean[method], method))
    others = sorted(set(mean) - {leader})
    tests = [_paired_test(scores[leader], scores[other], sign) for other in others]
    adjusted = holm([p for p, _ in tests])
    tied = [
        other
        for other, p, (_, ahead) in zip(others, adjusted, tests, strict=True)
        if p > ALPHA or not ahead or mean[other] == mean[leader]
    ]
    return dict.fromkeys([leader, *tied], "tie") if tied else {leader: "best"}


def _paired_test(leader: _Scores, other: _Scores, sign: float) -> tuple[float, bool]:
    """Two-sided p of the Wilcoxon signed-rank test over common pictures, and whether the ranks favour the leader.

    The mean and the ranks can disagree (one huge win, many small losses); then the leader is not separated. Infinite
    values are left out here as in the mean. Fewer than six pictures that differ cannot reach p = 0.05: a tie.
    """
    difference = sign * _differences(leader, other)
    difference = difference[difference != 0]  # Wilcoxon's own rule for zeros: drop them
    if difference.size < 6:
        return 1.0, False
    ranks = stats.rankdata(np.abs(difference))
    ahead = bool(ranks[difference > 0].sum() > ranks[difference < 0].sum())
    return float(stats.wilcoxon(difference, method="auto").pvalue), ahead


def _minus(first: Floats, second: Floats) -> Floats:
    with np.errstate(invalid="ignore"):  # infinite minus infinite is not a number, and is left out
        return first - second


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's step-down adjustment: compare each adjusted p-value with the family-wise error rate."""
    order = sorted(range(len(p_values)), key=p_values.__getitem__)
    adjusted, highest = [0.0] * len(p_values), 0.0
    for step, index in enumerate(order):
        highest = max(highest, min(1.0, (len(order) - step) * p_values[index]))
        adjusted[index] = highest
    return adjusted


def _reason(scores: _Scores, pictures: int, missing: str) -> str | None:
    """Why a cell is empty, or stands on other pictures than its neighbours."""
    failed, scored = len(scores.errors), len(scores.images)
    if not failed and not scored:
        return missing
    if not scored and failed == pictures:
        return Counter(scores.errors).most_common(1)[0][0]
    parts = []
    if failed:
        parts.append(f"{failed} of {pictures} failed: {scores.errors[0]}")
    if scores.infinite:
        parts.append(f"{scores.infinite} of {pictures} infinite, left out of the mean")
    if failed + scored < pictures:
        parts.append(f"{pictures - failed - scored} of {pictures} not scored")
    return "; ".join(parts) or None


def _natural(image: str) -> tuple[list[tuple[int, str]], str]:
    """Sort key that puts '9' before '10'; the name itself decides between '1' and '01'."""
    parts = re.split(r"(\d+)", image)
    return [(int(part), "") if index % 2 else (0, part) for index, part in enumerate(parts)], image
