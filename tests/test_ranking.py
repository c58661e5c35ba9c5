"""Rankings and pairs against published worked examples, R's documentation and cases small enough for a hand."""

from __future__ import annotations

import dataclasses
import random
import runpy
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from bench.contracts import Cell, Column, MethodRow, Ranking, Record, Table
from bench.ranking import compare, critical_difference, groups, hodges_lehmann, rank, ranked

UP = Column("set", "Set", "native-8bit", "psnr", "PSNR", True, "dB", 2, "definition")
DOWN = Column("set", "Set", "native-8bit", "niqe", "NIQE", False, "", 2, "definition")
INF = float("inf")


def values(**of_method: Sequence[float | None]) -> dict[str, dict[str, float]]:
    """Values by method and picture; None for a picture without value."""
    return {
        method: {str(place): value for place, value in enumerate(each) if value is not None}
        for method, each in of_method.items()
    }


def ranking(column: Column = UP, **of_method: Sequence[float | None]) -> Ranking | None:
    return rank((column,), "pictures", tuple(of_method), values(**of_method))


# Demšar (2006), JMLR 7, Table 6: ranks of four variants of C4.5 by AUC on 14 data sets, as printed.
DEMSAR = {
    "C4.5": (4, 1, 4, 4, 4, 1, 3, 2.5, 4, 2.5, 4, 3, 4, 3),
    "C4.5+m": (3, 2, 1, 1, 2, 2.5, 2, 2.5, 3, 2.5, 2.5, 2, 1, 1),
    "C4.5+cf": (2, 3, 2, 3, 3, 4, 4, 4, 2, 2.5, 1, 4, 2, 4),
    "C4.5+m+cf": (1, 4, 3, 2, 1, 2.5, 1, 1, 1, 2.5, 2.5, 1, 3, 2),
}


@pytest.fixture
def demsar() -> Ranking:
    found = ranking(DOWN, **DEMSAR)
    assert found is not None
    return found


def test_mean_ranks_are_those_of_demsars_example(demsar):
    assert demsar.methods == ("C4.5+m+cf", "C4.5+m", "C4.5+cf", "C4.5")
    assert demsar.ranks == pytest.approx((1.964, 2.000, 2.893, 3.143), abs=5e-4)
    assert demsar.n == 14 and demsar.rank("C4.5+m") == 2.0 and demsar.rank("ID3") is None


def test_friedmans_statistic_is_demsars_after_undoing_the_correction_for_ties(demsar):
    # He leaves ties uncorrected: 3 pairs and one four of equal ranks, so 1 - (3·6 + 60)/(14·(4³ - 4)).
    assert demsar.chi2 * (1 - 78 / 840) == pytest.approx(9.28, abs=0.005)


def test_iman_davenports_statistic_is_the_analysis_of_variance_of_the_ranks(demsar):
    # Conover, Practical Nonparametric Statistics (1999), section 5.8.
    ranks = np.array(list(DEMSAR.values()))
    between = 14 * ((ranks.mean(axis=1) - 2.5) ** 2).sum()
    rest = ((ranks - 2.5) ** 2).sum() - between
    assert demsar.f == pytest.approx((between / 3) / (rest / 39))


def test_critical_difference_is_demsars_and_separates_nobody(demsar):
    assert demsar.critical_difference == pytest.approx(1.25, abs=0.005)
    assert demsar.groups == (demsar.methods,)


def test_groups_are_those_that_demsar_reads_from_the_smaller_difference(demsar):
    # Section 3.2.2, α = 0.10: C4.5 is worse than two others, and where C4.5+cf belongs cannot be said.
    assert groups(demsar.methods, demsar.ranks, 1.12) == (("C4.5+m+cf", "C4.5+m", "C4.5+cf"), ("C4.5+cf", "C4.5"))


