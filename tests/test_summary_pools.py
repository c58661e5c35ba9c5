"""Scores of all pictures together: resampled like means, compared over the same resamples."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats

from bench.contracts import Cell, Column, Measured, MethodRow, Record
from bench.summary import Pool, tabulate

Floats = NDArray[np.float64]
COLUMN = Column("set", "Set", "p+t", "score", "Score", True, "", 3, "a score")
ROWS = [MethodRow("input", "Input", "none"), MethodRow("mine", "Mine", "classical")]


def weighted_mean(values: Floats) -> Measured:
    def statistic(weights: Floats) -> Floats:
        with np.errstate(invalid="ignore"):
            return (weights @ values) / weights.sum(axis=1)

    return Measured("score", "Score", True, "mean", statistic)


def cells(pools: dict[str, Pool], rows: Sequence[MethodRow] = ROWS) -> dict[str, Cell]:
    table = tabulate(rows, [COLUMN], [], {}, 0, {(name, COLUMN): pool for name, pool in pools.items()})
    return {row.method: table.cell(row, COLUMN) for row in rows}


def pool(values: Floats, present: Floats | None = None, support: int | None = None) -> Pool:
    measured = weighted_mean(values)
    if support is not None:
        measured = Measured("score", "Score", True, "mean", measured.statistic, support=support)
    return Pool(measured, np.ones(len(values)) if present is None else present, ())


@pytest.fixture(scope="module")
def values() -> Floats:
    return np.random.default_rng(7).normal(0.5, 0.1, size=60)


def test_the_interval_is_that_of_scipys_percentile_bootstrap(values: Floats) -> None:
    # Another stream of random numbers, so equal up to the noise of 1,000 resamples.
    expected = stats.bootstrap((values,), np.mean, method="percentile", n_resamples=20_000, rng=1).confidence_interval
    cell = cells({"input": pool(values), "mine": pool(values)})["input"]
    assert cell.mean == pytest.approx(values.mean())
    width = expected.high - expected.low
    assert cell.ci_low == pytest.approx(expected.low, abs=0.12 * width)
    assert cell.ci_high == pytest.approx(expected.high, abs=0.12 * width)


def test_a_constant_gain_has_no_spread(values: Floats) -> None:
    cell = cells({"input": pool(values), "mine": pool(values + 0.25)})["mine"]
    assert [cell.gain, cell.gain_low, cell.gain_high] == pytest.approx([0.25] * 3)
    assert cell.mark == "best"


def test_the_row_without_enhancement_has_no_gain(values: Floats) -> None:
    assert cells({"input": pool(values), "mine": pool(values)})["input"].gain is None


def test_equal_scores_are_a_tie(values: Floats) -> None:
    found = cells({"input": pool(values), "mine": pool(values)})
    assert {cell.mark for cell in found.values()} == {"tie"}


def test_a_class_in_five_pictures_separates_nobody(values: Floats) -> None:
    found = cells({"input": pool(values, support=5), "mine": pool(values + 0.25, support=5)})
    assert {cell.mark for cell in found.values()} == {"tie"}


def test_a_score_says_from_how_many_pictures_on_it_separates(values: Floats) -> None:
    better = [weighted_mean(values), weighted_mean(values + 0.25)]
    for fewest, mark in ((60, "best"), (61, "tie")):
        one, other = (Pool(replace(each, fewest=fewest), np.ones(60), ()) for each in better)
        assert cells({"input": one, "mine": other})["mine"].mark == mark


def test_pictures_without_an_answer_do_not_count(values: Floats) -> None:
    present = np.ones(len(values))
    present[:20] = 0
    spoilt = values.copy()
    spoilt[:20] = -1e6
    found = cells({"input": pool(values), "mine": Pool(weighted_mean(spoilt), present, ("too dark",) * 20)})
    assert found["mine"].mean == pytest.approx(values[20:].mean())
    assert (found["mine"].n, found["mine"].failed) == (40, 20)
    assert found["mine"].reason == "20 of 60 failed: too dark"
    # The gain is counted over the 40 pictures that both have.
    assert found["mine"].gain == pytest.approx(0.0)


def test_an_undefined_score_is_an_empty_cell_with_a_reason() -> None:
    nothing = Measured("score", "Score", True, "mean", lambda weights: np.full(len(weights), np.nan))
    found = cells({"input": Pool(nothing, np.ones(3), ()), "mine": Pool(nothing, np.ones(3), ())})
    assert found["mine"].mean is None
    assert str(found["mine"].reason).startswith("undefined")


def test_the_same_seed_gives_the_same_bits(values: Floats) -> None:
    first, second = (cells({"input": pool(values), "mine": pool(values**2)})["mine"] for _ in range(2))
    assert first == second


def test_the_gain_of_a_mean_is_the_mean_of_the_differences(values: Floats) -> None:
    column = Column("set", "Set", "p", "psnr", "PSNR", True, "dB", 2, "a metric")
    both = {"input": values, "mine": values + np.linspace(0, 1, len(values))}
    records = [
        Record(name, "set", "p", str(place), "psnr", float(value), None)
        for name, column_values in both.items()
        for place, value in enumerate(column_values)
    ]
    cell = tabulate(ROWS, [column], records, {}, 0).cell(ROWS[1], column)
    expected = stats.bootstrap((np.linspace(0, 1, len(values)),), np.mean, n_resamples=20_000, rng=1)
    assert cell.gain == pytest.approx(0.5)
    assert cell.gain_low == pytest.approx(expected.confidence_interval.low, abs=0.02)
    assert cell.gain_high == pytest.approx(expected.confidence_interval.high, abs=0.02)
