"""Records in, Table out: means, bootstrap intervals, ranks and paired tests; the only place that averages."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from bench.contracts import REFIT, Agreement, Cell, Column, MethodRow, Record, Table

Floats = NDArray[np.float64]

RESAMPLES = 2000
"""Bootstrap resamples of each interval."""
CONFIDENCE = 0.95
ALPHA = 0.05
"""Family-wise error rate of the paired tests of one column."""

_CHUNK = 32
"""Cells per bootstrap call: 32 x 2000 resamples of 100 pictures are 51 MB."""


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
        return self.values[np.isfinite(self.values)]

    @property
    def infinite(self) -> int:
        return int(np.isinf(self.values).sum())


def tabulate(
    rows: Sequence[MethodRow],
    columns: Sequence[Column],
    records: Sequence[Record],
    missing: Mapping[tuple[str, Column], str],
    seed: int,
) -> Table:
    """Summarise every method in every column.

    The interval is the 95 % BCa bootstrap interval of the mean over pictures. The best mean is marked 'best' only if a
    two-sided Wilcoxon signed-rank test over the pictures both methods have, Holm-corrected over the other methods,
    separates it from each of them; otherwise it and all that are not separated from it are marked 'tie'. `missing`
    says why a cell has no records. Records of other methods and columns are ignored. Nothing depends on the order of
    rows, columns or records. Raises ValueError for a picture that is scored twice in one cell.
    """
    scores, pictures = _collect(rows, columns, records)
    intervals = _intervals([each.finite for each in scores.values()], seed)
    interval = dict(zip(scores, intervals, strict=True))

    cells: dict[tuple[str, Column], Cell] = {}
    for column in columns:
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
            )
    return Table(tuple(rows), tuple(columns), cells, tuple(_agreements(rows, columns, scores)))


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
    wanted = {(column.dataset, column.protocol, column.metric): column for column in columns}
    found: dict[tuple[str, Column], dict[str, Record]] = {(row.method, col): {} for row in rows for col in columns}
    pictures: defaultdict[tuple[str, str], set[str]] = defaultdict(set)
    for record in records:
        column = wanted.get((record.dataset, record.protocol, record.metric))
        if column is None or (record.method, column) not in found:
            continue
        by_image = found[record.method, column]
        if record.image in by_image:
            raise ValueError(
                f"picture {record.dataset}/{record.image} has two values of {record.metric!r} by {record.method!r} "
                f"under {record.protocol!r}; a summary needs one record of each"
            )
        by_image[record.image] = record
        pictures[record.dataset, record.protocol].add(record.image)
    place = {image: index for index, image in enumerate(sorted(set().union(*pictures.values()), key=_natural))}
    scores = {key: _scores(sorted(each.values(), key=lambda one: place[one.image])) for key, each in found.items()}
    totals = {(col.dataset, col.protocol): len(pictures[col.dataset, col.protocol]) for col in columns}
    return scores, totals


def _scores(records: Iterable[Record]) -> _Scores:
    images, values, errors, caveats = [], [], [], 0
    for record in records:
        if record.error is not None or record.value is None:
            errors.append(record.error or "neither a value nor an error was stored")
        elif np.isnan(record.value):
            errors.append("the value is not a number")
        else:
            images.append(record.image)
            values.append(record.value)
            caveats += bool(record.caveat)
    return _Scores(tuple(images), np.array(values, dtype=np.float64), tuple(errors), caveats)


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
        for start in range(0, len(indices), _CHUNK):
            chunk = indices[start : start + _CHUNK]
            low, high = _bca(np.stack([samples[index] for index in chunk]), np.random.default_rng([seed, size]))
            for index, one_low, one_high in zip(chunk, low, high, strict=True):
                intervals[index] = (float(one_low), float(one_high))
    return intervals


def _bca(samples: Floats, generator: np.random.Generator) -> tuple[Floats, Floats]:
    """Interval of the mean of each row of (cells, pictures)."""
    # BCa commutes with shift and scale; on [0, 1] the cubes of its acceleration cannot underflow.
    offset, spread = samples.min(axis=1), np.ptp(samples, axis=1)
    found = stats.bootstrap(
        ((samples - offset[:, None]) / spread[:, None],),
        _mean,
        axis=-1,
        n_resamples=RESAMPLES,
        confidence_level=CONFIDENCE,
        method="BCa",
        vectorized=True,
        rng=generator,
    ).confidence_interval
    return found.low * spread + offset, found.high * spread + offset


def _mean(resampled: Floats, axis: int = -1) -> Floats:
    # Contiguous pictures: NumPy's order of summation, so the last bit, depends on the layout, and fancy indexing
    # picks a layout by the number of cells. An interval must not depend on its neighbours in the table.
    return np.asarray(np.ascontiguousarray(resampled).mean(axis=axis))


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
    if leader.images == other.images:
        difference = sign * _minus(leader.values, other.values)
    else:
        there = dict(zip(other.images, other.values, strict=True))
        common = [
            (value, there[image]) for image, value in zip(leader.images, leader.values, strict=True) if image in there
        ]
        pairs = np.array(common, dtype=np.float64).reshape(-1, 2)
        difference = sign * _minus(pairs[:, 0], pairs[:, 1])
    difference = difference[np.isfinite(difference) & (difference != 0)]  # Wilcoxon's own rule for zeros: drop them
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