@pytest.mark.parametrize(
    ("methods", "q"),
    [(2, 1.960), (3, 2.343), (4, 2.569), (5, 2.728), (6, 2.850), (7, 2.949), (8, 3.031), (9, 3.102), (10, 3.164)],
)
def test_critical_values_are_those_of_demsars_table_5(methods, q):
    assert critical_difference(methods, 6) * 6 / (methods * (methods + 1)) ** 0.5 == pytest.approx(q, abs=1e-3)


def test_friedmans_test_with_ties_is_that_of_r():
    # ?friedman.test: Hollander & Wolfe (1973), p. 140, rounding first base; chi-squared = 11.143, p = 0.003805.
    found = ranking(
        DOWN,
        out=(
            *(5.40, 5.85, 5.20, 5.55, 5.90, 5.45, 5.40, 5.45, 5.25, 5.85, 5.25),
            *(5.65, 5.60, 5.05, 5.50, 5.45, 5.55, 5.45, 5.50, 5.65, 5.70, 6.30),
        ),
        narrow=(
            *(5.50, 5.70, 5.60, 5.50, 5.85, 5.55, 5.40, 5.50, 5.15, 5.80, 5.20),
            *(5.55, 5.35, 5.00, 5.50, 5.55, 5.55, 5.50, 5.45, 5.60, 5.65, 6.30),
        ),
        wide=(
            *(5.55, 5.75, 5.50, 5.40, 5.70, 5.60, 5.35, 5.35, 5.00, 5.70, 5.10),
            *(5.45, 5.45, 4.95, 5.40, 5.50, 5.35, 5.55, 5.25, 5.40, 5.55, 6.25),
        ),
    )
    assert found is not None and found.methods[0] == "wide"
    assert found.chi2 == pytest.approx(11.143, abs=5e-4) and found.p == pytest.approx(0.003805, abs=5e-7)


def test_blocks_that_all_agree_leave_no_doubt():
    found = ranking(UP, a=[3.0] * 6, b=[2.0] * 6, c=[1.0] * 6)
    assert found is not None
    assert (found.chi2, found.f, found.f_p) == (pytest.approx(12.0), INF, 0.0)  # n(k - 1), the largest there is
    assert found.groups == (("a", "b"), ("b", "c"))  # CD = 2.3437·sqrt(12/36) = 1.353


def test_methods_that_are_always_equal_share_rank_and_group():
    found = ranking(UP, a=[1.0] * 5, b=[1.0] * 5, c=[1.0] * 5)
    assert found is not None
    assert (found.ranks, found.chi2, found.p, found.f_p) == ((2.0, 2.0, 2.0), 0.0, 1.0, 1.0)
    assert found.groups == (("a", "b", "c"),)


def test_a_difference_of_exactly_the_critical_one_separates():
    assert groups("abc", (1.0, 2.0, 2.5), 1.0) == (("b", "c"),)
    assert groups("abc", (1.0, 2.0, 3.0), 1.0) == ()


def test_an_infinite_value_ranks_first_and_two_of_them_share_the_rank():
    found = ranking(UP, a=[INF, INF], b=[INF, 40.0], c=[30.0, 50.0])
    assert found is not None
    assert dict(zip(found.methods, found.ranks, strict=True)) == {"a": 1.25, "b": 2.25, "c": 2.5}


def test_a_method_with_few_values_is_left_out_and_one_with_many_narrows_the_pictures():
    found = ranking(UP, a=[3.0, 3.0, 3.0, 3.0], b=[2.0, 4.0, None, None], c=[1.0, None, None, None], d=[])
    assert found is not None
    assert (found.methods, found.ranks, found.n, found.left_out) == (("a", "b"), (1.5, 1.5), 2, ("c", "d"))


