"""Records and a table in, rankings and pairwise comparisons out: who wins how often, and what chance could explain.

Ranks as in Demšar, Statistical Comparisons of Classifiers over Multiple Data Sets, JMLR 7 (2006), section 3.2, with
pictures or data sets as blocks. Infinite values (PSNR of identical pictures) count here, as they can be ordered.
"""

from __future__ import annotations

import math
from array import array
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from itertools import combinations

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from bench.contracts import Column, Comparison, Ranking, Record, Table
from bench.summary import ALPHA, holm

Floats = NDArray[np.float64]

FEWEST_BLOCKS = 5
"""Below this neither Friedman's nor Nemenyi's approximation is worth printing; ranks are given without them."""
FEWEST_DIFFERING = 6
"""Below this not even the best outcome of the signed-rank test reaches p = 0.05, so only signs are tested."""
MOST_DIFFERENCES = 300
"""The Hodges-Lehmann estimate of more differences is that of this many of their quantiles, evenly spaced."""

_Values = Mapping[str, Mapping[str, float]]
"""Value of each method on each block."""


def ranked(table: Table, records: Sequence[Record]) -> Table:
    """The table with its rankings and pairwise comparisons.

    Columns of main tables are ranked and compared over pictures where records have values; then every metric is ranked
    over data sets by the cells' means, whatever they are means of. Nothing depends on the order of the records.
    """
    methods = tuple(row.method for row in table.rows)
    columns = [column for column in table.columns if not column.group]
    rankings, pairwise = [], []
    for column, values in _by_column(columns, records):
        rankings.append(rank((column,), "pictures", methods, values))
        pairwise += compare(column, methods, values)
    for of_metric in _over_datasets(columns):
        means: dict[str, dict[str, float]] = {method: {} for method in methods}
        for method in methods:
            for column in of_metric:
                mean = table.cells[method, column].mean
                if mean is not None:
                    means[method][column.dataset] = mean
        rankings.append(rank(of_metric, "data sets", methods, means))
    return replace(table, rankings=tuple(each for each in rankings if each), pairwise=tuple(pairwise))


def rank(columns: tuple[Column, ...], over: str, methods: Sequence[str], values: _Values) -> Ranking | None:
    """Rank methods on the blocks that all of them have; None for fewer than two methods or two blocks.

    A method that lacks more than half of the blocks is left out, so that it does not take them from the others.
    """
    every = set().union(*(values[method] for method in methods)) if methods else set()
    compared = [method for method in methods if 2 * len(values[method]) >= len(every)]
    blocks = sorted(every.intersection(*(values[method] for method in compared)))
    if len(compared) < 2 or len(blocks) < 2:
        return None
    sign = -1.0 if columns[0].higher_is_better else 1.0
    ranks = stats.rankdata([[sign * values[method][block] for block in blocks] for method in compared], axis=0)
    mean = dict(zip(compared, ranks.mean(axis=1).tolist(), strict=True))
    ordered = tuple(sorted(compared, key=mean.__getitem__))
    ranking = Ranking(
        columns=columns,
        over=over,
        n=len(blocks),
        methods=ordered,
        ranks=tuple(mean[method] for method in ordered),
        left_out=tuple(method for method in methods if method not in mean),
    )
    if len(blocks) < FEWEST_BLOCKS:
        return ranking
    difference = critical_difference(len(compared), len(blocks))
    ranking = replace(ranking, critical_difference=difference, groups=groups(ordered, ranking.ranks, difference))
    return _friedman(ranking, ranks) if len(compared) > 2 else ranking


def _friedman(ranking: Ranking, ranks: Floats) -> Ranking:
    """Add the tests that all methods are equal; `ranks` are (methods, blocks)."""
    methods, blocks = ranks.shape
    if (ranks == ranks[0]).all():  # SciPy divides by the spread of the ranks
        return replace(ranking, chi2=0.0, p=1.0, f=0.0, f_p=1.0)
    chi2, p = (float(one) for one in stats.friedmanchisquare(*ranks))
    rest = blocks * (methods - 1) - chi2
    # Iman and Davenport (1980); what rounding leaves of a rest of nothing is no rest.
    f = (blocks - 1) * chi2 / rest if rest > 1e-9 * chi2 else math.inf
    return replace(ranking, chi2=chi2, p=p, f=f, f_p=float(stats.f.sf(f, methods - 1, (methods - 1) * (blocks - 1))))


@lru_cache
def critical_difference(methods: int, blocks: int) -> float:
    """Nemenyi's critical difference of mean ranks at α = 0.05: q·sqrt(k(k + 1)/6N), q of the studentised range."""
    q = stats.studentized_range.ppf(1 - ALPHA, methods, np.inf) / math.sqrt(2)
    return float(q) * math.sqrt(methods * (methods + 1) / (6 * blocks))


