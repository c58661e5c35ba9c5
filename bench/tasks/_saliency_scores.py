"""Scores of a saliency map against its mask, and means of them over weighted pictures."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from bench.contracts import Arrays, Measured

THRESHOLDS = 256
"""Of the curves: at or above 255, 254, …, 0 of 255."""
BETA2_F = 0.3
BETA2_WF = 1.0
ALPHA_S = 0.5

Floats = NDArray[np.float64]
Statistic = Callable[[Floats], Floats]
"""(R, N) weights to (R,) values, as in Measured."""


def contributions(saliency: NDArray[np.uint8], mask: NDArray[np.bool_]) -> Arrays:
    """What one picture adds to the scores, by PySODMetrics 1.6: float64 `mae`, `s`, `wf`, `adp_f`, `adp_e`, `f`, `e`.

    Map and mask are (H, W); `f` and `e` are curves (256,) over falling thresholds, the rest single numbers (shape ()).
    PySODMetrics stretches every map to [0, 1] by its own minimum and maximum before it scores it; a map of one value
    stays as it is.

    An all-black mask is scored as PySODMetrics does: MAE is the stretched map's mean m, S is 1 - m, E the share of
    pixels below the threshold (over H W - 1), and every F is 0 whatever the map. Differs in one case: where the mask's
    centre lies in the last row or column, a quarter is empty and PySODMetrics' S is NaN; here that quarter adds 0.
    Raises ValueError for shapes that differ and for a mask of a single pixel, of which the E-measure has no value.
    """
    import py_sod_metrics

    if saliency.shape != mask.shape:
        raise ValueError(f"a saliency map of shape {saliency.shape} cannot be scored by a mask of shape {mask.shape}")
    if mask.size < 2:
        raise ValueError(f"a mask of shape {mask.shape} has no E-measure; it takes two pixels or more")
    f_measure = py_sod_metrics.FmeasureV2(
        {"f": py_sod_metrics.FmeasureHandler(with_dynamic=True, with_adaptive=True, beta=BETA2_F)}
    )
    e_measure, s_measure = py_sod_metrics.Emeasure(), py_sod_metrics.Smeasure(alpha=ALPHA_S)
    weighted_f, error = py_sod_metrics.WeightedFmeasure(beta=BETA2_WF), py_sod_metrics.MAE()
    similarity = s_measure.ssim

    def similarity_or_0(pred: Floats, gt: NDArray[np.bool_]) -> Any:
        return similarity(pred, gt) if gt.size else 0.0

    s_measure.ssim = similarity_or_0
    grey = mask.astype(np.uint8) * 255
    for measure in (f_measure, e_measure, s_measure, weighted_f, error):
        measure.step(saliency, grey)
    f, e = f_measure.get_results()["f"], e_measure.get_results()["em"]
    found = {
        "mae": error.get_results()["mae"],
        "s": s_measure.get_results()["sm"],
        "wf": weighted_f.get_results()["wfm"],
        "adp_f": f["adaptive"],
        "adp_e": e["adp"],
        "f": f["dynamic"],
        "e": e["curve"],
    }
    return {name: np.asarray(value, dtype=np.float64) for name, value in found.items()}


class Score(NamedTuple):
    """A column: how it is called, and what of a picture's contributions it is made from."""

    name: str
    label: str
    of: str
    """Name of the contribution; a curve is averaged over its thresholds, or with `best` its mean's maximum taken."""
    definition: str
    best: bool = False
    higher_is_better: bool = True


_STRETCHED = "maps stretched to [0, 1], PySODMetrics"

SCORES = (
    Score("mae", "MAE", "mae", f"mean absolute error; {_STRETCHED}", higher_is_better=False),
    Score(
        "maxf",
        "max F",
        "f",
        f"F-measure, beta^2 = 0.3: maximum over 256 thresholds of the mean curve of the pictures; {_STRETCHED}",
        best=True,
    ),
    Score("avgf", "avg F", "f", f"F-measure, beta^2 = 0.3: mean over 256 thresholds; {_STRETCHED}"),
    Score("adpf", "adp F", "adp_f", f"F-measure, beta^2 = 0.3, at twice the map's mean (1 at most); {_STRETCHED}"),
    Score("wf", "wF", "wf", f"weighted F-measure, beta^2 = 1; {_STRETCHED}"),
    Score("s", "S", "s", f"S-measure, alpha = 0.5; {_STRETCHED}"),
    Score(
        "maxe",
        "max E",
        "e",
        f"E-measure: maximum over 256 thresholds of the mean curve of the pictures; {_STRETCHED}",
        best=True,
    ),
    Score("avge", "avg E", "e", f"E-measure: mean over 256 thresholds; {_STRETCHED}"),
    Score("adpe", "adp E", "adp_e", f"E-measure at twice the map's mean (1 at most); {_STRETCHED}"),
)
"""In the order of tables."""
GROUPED = ("maxf", "mae")
"""The scores that are given for groups of pictures too."""


def measured(predictions: Sequence[Arrays | None], groups: Mapping[str, Sequence[str]]) -> list[Measured]:
    """Every score over N pictures, then those of each group; what `contributions` returned comes in.

    A picture without prediction counts nowhere, whatever its weight, and has NaN among `values`. A picture whose group
    is '' stands in no group's table.
    """
    present = np.array([one is not None for one in predictions], dtype=bool)
    stacked = {score.of: _stack(predictions, score.of, present) for score in SCORES}
    overall = [_main(score, stacked[score.of], present) for score in SCORES]
    grouped = [
        _of_group(score, stacked[score.of], present, kind, members, group)
        for kind, members in groups.items()
        for score in SCORES
        if score.name in GROUPED
        for group in sorted(set(members) - {""})
    ]
    return overall + grouped


def _main(score: Score, stacked: Floats, present: NDArray[np.bool_]) -> Measured:
    values = None if score.best else np.where(present, stacked.mean(axis=1), np.nan)
    return Measured(
        score.name,
        score.label,
        score.higher_is_better,
        score.definition,
        _statistic(score, stacked, present),
        values=values,
    )


def _of_group(
    score: Score, stacked: Floats, present: NDArray[np.bool_], kind: str, members: Sequence[str], group: str
) -> Measured:
    inside = present & (np.array(members, dtype=np.str_) == group)
    return Measured(
        f"{score.name}:{kind}={group}",
        group,
        score.higher_is_better,
        score.definition,
        _statistic(score, stacked, inside),
        group=f"{score.label} by {kind}",
    )


def _statistic(score: Score, stacked: Floats, counted: NDArray[np.bool_]) -> Statistic:
    def statistic(weights: Floats) -> Floats:
        curves = _weighted_mean(weights * counted, stacked)
        result: Floats = curves.max(axis=1) if score.best else curves.mean(axis=1)
        return result

    return statistic


def _weighted_mean(weights: Floats, values: Floats) -> Floats:
    """(R, N) weights and (N, T) values to (R, T); NaN where all weights are 0."""
    total = weights.sum(axis=1, keepdims=True)
    mean: Floats = (weights @ values) / np.where(total > 0, total, np.nan)
    return mean


def _stack(predictions: Sequence[Arrays | None], name: str, present: NDArray[np.bool_]) -> Floats:
    """A contribution of every picture, (N, 256) for a curve and (N, 1) for a number; 0 for a missing picture."""
    found: list[NDArray[Any]] = [np.atleast_1d(one[name]) for one in predictions if one is not None]
    stacked: Floats = np.zeros((len(predictions), len(found[0]) if found else 1))
    if found:
        stacked[present] = np.stack(found)
    return stacked