def test_fewer_than_five_blocks_are_ranked_without_a_test_and_two_methods_without_friedmans():
    few, two = ranking(UP, a=[2.0] * 4, b=[1.0] * 4, c=[0.0] * 4), ranking(UP, a=[2.0] * 5, b=[1.0] * 5)
    assert few is not None and two is not None
    assert (few.ranks, few.chi2, few.f, few.critical_difference, few.groups) == ((1.0, 2.0, 3.0), None, None, None, ())
    assert two.chi2 is None and two.critical_difference == pytest.approx(1.960 / 5**0.5, abs=1e-3)


def test_one_method_or_one_picture_is_no_ranking():
    assert ranking(UP, a=[1.0, 2.0]) is None
    assert ranking(UP, a=[1.0], b=[2.0]) is None
    assert rank((UP,), "pictures", (), {}) is None


def test_wilcoxon_and_pseudomedian_are_those_of_hollander_and_wolfe():
    # ?wilcox.test in R: Hollander & Wolfe (1973), p. 29: V = 40, p = 0.01953 one-sided; estimate 0.46 (p. 35).
    (found,) = compare(
        UP,
        ("before", "after"),
        values(
            before=(1.83, 0.50, 1.62, 2.48, 1.68, 1.88, 1.55, 3.06, 1.30),
            after=(0.878, 0.647, 0.598, 2.05, 1.06, 1.29, 1.06, 3.14, 1.29),
        ),
    )
    assert (found.n, found.wins, found.ties, found.losses, found.test) == (9, 7, 0, 2, "wilcoxon")
    assert found.p == pytest.approx(2 * 0.01953125) and found.p_holm == found.p
    assert found.effect == pytest.approx((40 - 5) / 45)  # Kerby (2014): favourable less unfavourable share of ranks
    assert found.shift == pytest.approx(0.46)


def test_for_a_metric_where_less_is_better_the_smaller_value_wins_and_the_shift_keeps_its_sign():
    (found,) = compare(DOWN, ("a", "b"), values(a=[1.0, 2.0, 9.0], b=[3.0, 4.0, 9.0]))
    assert (found.wins, found.ties, found.losses, found.effect) == (2, 1, 0, 1.0)
    assert found.shift == -1.5  # of the differences -2, -2, 0 and the means of pairs -2, -1, -1


def test_few_differing_pictures_get_the_exact_sign_test():
    (found,) = compare(UP, ("a", "b"), values(a=[1.0, 1.0, 1.0, 1.0, 1.0, 5.0], b=[0.0, 0.0, 0.0, 0.0, 2.0, 5.0]))
    # 4 of 5: both tails of (1 + 5)/32.
    assert (found.test, found.ties, found.p) == ("sign", 1, pytest.approx(12 / 32))
    (all_won,) = compare(UP, ("a", "b"), values(a=[1.0] * 5, b=[0.0] * 5))
    assert all_won.p == pytest.approx(2 / 32)


def test_pairs_that_never_differ_are_not_separated():
    (found,) = compare(UP, ("a", "b"), values(a=[1.0, INF], b=[1.0, INF]))
    assert (found.ties, found.p, found.effect, found.shift) == (2, 1.0, 0.0, 0.0)


def test_an_infinite_value_beats_a_finite_one_and_has_no_part_in_the_shift():
    (found,) = compare(UP, ("a", "b"), values(a=[INF, 20.0], b=[30.0, 25.0]))
    assert (found.wins, found.losses, found.shift) == (1, 1, -5.0)
    assert found.effect == pytest.approx(1 / 3)  # ranks 2 and 1


def test_holms_correction_covers_every_pair_of_the_column():
    above = [float(place) for place in range(8)]
    found = compare(UP, ("a", "b", "c"), values(a=[x + 2 for x in above], b=[x + 1.5 for x in above], c=above))
    assert [(one.first, one.second) for one in found] == [("a", "b"), ("a", "c"), ("b", "c")]
    assert [one.p for one in found] == pytest.approx([2 / 2**8] * 3)  # all eight signs alike
    assert [one.p_holm for one in found] == pytest.approx([6 / 2**8] * 3)