def groups(methods: Sequence[str], ranks: Sequence[float], difference: float) -> tuple[tuple[str, ...], ...]:
    """Largest runs of two or more methods, sorted by rank, whose first and last differ by less than `difference`."""
    found, reached = [], 0
    for start in range(len(methods)):
        end = next((place for place in range(start, len(methods)) if ranks[place] - ranks[start] >= difference), None)
        end = len(methods) if end is None else end
        if end > reached and end - start > 1:
            found.append(tuple(methods[start:end]))
        reached = max(reached, end)
    return tuple(found)


def compare(column: Column, methods: Sequence[str], values: _Values) -> list[Comparison]:
    """Every pair of methods that has two pictures or more in common."""
    sign = 1.0 if column.higher_is_better else -1.0
    images = dict.fromkeys(image for method in methods for image in values[method])
    scores = {method: np.array([values[method].get(image, np.nan) for image in images]) for method in methods}
    found = []
    for first, second in combinations(methods, 2):
        one, other = scores[first], scores[second]
        with np.errstate(invalid="ignore"):
            difference = np.where(one == other, 0.0, one - other)  # two infinite values are a tie
        difference = difference[~np.isnan(difference)]
        if difference.size < 2:
            continue
        ahead = sign * difference
        p, effect = _test(ahead)
        found.append(
            Comparison(
                column=column,
                first=first,
                second=second,
                n=difference.size,
                wins=int((ahead > 0).sum()),
                ties=int((ahead == 0).sum()),
                losses=int((ahead < 0).sum()),
                test="sign" if np.count_nonzero(ahead) < FEWEST_DIFFERING else "wilcoxon",
                p=p,
                p_holm=p,
                effect=effect,
                shift=hodges_lehmann(difference),
            )
        )
    adjusted = holm([each.p for each in found])
    return [replace(each, p_holm=p) for each, p in zip(found, adjusted, strict=True)]


def _test(ahead: Floats) -> tuple[float, float]:
    """Two-sided p and matched-pairs rank-biserial correlation (Kerby 2014) of differences, zeros dropped."""
    differing = ahead[ahead != 0]
    if not differing.size:
        return 1.0, 0.0
    signed = np.sign(differing) * stats.rankdata(np.abs(differing))
    effect = float(signed.sum() / np.abs(signed).sum())
    if differing.size < FEWEST_DIFFERING:
        return float(stats.binomtest(int((differing > 0).sum()), differing.size).pvalue), effect
    # The test sees nothing but ranks, and ranks of infinite differences are finite.
    return float(stats.wilcoxon(signed, method="auto").pvalue), effect


def hodges_lehmann(differences: Floats) -> float | None:
    """Median of the means of all pairs of finite differences, each with itself too; None where none is finite."""
    finite = np.sort(differences[np.isfinite(differences)])
    if not finite.size:
        return None
    if finite.size > MOST_DIFFERENCES:
        finite = np.quantile(finite, (np.arange(MOST_DIFFERENCES) + 0.5) / MOST_DIFFERENCES)
    first, second = _pairs(finite.size)
    return float(np.median(finite[first] + finite[second]) / 2)


@lru_cache(maxsize=4)
def _pairs(size: int) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    return np.triu_indices(size)


def _by_column(columns: Sequence[Column], records: Sequence[Record]) -> Iterator[tuple[Column, _Values]]:
    """Each column with its values by method and picture; pictures without value are absent."""
    found: dict[tuple[str, str, str], defaultdict[str, tuple[list[str], array[float]]]] = {
        (of.dataset, of.protocol, of.metric): defaultdict(lambda: ([], array("d"))) for of in columns
    }
    for record in records:
        by_method = found.get((record.dataset, record.protocol, record.metric))
        if by_method is None or record.error is not None or record.value is None or math.isnan(record.value):
            continue
        images, values = by_method[record.method]
        images.append(record.image)
        values.append(record.value)
    for column in columns:
        by_method = found[column.dataset, column.protocol, column.metric]
        named = {method: dict(zip(*each, strict=True)) for method, each in by_method.items()}
        yield column, defaultdict(dict, named)


def _over_datasets(columns: Sequence[Column]) -> list[tuple[Column, ...]]:
    """Columns of one metric under one protocol, where there are several."""
    found: defaultdict[tuple[str, str], list[Column]] = defaultdict(list)
    for column in columns:
        found[column.metric, column.protocol].append(column)
    return [tuple(each) for each in found.values() if len(each) > 1]
