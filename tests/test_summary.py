"""What a summary says about hand-made records, checked by hand, by brute force and against SciPy called directly."""

from __future__ import annotations

import itertools
import random
import time
from collections.abc import Iterable, Sequence

import numpy as np
import pytest
from scipy import stats

from bench.contracts import Cell, Column, MethodRow, Record, Table
from bench.summary import RESAMPLES, holm, tabulate

UP = Column("set", "Set", "native-8bit", "psnr", "PSNR", True, "dB", 2, "definition")
DOWN = Column("set", "Set", "native-8bit", "niqe", "NIQE", False, "", 2, "definition")


def rows(*methods: str) -> list[MethodRow]:
    return [MethodRow(method, method.upper(), "classical") for method in methods]


def records(method: str, values: Iterable[float | str], column: Column = UP) -> list[Record]:
    """One record per picture, named 1, 2 …; a text is an error."""
    return [
        Record(
            method=method,
            dataset=column.dataset,
            protocol=column.protocol,
            image=str(place),
            metric=column.metric,
            value=None if isinstance(value, str) else value,
            error=value if isinstance(value, str) else None,
        )
        for place, value in enumerate(values, start=1)
    ]


def summarise(values: dict[str, Sequence[float | str]], column: Column = UP, seed: int = 0) -> dict[str, Cell]:
    """Cells of one column by method."""
    found = [record for method, each in values.items() for record in records(method, each, column)]
    table = tabulate(rows(*values), [column], found, {}, seed)
    return {row.method: table.cell(row, column) for row in table.rows}


def test_mean_of_1_2_6_is_3_over_three_pictures():
    cell = summarise({"a": [1.0, 2.0, 6.0]})["a"]
    assert (cell.mean, cell.n, cell.failed, cell.infinite, cell.reason) == (3.0, 3, 0, 0, None)


def test_infinite_values_are_counted_and_left_out_of_the_mean():
    cell = summarise({"a": [10.0, float("inf"), 20.0]})["a"]
    assert (cell.mean, cell.n, cell.infinite) == (15.0, 2, 1)
    assert cell.reason == "1 of 3 infinite, left out of the mean"


def test_a_method_with_infinite_values_only_has_no_mean_and_no_rank():
    cell = summarise({"a": [float("inf")] * 2, "b": [1.0, 2.0]})["a"]
    assert (cell.mean, cell.n, cell.infinite, cell.rank, cell.ci_low) == (None, 0, 2, None, None)
    assert cell.reason is not None and "2 of 2 infinite" in cell.reason


def test_a_value_that_is_not_a_number_is_a_failure():
    cell = summarise({"a": [1.0, float("nan")]})["a"]
    assert (cell.mean, cell.n, cell.failed) == (1.0, 1, 1)
    assert cell.reason == "1 of 2 failed: the value is not a number"


def test_failed_pictures_show_in_the_reason_with_the_first_error_in_natural_order():
    found = [
        Record("a", "set", "native-8bit", "10", "psnr", None, "error of 10"),
        Record("a", "set", "native-8bit", "9", "psnr", None, "error of 9"),
        Record("a", "set", "native-8bit", "1", "psnr", 4.0, None),
    ]
    cell = tabulate(rows("a"), [UP], found, {}, 0).cells["a", UP]
    assert (cell.mean, cell.failed, cell.reason) == (4.0, 2, "2 of 3 failed: error of 9")


def test_a_method_that_failed_everywhere_gives_its_most_frequent_error():
    cell = summarise({"a": ["odd one", "common", "common"], "b": [1.0, 2.0, 3.0]})["a"]
    assert (cell.mean, cell.n, cell.failed, cell.reason) == (None, 0, 3, "common")
    assert (cell.rank, cell.mark, cell.ci_low, cell.ci_high) == (None, "", None, None)


def test_a_cell_without_records_gives_the_reason_it_was_handed():
    table = tabulate(rows("a", "b"), [UP], records("b", [1.0]), {("a", UP): "no parameter file"}, 0)
    assert table.cells["a", UP].reason == "no parameter file"
    assert table.cells["a", UP].mean is None