def test_a_pair_without_two_common_pictures_is_not_compared():
    assert compare(UP, ("a", "b"), values(a=[1.0, 2.0, None], b=[None, 2.0, 3.0])) == []


def test_many_differences_are_estimated_by_their_quantiles():
    skewed = np.random.default_rng(0).gamma(1.0, 1.0, 2000)
    first, second = np.triu_indices(2000)
    exact = float(np.median(skewed[first] + skewed[second])) / 2
    # A twentieth of the standard error of the mean: far below what 2000 pictures tell.
    assert hodges_lehmann(skewed) == pytest.approx(exact, abs=skewed.std() / 2000**0.5 / 20)


def test_no_finite_difference_is_no_shift():
    assert hodges_lehmann(np.array([INF, INF])) is None


def table(columns: Sequence[Column], means: dict[str, Sequence[float | None]]) -> Table:
    """Cells with means only."""
    rows = tuple(MethodRow(method, method.upper(), "classical") for method in means)
    cells = {
        (method, column): Cell(mean, 1, 0, 0, None, None, None, None, "")
        for method, each in means.items()
        for column, mean in zip(columns, each, strict=True)
    }
    return Table(rows, tuple(columns), cells)


def test_a_metric_is_ranked_over_data_sets_by_the_values_of_the_table():
    columns = [dataclasses.replace(DOWN, dataset=name) for name in ("x", "y", "z")]
    other = dataclasses.replace(DOWN, dataset="x", protocol="64x64-8bit")
    classes = dataclasses.replace(DOWN, dataset="y", group="by class")
    found = ranked(
        table([*columns, other, classes], {"a": [1.0, 2.0, 5.0, 0.0, 0.0], "b": [2.0, 2.0, 4.0, 1.0, 1.0]}), []
    )
    (over,) = found.rankings
    assert (over.columns, over.over, over.n, over.ranks) == (tuple(columns), "data sets", 3, (1.5, 1.5))
    assert found.pairwise == ()


def test_tables_of_groups_and_scores_of_all_pictures_together_have_no_pairs():
    by_class = dataclasses.replace(UP, group="AP by class")
    records = [Record(m, "set", "native-8bit", str(i), "psnr", float(i), None) for m in "ab" for i in range(6)]
    assert ranked(table([by_class], {"a": [1.0], "b": [2.0]}), records).rankings == ()
    pooled = dataclasses.replace(UP, metric="map")
    assert ranked(table([pooled], {"a": [1.0], "b": [2.0]}), records).pairwise == ()


def test_nothing_depends_on_the_order_of_the_records():
    generator = np.random.default_rng(3)
    records = [
        Record(method, "set", "native-8bit", str(image), metric, float(generator.normal()), None)
        for method in "abcd"
        for image in range(60)
        for metric in ("psnr", "niqe")
    ]
    plain = table([UP, DOWN], {method: [None, None] for method in "abcd"})
    first = ranked(plain, records)
    random.Random(1).shuffle(records)
    assert ranked(plain, records) == first
    assert len(first.rankings) == 2 and len(first.pairwise) == 12


def test_the_tiny_result_is_ranked_as_written_by_hand(tmp_path):
    tiny = runpy.run_path(str(Path(__file__).parent / "golden" / "tiny.py"))["tiny_result"](tmp_path)
    found = ranked(dataclasses.replace(tiny.table, rankings=(), pairwise=()), tiny.records)
    assert found.rankings == tiny.table.rankings
    assert [(one.wins, one.ties, one.losses, one.p) for one in found.pairwise] == [(0, 0, 3, 0.25), (0, 0, 2, 0.5)]
    shifts = [one.shift for one in tiny.table.pairwise]
    assert [one.shift for one in found.pairwise] == pytest.approx(shifts)  # differences of decimal fractions round
    assert [dataclasses.replace(one, shift=None) for one in found.pairwise] == [
        dataclasses.replace(one, shift=None) for one in tiny.table.pairwise
    ]
