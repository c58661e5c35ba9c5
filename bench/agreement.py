"""How far raters agree: Krippendorff's alpha with its bootstrap interval."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Level = Literal["nominal", "ordinal", "interval", "ratio"]

RESAMPLES = 1000
CONFIDENCE = 0.95


class Alpha(NamedTuple):
    """Krippendorff's alpha: 1 for perfect agreement, 0 for what chance gives, negative for systematic disagreement."""

    value: float | None
    """None where it is undefined: no unit with two ratings, or all ratings equal."""
    low: float | None
    high: float | None
    """95 % percentile interval; None with fewer than two clusters."""
    ratings: int
    """How many ratings it stands on: those of units with at least two."""


def alpha(ratings: Floats, level: Level = "interval") -> float | None:
    """Krippendorff's alpha of (raters, units), NaN where a rater gave none; None where it is undefined.

    Krippendorff 2011, Computing Krippendorff's Alpha-Reliability, section E: any number of raters, missing ratings. A
    unit with a single rating does not count.
    """
    pairs, values = _coincidences(ratings)
    return _finite(_alphas(pairs.sum(axis=0)[None], values, level)[0])


def alpha_with_interval(ratings: Floats, clusters: Sequence[object], seed: int, level: Level = "interval") -> Alpha:
    """Alpha with its 95 % interval over resampled clusters of units.

    `clusters` names the cluster of each unit: the versions of one picture are drawn together, because raters who
    disagree about a picture do so for all its versions. (Krippendorff's own bootstrap draws single disagreements as if
    they were independent, which gives narrower intervals.)
    """
    pairs, values = _coincidences(ratings)
    value = _finite(_alphas(pairs.sum(axis=0)[None], values, level)[0])
    counted = round(float(pairs.sum()))
    names = list(dict.fromkeys(clusters))
    if value is None or len(names) < 2:
        return Alpha(value, None, None, counted)
    of_cluster = np.zeros((len(names), *pairs.shape[1:]))
    np.add.at(of_cluster, [names.index(name) for name in clusters], pairs)
    generator = np.random.default_rng([seed, len(names), RESAMPLES])
    drawn = generator.multinomial(len(names), np.full(len(names), 1 / len(names)), size=RESAMPLES)
    resampled = _alphas(np.asarray(np.tensordot(drawn, of_cluster, axes=1), dtype=np.float64), values, level)
    low, high = np.nanquantile(resampled, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    return Alpha(value, float(low), float(high), counted)


def _coincidences(ratings: Floats) -> tuple[Floats, Floats]:
    """What each unit adds to the coincidence matrix (units, V, V), and the V values."""
    values: Floats = np.unique(ratings[np.isfinite(ratings)])
    counts = (ratings[:, :, None] == values).sum(axis=0).astype(np.float64)
    each = counts.sum(axis=1)
    pairs = counts[:, :, None] * counts[:, None, :] - counts[:, :, None] * np.eye(len(values))
    return pairs / np.maximum(each - 1, 1)[:, None, None], values


def _alphas(coincidences: Floats, values: Floats, level: Level) -> Floats:
    """Alpha of each coincidence matrix (R, V, V), NaN where undefined: 1 - (n - 1) sum o d / sum n_c n_k d."""
    totals = coincidences.sum(axis=2)
    difference = _squared_differences(values, totals, level)
    observed = (coincidences * difference).sum(axis=(1, 2))
    expected = (totals[:, :, None] * totals[:, None, :] * difference).sum(axis=(1, 2))
    defined = expected > 0
    alphas: Floats = np.full(len(observed), np.nan)
    alphas[defined] = 1 - (totals.sum(axis=1)[defined] - 1) * observed[defined] / expected[defined]
    return alphas


def _squared_differences(values: Floats, totals: Floats, level: Level) -> Floats:
    """The squared difference of every two values, (V, V), or (R, V, V) for ranks, which depend on the ratings."""
    one, other = values[:, None], values[None, :]
    if level == "nominal":
        return np.asarray(one != other, dtype=np.float64)
    if level == "interval":
        return np.asarray((one - other) ** 2, dtype=np.float64)
    if level == "ratio":
        total = one + other
        return np.asarray(np.where(total == 0, 0, (one - other) / np.where(total == 0, 1, total)) ** 2)
    middle = totals.cumsum(axis=1) - totals / 2
    return np.asarray((middle[:, :, None] - middle[:, None, :]) ** 2)


def _finite(value: np.float64) -> float | None:
    return float(value) if np.isfinite(value) else None