def test_a_cell_without_records_and_without_reason_says_that_it_was_not_scored():
    table = tabulate(rows("a"), [UP], [], {}, 0)
    assert table.cells["a", UP] == Cell(None, 0, 0, 0, None, None, "not scored", None, "")


def test_pictures_that_were_never_scored_show_in_the_reason():
    cell = summarise({"a": [1.0, 2.0], "b": [1.0, 2.0, 3.0]})["a"]
    assert (cell.n, cell.failed, cell.reason) == (2, 0, "1 of 3 not scored")


def test_records_of_other_methods_metrics_sets_and_protocols_are_ignored():
    other = [
        Record("z", "set", "native-8bit", "1", "psnr", 99.0, None),
        Record("a", "set", "native-8bit", "1", "ssim", 99.0, None),
        Record("a", "other", "native-8bit", "1", "psnr", 99.0, None),
        Record("a", "set", "native-none", "7", "psnr", 99.0, None),
    ]
    alone = tabulate(rows("a"), [UP], records("a", [1.0, 2.0]), {}, 0)
    assert tabulate(rows("a"), [UP], records("a", [1.0, 2.0]) + other, {}, 0).cells == alone.cells
    assert alone.cells["a", UP].mean == 1.5


def test_two_values_of_one_picture_are_refused_by_name():
    with pytest.raises(ValueError, match=r"set/1 has two values of 'psnr' by 'a'"):
        tabulate(rows("a"), [UP], records("a", [1.0]) * 2, {}, 0)


# Intervals


def test_one_picture_has_no_interval():
    cell = summarise({"a": [5.0]})["a"]
    assert (cell.mean, cell.ci_low, cell.ci_high) == (5.0, None, None)


def test_equal_values_have_themselves_as_interval():
    cell = summarise({"a": [0.1] * 7})["a"]
    assert (cell.ci_low, cell.ci_high) == (0.1, 0.1)


@pytest.mark.parametrize("values", [[1e-120, 2e-120, 5e-120], [1e15, 1e15 + 1, 1e15 + 2], [0.0, 0.0, 0.0, 1.0]])
def test_interval_of_awkward_values_contains_the_mean_without_a_warning(values):
    cell = summarise({"a": values})["a"]
    assert cell.ci_low is not None and cell.ci_high is not None and cell.mean is not None
    assert min(values) <= cell.ci_low < cell.mean < cell.ci_high <= max(values)


def test_interval_is_scipys_bca_interval_of_the_same_draws():
    values = np.random.default_rng(3).gamma(2.0, 3.0, 40)
    cell = summarise({"a": values.tolist()}, seed=11)["a"]
    expected = stats.bootstrap(
        (values,), np.mean, n_resamples=RESAMPLES, method="BCa", rng=np.random.default_rng([11, 40])
    ).confidence_interval
    assert (cell.ci_low, cell.ci_high) == pytest.approx((expected.low, expected.high), rel=1e-9)


def test_interval_agrees_with_bca_over_all_resamples_of_five_pictures():
    # Efron 1987, eq. 2.3 and 6.6, over all 5^5 resamples instead of random ones.
    values = np.array([1.0, 2.0, 2.5, 4.0, 9.0])
    means = np.sort([np.mean(draw) for draw in itertools.product(values, repeat=5)])
    below = (np.sum(means < values.mean() - 1e-9) + np.sum(means <= values.mean() + 1e-9)) / 2 / means.size
    z0 = stats.norm.ppf(below)
    left_out = np.array([np.delete(values, place).mean() for place in range(5)])
    away = left_out.mean() - left_out
    a = np.sum(away**3) / (6 * np.sum(away**2) ** 1.5)
    z = stats.norm.ppf([0.025, 0.975])
    low, high = np.quantile(means, stats.norm.cdf(z0 + (z0 + z) / (1 - a * (z0 + z))))
    cell = summarise({"a": values.tolist()})["a"]
    # 2000 draws place a 2.5 % quantile within about 0.35 % of the resamples; here that is below 0.3.
    assert (cell.ci_low, cell.ci_high) == pytest.approx((low, high), abs=0.3)


