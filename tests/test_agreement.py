"""Krippendorff's alpha against the published worked examples."""

from __future__ import annotations

import numpy as np
import pytest

from bench.agreement import alpha, alpha_with_interval

NAN = float("nan")

KRIPPENDORFF_2011 = np.array(
    [
        [1, 2, 3, 3, 2, 1, 4, 1, 2, NAN, NAN, NAN],
        [1, 2, 3, 3, 2, 2, 4, 1, 2, 5, NAN, 3],
        [NAN, 3, 3, 3, 2, 3, 4, 2, 2, 5, 1, NAN],
        [1, 2, 3, 3, 2, 4, 4, 1, 2, 5, 1, NAN],
    ]
)
"""Krippendorff 2011, Computing Krippendorff's Alpha-Reliability, section C: four observers, twelve units."""

WIKIPEDIA = np.array(
    [
        [NAN, NAN, NAN, NAN, NAN, 3, 4, 1, 2, 1, 1, 3, 3, NAN, 3],
        [1, NAN, 2, 1, 3, 3, 4, 3, NAN, NAN, NAN, NAN, NAN, NAN, NAN],
        [NAN, NAN, 2, 1, 3, 4, 4, NAN, 2, 1, 1, 3, 3, NAN, 4],
    ]
)
"""Wikipedia, Krippendorff's alpha, 'A computational example': three coders, fifteen units."""


@pytest.mark.parametrize(
    ("level", "published"), [("nominal", 0.743), ("ordinal", 0.815), ("interval", 0.849), ("ratio", 0.797)]
)
def test_the_example_of_krippendorff_2011(level, published):
    assert alpha(KRIPPENDORFF_2011, level) == pytest.approx(published, abs=0.0005)


@pytest.mark.parametrize(("level", "published"), [("nominal", 0.691), ("interval", 0.811)])
def test_the_example_of_wikipedia(level, published):
    assert alpha(WIKIPEDIA, level) == pytest.approx(published, abs=0.0005)


def test_two_raters_and_two_units_by_hand():
    # o: (1, 1) twice, (2, 3) and (3, 2) once; observed 2, expected 2 (2*1*1 + 2*1*4 + 1*1*1) = 22; 1 - 3 * 2 / 22.
    assert alpha(np.array([[1.0, 2.0], [1.0, 3.0]])) == pytest.approx(8 / 11, abs=1e-12)


def test_perfect_agreement_is_one():
    found = alpha_with_interval(np.array([[1.0, 2, 5, 4], [1, 2, 5, 4]]), "abcd", seed=0)
    assert (found.value, found.low, found.high, found.ratings) == (1.0, 1.0, 1.0, 8)


def test_opposite_raters_are_below_chance():
    found = alpha(np.array([[1.0, 5, 1, 5], [5.0, 1, 5, 1]]))
    # observed 8 * 16, expected 2 * 4 * 4 * 16: 1 - 7 * 128 / 512
    assert found == pytest.approx(-0.75, abs=1e-12)


@pytest.mark.parametrize(
    "ratings",
    [
        np.array([[3.0, 3.0], [3.0, 3.0]]),
        np.array([[1.0, 2.0, 3.0]]),
        np.array([[1.0, NAN], [NAN, 2.0]]),
        np.full((2, 3), NAN),
        np.zeros((0, 3)),
    ],
    ids=["all equal", "one rater", "no unit twice", "nothing", "no raters"],
)
def test_without_variation_or_pairs_alpha_is_undefined(ratings):
    assert alpha(ratings) is None
    assert alpha_with_interval(ratings, range(ratings.shape[1]), seed=0)[:3] == (None, None, None)


def test_a_unit_with_one_rating_does_not_count():
    single = np.array([[1.0, 2.0, 4.0], [1.0, 3.0, NAN]])
    assert alpha(single) == pytest.approx(8 / 11, abs=1e-12)
    assert alpha_with_interval(single, "abc", seed=0).ratings == 4


def test_the_order_of_raters_and_units_does_not_matter():
    assert alpha(KRIPPENDORFF_2011[::-1, ::-1]) == pytest.approx(0.849, abs=0.0005)


def test_the_interval_is_that_of_drawing_units_again():
    # An own bootstrap in plain steps, with other draws: the ends agree as far as draws may differ.
    found = alpha_with_interval(KRIPPENDORFF_2011, range(12), seed=1)
    generator = np.random.default_rng(7)
    drawn = [alpha(KRIPPENDORFF_2011[:, generator.integers(0, 12, 12)]) for _ in range(1000)]
    low, high = np.nanquantile(np.array(drawn, dtype=float), [0.025, 0.975])
    assert found.low == pytest.approx(low, abs=0.06)
    assert found.high == pytest.approx(high, abs=0.02)
    assert found.ratings == 40  # published: n = 40 pairable values


def test_versions_of_a_picture_are_drawn_together():
    generator = np.random.default_rng(0)
    pictures = np.repeat(generator.integers(1, 6, 10).astype(float), 8)  # eight like versions of each
    ratings = np.stack([pictures, np.clip(pictures + np.repeat(generator.integers(-2, 3, 10), 8), 1, 5)])
    together = alpha_with_interval(ratings, np.repeat(range(10), 8).tolist(), seed=0)
    apart = alpha_with_interval(ratings, range(80), seed=0)
    assert together.value == apart.value
    assert together.high - together.low > 2 * (apart.high - apart.low)


def test_the_same_seed_gives_the_same_interval():
    assert alpha_with_interval(WIKIPEDIA, range(15), 3) == alpha_with_interval(WIKIPEDIA, range(15), 3)
    assert alpha_with_interval(WIKIPEDIA, range(15), 3).low != alpha_with_interval(WIKIPEDIA, range(15), 4).low