def test_intervals_do_not_depend_on_the_order_or_the_company_of_a_cell():
    generator = np.random.default_rng(0)
    methods = ["a", "b", "c", "d"]
    found = [
        record
        for column in (UP, DOWN)
        for method in methods
        for record in records(method, generator.normal(20, 3, 33).tolist(), column)
    ]
    table = tabulate(rows(*methods), [UP, DOWN], found, {}, 5)
    shuffled = found[:]
    random.Random(1).shuffle(shuffled)
    assert tabulate(rows("c", "a", "d", "b"), [DOWN, UP], shuffled, {}, 5).cells == table.cells
    alone = tabulate(rows("c"), [DOWN], found, {}, 5).cells["c", DOWN]
    beside = table.cells["c", DOWN]
    assert (alone.mean, alone.ci_low, alone.ci_high) == (beside.mean, beside.ci_low, beside.ci_high)


def test_another_seed_draws_other_resamples():
    values = np.random.default_rng(0).normal(size=25).tolist()
    assert summarise({"a": values}, seed=0)["a"].ci_low != summarise({"a": values}, seed=1)["a"].ci_low


# Ranks and marks


@pytest.mark.parametrize(("column", "ranks"), [(UP, {"a": 3, "b": 1, "c": 2}), (DOWN, {"a": 1, "b": 3, "c": 2})])
def test_rank_one_is_the_best_mean_in_the_metrics_direction(column, ranks):
    cells = summarise({"a": [1.0, 2.0], "b": [5.0, 6.0], "c": [3.0, 4.0]}, column)
    assert {method: cell.rank for method, cell in cells.items()} == ranks


def test_equal_means_share_a_rank_and_the_next_rank_is_skipped():
    cells = summarise({"a": [1.0, 3.0], "b": [3.0, 1.0], "c": [0.0, 0.0]})
    assert [cells[method].rank for method in "abc"] == [1, 1, 3]
    assert [cells[method].mark for method in "ab"] == ["tie", "tie"]


def test_holm_multiplies_the_smallest_p_by_the_number_of_tests_and_never_falls():
    # Sorted 0.01, 0.03, 0.04: 3 x 0.01, 2 x 0.03, and 1 x 0.04 raised to the 0.06 before it.
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([0.9, 0.8]) == [1.0, 1.0]
    assert holm([]) == []


def test_five_pictures_are_too_few_to_be_best_however_large_the_lead():
    cells = summarise({"a": [30.0 + place for place in range(5)], "b": [1.0] * 5})
    assert [cells[method].mark for method in "ab"] == ["tie", "tie"]


def test_six_pictures_separate_two_methods_but_not_three():
    # All six ahead: p = 2 / 2^6 = 0.03125; Holm over two others doubles it.
    lead, behind, last = [[base + place for place in range(6)] for base in (30.0, 20.0, 10.0)]
    two = summarise({"a": lead, "b": behind})
    assert [two[method].mark for method in "ab"] == ["best", ""]
    three = summarise({"a": lead, "b": behind, "c": last})
    assert [three[method].mark for method in "abc"] == ["tie", "tie", "tie"]


def test_lower_is_best_where_lower_is_better():
    cells = summarise({"a": [30.0 + place for place in range(8)], "b": [1.0 + place for place in range(8)]}, DOWN)
    assert [cells[method].mark for method in "ab"] == ["", "best"]


def test_a_lead_that_rests_on_one_picture_while_the_others_fall_behind_is_a_tie():
    values = np.arange(20.0)
    lucky = values - 1 - values / 100
    lucky[0] += 500
    cells = summarise({"lucky": lucky.tolist(), "steady": values.tolist()})
    assert stats.wilcoxon(lucky, values).pvalue < 0.01  # separated, but in the other direction
    assert (cells["lucky"].rank, cells["lucky"].mark, cells["steady"].mark) == (1, "tie", "tie")


def test_equal_pictures_are_a_tie():
    cells = summarise({"a": [1.0, 2.0, 3.0] * 5, "b": [1.0, 2.0, 3.0] * 5})
    assert [cells[method].mark for method in "ab"] == ["tie", "tie"]


def test_a_lone_method_is_not_called_best():
    cells = summarise({"a": [1.0] * 10, "b": ["crash"] * 10})
    assert (cells["a"].rank, cells["a"].mark, cells["b"].mark) == (1, "", "")


def test_the_test_uses_only_pictures_that_both_methods_have():
    # b loses on the eight common pictures; its failures lie where a is poor.
    a = [10.0, 11.0, 12.0, 13.0, 14.0, 15.0, 16.0, 17.0, 9.0, 9.0]
    b = [value - 1 - value / 50 for value in a[:8]] + ["crash", "crash"]
    cells = summarise({"a": a, "b": b})
    assert (cells["a"].mark, cells["b"].n, cells["b"].failed) == ("best", 8, 2)


def exact_p(difference: np.ndarray) -> float:
    """Two-sided p of the signed-rank test by enumerating all signs; needs distinct absolute values."""
    ranks = np.argsort(np.argsort(np.abs(difference))) + 1
    observed = abs(np.sum(np.sign(difference) * ranks))
    signs = np.array(list(itertools.product([-1, 1], repeat=difference.size)))
    return float(np.mean(np.abs(signs @ ranks) >= observed - 1e-9))


def test_marks_agree_with_signed_ranks_by_enumeration_and_holm_by_hand():
    seen = set()
    for trial in range(30):
        generator = np.random.default_rng(trial)
        values = {m: generator.normal(place * 0.6, 1.0, 9) for place, m in enumerate("abcd")}
        leader = max(values, key=lambda method: values[method].mean())
        p = {other: exact_p(values[leader] - values[other]) for other in values if other != leader}
        expected = {leader: "best"}
        running = 0.0
        for step, other in enumerate(sorted(p, key=p.__getitem__)):
            running = max(running, (3 - step) * p[other])
            if running > 0.05:
                expected |= {other: "tie", leader: "tie"}
        cells = summarise({method: each.tolist() for method, each in values.items()})
        assert {method: cell.mark for method, cell in cells.items() if cell.mark} == expected, trial
        seen.add(expected[leader])
    assert seen == {"best", "tie"}


def test_a_large_table_takes_seconds():
    generator = np.random.default_rng(0)
    columns = [Column(f"d{d}", "D", "p", f"m{m}", "M", True, "", 2, "") for d in range(6) for m in range(7)]
    methods = [f"method{place}" for place in range(10)]
    found = [
        Record(method, column.dataset, "p", str(image), column.metric, float(value), None)
        for column in columns
        for method in methods
        for image, value in enumerate(generator.normal(size=100))
    ]
    start = time.perf_counter()
    table: Table = tabulate(rows(*methods), columns, found, {}, 0)
    # 420 cells of 100 pictures took 1.5 s on one core; a Python loop over resamples would take minutes.
    assert time.perf_counter() - start < 20
    assert all(cell.n == 100 for cell in table.cells.values())


def test_a_refit_metric_stands_with_its_rank_correlation_with_the_published_one():
    refit = Column("set", "Set", "native-8bit", "niqe_refit", "NIQE (refit)", False, "", 2, "definition")
    published = {"a": [3.0, 1.0, 2.0], "b": [6.0, "broken", 4.0]}
    fitted = {"a": [30.0, 10.0, 25.0], "b": [5.0, 7.0, 40.0]}
    found = [record for name, each in published.items() for record in records(name, each, DOWN)]
    found += [record for name, each in fitted.items() for record in records(name, each, refit)]
    [agreement] = tabulate(rows("a", "b"), [DOWN, refit], found, {}, 0).agreements
    # Ranks of (3, 1, 2, 6, 4) are 3 1 2 5 4, of (30, 10, 25, 5, 40) 4 2 3 1 5: 1 - 6 (1+1+1+16+1) / (5 (25 - 1)).
    assert agreement.spearman == pytest.approx(1 - 6 * 20 / 120)
    assert (agreement.n, agreement.refit, agreement.published) == (5, refit, DOWN)


def test_without_the_published_column_there_is_no_agreement_to_state():
    refit = Column("set", "Set", "native-8bit", "niqe_refit", "NIQE (refit)", False, "", 2, "definition")
    assert tabulate(rows("a"), [refit], records("a", [1.0, 2.0, 3.0], refit), {}, 0).agreements == ()
