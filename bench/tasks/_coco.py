"""Detections scored exactly as the COCO API scores them, also as functions of how often each picture counts.

Definitions: Lin et al., Microsoft COCO, ECCV 2014, and pycocotools/cocoeval.py. The 12 figures are computed by
faster_coco_eval's C++; what is resampled comes from the matching below, which does not depend on the weights.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from hashlib import sha256
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

Floats = NDArray[np.float64]

OVERLAPS = np.linspace(0.5, 0.95, 10)
"""The IoU thresholds that AP is the mean over; the first is that of precision, recall and the mean IoU."""
RECALLS = np.linspace(0.0, 1.0, 101)
"""Recall levels at which precision is read, as floating point has them in the COCO API."""
MOST = 100
"""Detections of one class in one picture that are looked at, the most confident ones."""
CONFIDENCE = 0.25
"""From which on a detection counts for precision, recall and the mean IoU; darknet's default."""
VALUES = 1 << 20
"""Of one intermediate array, 8 MiB: sets how many resamples are worked on at a time."""


@dataclass(frozen=True)
class Objects:
    """The objects of one picture."""

    corners: Floats
    """(M, 4): left, top, right, bottom in pixels."""
    classes: NDArray[np.int64]
    """(M,): 0 ... classes - 1."""
    ignored: NDArray[np.bool_]
    """(M,): COCO's iscrowd; any number of detections inside such a region count neither as right nor as wrong."""
    areas: Floats
    """(M,): pixels; what the size ranges go by."""


@dataclass(frozen=True)
class Detections:
    """What a detector found in one picture; among equal scores the earlier one comes first."""

    corners: Floats
    """(D, 4): left, top, right, bottom in pixels."""
    scores: Floats
    """(D,): confidence."""
    classes: NDArray[np.int64]
    """(D,): 0 ... classes - 1."""


class Matches(NamedTuple):
    """What became of a picture's detections, by class and falling score, at each of the T IoU thresholds."""

    scores: Floats
    classes: NDArray[np.int64]
    right: NDArray[np.bool_]
    """(T, D): matched to an object."""
    ignored: NDArray[np.bool_]
    """(T, D): matched to a crowd region; neither right nor ignored is a false positive."""
    overlaps: Floats
    """(D,): IoU with the object matched at the first threshold, 0 where there is none."""


NOTHING = Matches(
    scores=np.empty(0),
    classes=np.empty(0, dtype=np.int64),
    right=np.empty((len(OVERLAPS), 0), dtype=bool),
    ignored=np.empty((len(OVERLAPS), 0), dtype=bool),
    overlaps=np.empty(0),
)
"""Of a picture without detections; joined to the others, so that there is always something to join."""


class Curve(NamedTuple):
    """Precision over recall of one class at one IoU threshold, before pictures are weighted."""

    hits: NDArray[np.intp]
    """(K,): picture of each true positive, by falling score."""
    steps: csr_array[Any, tuple[int, int]]
    """(K, N): detections of each picture, ignored ones left out, up to this true positive and behind the last one."""


class Evaluation:
    """Scores of N pictures as functions of weights (R, N), how often each picture counts in each of R resamples.

    Weights are whole numbers: a picture of weight 2 scores as if it stood there twice in a row, with all that is in it.
    (Where a picture has detections of one class with equal scores, the copies of each follow one another.) A score that
    the weights leave undefined is NaN.
    """

    def __init__(
        self,
        objects: Sequence[Objects],
        detections: Sequence[Detections],
        classes: int,
        confidence: float = CONFIDENCE,
    ) -> None:
        """Match detections to objects; raises ValueError naming the picture (from 0) that does not fit.

        `confidence` is from which on a detection counts for precision, recall and the mean IoU.
        """
        if len(objects) != len(detections):
            raise ValueError(f"{len(objects)} pictures have objects, {len(detections)} have detections")
        for picture, (there, found) in enumerate(zip(objects, detections, strict=True)):
            _check(f"the objects of picture {picture}", there.corners, there.areas, there.classes, classes)
            _check(f"the detections of picture {picture}", found.corners, found.scores, found.classes, classes)
        self._objects, self._detections, self._classes = list(objects), list(detections), classes
        self._confidence = confidence
        self._asked = b""  # digest of the weights that the areas below belong to
        self._areas: dict[tuple[int, int], Floats] = {}
        self._annotated = np.zeros((classes, len(objects)))  # objects to be found, by class and picture
        for picture, there in enumerate(objects):
            self._annotated[:, picture] = np.bincount(there.classes[~there.ignored], minlength=classes)
        matches = [match(there, found) for there, found in zip(objects, detections, strict=True)]
        self._pictures = np.repeat(np.arange(len(matches)), [len(found.scores) for found in matches])
        columns = zip(*[*matches, NOTHING], strict=True)
        self._found = Matches(*(np.concatenate(column, axis=-1) for column in columns))
        self._right = self._per_picture(self._found.right[0])
        self._positive = self._per_picture(~self._found.ignored[0])
        self._overlap = self._per_picture(self._found.overlaps)

    def coco_figures(self) -> Floats:
        """(12,): AP, AP50, AP75, APs, APm, APl, AR1, AR10, AR100, ARs, ARm, ARl; NaN where no object is in range."""
        if not self._objects or not self._classes:
            return np.full(12, np.nan)
        from faster_coco_eval import COCO, COCOeval_faster

        truth = {
            "area": np.concatenate([there.areas for there in self._objects]),
            "iscrowd": np.concatenate([there.ignored for there in self._objects]).astype(int),
        }
        widths_heights = np.concatenate([found.corners[:, 2:] - found.corners[:, :2] for found in self._detections])
        results = {
            "area": widths_heights.prod(axis=1),
            "iscrowd": np.zeros(len(widths_heights), dtype=int),
            "score": np.concatenate([found.scores for found in self._detections]),
        }
        evaluation = COCOeval_faster(
            COCO(_coco_table(self._objects, self._classes, truth), print_function=_silent),
            COCO(_coco_table(self._detections, self._classes, results), print_function=_silent),
            "bbox",
            print_function=_silent,
        )
        evaluation.run()
        figures = np.asarray(evaluation.stats, dtype=np.float64)
        return np.where(figures == -1, np.nan, figures)

    def average_precision(
        self, weights: Floats, iou: float | None = None, classes: Sequence[int] | None = None
    ) -> Floats:
        """COCO's AP in [0, 1], (R, N) -> (R,): area under the interpolated precision at 101 recall levels.

        The mean over the 10 IoU thresholds, or at the one given, and over those of the classes (all by default) that
        have objects under these weights. At weights of 1 it is the first of `coco_figures`.
        """
        thresholds = range(len(OVERLAPS)) if iou is None else [_threshold(iou)]
        chosen = range(self._classes) if classes is None else classes
        columns = np.ascontiguousarray(weights.T, np.float64)
        # mAP, AP50 and the AP of every class are asked for with the same weights, one after another.
        asked = sha256(columns.tobytes()).digest()
        if asked != self._asked:
            self._asked, self._areas = asked, {}
        total, annotated = np.zeros(len(weights)), np.zeros(len(weights))
        for one in chosen:
            objects = self._annotated[one] @ columns
            annotated += objects > 0
            for at in thresholds:
                if (one, at) not in self._areas:
                    self._areas[one, at] = _area_in_parts(self._curves[one, at], columns, objects)
                total += self._areas[one, at]
        return _ratio(total, annotated * len(thresholds))

    def precision(self, weights: Floats) -> Floats:
        """TP / (TP + FP) at the confidence and IoU 0.5 over all classes, (R, N) -> (R,) in [0, 1]."""
        return _ratio(weights @ self._right, weights @ self._positive)

    def recall(self, weights: Floats) -> Floats:
        """TP / (TP + FN) at the confidence and IoU 0.5 over all classes, (R, N) -> (R,) in [0, 1]."""
        return _ratio(weights @ self._right, weights @ self._annotated.sum(axis=0))

    def mean_iou_matched(self, weights: Floats) -> Floats:
        """Mean IoU of the true positives at the confidence and IoU 0.5, (R, N) -> (R,) in [0.5, 1]."""
        return _ratio(weights @ self._overlap, weights @ self._right)

    def mean_iou_darknet(self, weights: Floats) -> Floats:
        """The "average IoU" of darknet, (R, N) -> (R,) in [0, 1]: IoU of true positives, summed, by TP + FP."""
        return _ratio(weights @ self._overlap, weights @ self._positive)

    def _per_picture(self, values: NDArray[Any]) -> Floats:
        """(D,) -> (N,): sums over the detections of enough confidence."""
        sure = self._found.scores >= self._confidence
        return np.bincount(self._pictures[sure], values[sure], minlength=len(self._objects)).astype(np.float64)

    @cached_property
    def _curves(self) -> dict[tuple[int, int], Curve]:
        """By class and threshold."""
        found = self._found
        # Stable, as in the COCO API: among equal scores the earlier picture comes first.
        order = np.lexsort((-found.scores, found.classes))
        bounds = np.searchsorted(found.classes[order], np.arange(self._classes + 1))
        parts = [order[start:end] for start, end in pairwise(bounds)]
        return {
            (one, at): _curve(self._pictures[mine], found.right[at, mine], found.ignored[at, mine], len(self._objects))
            for one, mine in enumerate(parts)
            for at in range(len(OVERLAPS))
        }


def match(objects: Objects, detections: Detections) -> Matches:
    """Give each object the most confident detection of its class that overlaps it enough, as the COCO API does.

    Detections choose in turn, the most confident first, among the objects still free the one with the largest IoU; only
    where none is left, a crowd region, which stays free. Of a class, 100 detections are looked at.
    """
    order = np.lexsort((-detections.scores, detections.classes))
    classes = detections.classes[order]
    kept = np.arange(len(order)) - np.searchsorted(classes, classes) < MOST
    order, classes = order[kept], classes[kept]
    right, ignored = np.zeros((2, len(OVERLAPS), len(order)), dtype=bool)
    overlaps = np.zeros(len(order))
    for one in np.intersect1d(classes, objects.classes):
        mine = slice(*np.searchsorted(classes, [one, one + 1]))
        there = np.flatnonzero(objects.classes == one)
        crowd = objects.ignored[there]
        shared = _intersections_over_unions(detections.corners[order[mine]], objects.corners[there], crowd)
        chosen = _assign(shared, crowd)
        right[:, mine] = (chosen >= 0) & ~crowd[chosen]
        ignored[:, mine] = (chosen >= 0) & crowd[chosen]
        overlaps[mine] = np.where(right[0, mine], shared[np.arange(len(shared)), chosen[0]], 0)
    return Matches(detections.scores[order], classes, right, ignored, overlaps)


def _assign(overlaps: Floats, crowd: NDArray[np.bool_]) -> NDArray[np.intp]:
    """Object of each detection at each threshold, -1 for none: (D, M) by falling score, (M,) -> (T, D)."""
    chosen = np.full((len(OVERLAPS), len(overlaps)), -1, dtype=np.intp)
    free = np.ones((len(OVERLAPS), len(crowd)), dtype=bool)
    for detection in np.flatnonzero((overlaps >= OVERLAPS[0]).any(axis=1)):
        mine = overlaps[detection]
        # Best first: objects before crowd regions, then by IoU; among equal ones the COCO API takes the last.
        preference = np.lexsort((mine, ~crowd))[::-1]
        fits = (free & (mine >= OVERLAPS[:, None]))[:, preference]
        matched = np.flatnonzero(fits.any(axis=1))
        best = preference[fits[matched].argmax(axis=1)]
        chosen[matched, detection] = best
        free[matched, best] = crowd[best]
    return chosen


def _intersections_over_unions(detections: Floats, objects: Floats, crowd: NDArray[np.bool_]) -> Floats:
    """(D, 4), (M, 4), (M,) -> (D, M); for a crowd region the share of the detection that lies inside."""
    found, there = _left_top_width_height(detections)[:, None], _left_top_width_height(objects)[None]
    # From widths and heights in this order, as the COCO API: an IoU on a threshold must fall on the same side.
    ends = np.minimum(found[..., :2] + found[..., 2:], there[..., :2] + there[..., 2:])
    sides = np.maximum(ends - np.maximum(found[..., :2], there[..., :2]), 0)
    shared = sides[..., 0] * sides[..., 1]
    own = found[..., 2] * found[..., 3]
    union = np.where(crowd, own, own + there[..., 2] * there[..., 3] - shared)
    shares: Floats = np.divide(shared, union, out=np.zeros_like(shared), where=shared > 0)
    return shares


def _left_top_width_height(corners: Floats) -> Floats:
    return np.concatenate([corners[:, :2], corners[:, 2:] - corners[:, :2]], axis=1)


def _curve(pictures: NDArray[np.intp], right: NDArray[np.bool_], ignored: NDArray[np.bool_], count: int) -> Curve:
    """Of one class at one threshold, from its detections by falling score, (D,) each."""
    hits = np.flatnonzero(right)
    # Behind the last true positive precision only falls: those detections never show.
    counted = np.flatnonzero(~ignored[: hits[-1] + 1]) if len(hits) else hits
    steps = (np.ones(len(counted)), (np.searchsorted(hits, counted), pictures[counted]))
    return Curve(pictures[hits], csr_array(steps, shape=(len(hits), count)))


def _area_in_parts(curve: Curve, weights: Floats, objects: Floats) -> Floats:
    """`_area` of a part of the resamples at a time."""
    columns = max(1, VALUES // max(1, len(curve.hits), len(weights)))
    starts = range(0, weights.shape[1], columns)
    parts = [_area(curve, weights[:, at : at + columns], objects[at : at + columns]) for at in starts]
    return np.concatenate([np.empty(0), *parts])


def _area(curve: Curve, weights: Floats, objects: Floats) -> Floats:
    """Mean interpolated precision over the recall levels: (N, R) weights, (R,) objects under them -> (R,).

    Precision is largest where a true positive was just found and its copies are all in, so it is known at those K
    detections; each accounts for the recall levels that it is the first to reach.
    """
    right = np.cumsum(weights[curve.hits], axis=0)
    precision = np.cumsum(curve.steps @ weights, axis=0)
    np.divide(right, precision + np.spacing(1), out=precision)
    envelope = np.maximum.accumulate(precision[::-1], axis=0)[::-1]
    reached = np.searchsorted(RECALLS, right / np.where(objects > 0, objects, 1), side="right")
    levels = np.diff(reached, axis=0, prepend=0)
    area: Floats = np.einsum("kr,kr->r", levels, envelope) / len(RECALLS)
    return area


def _coco_table(
    pictures: Sequence[Objects] | Sequence[Detections], classes: int, more: Mapping[str, NDArray[Any]]
) -> dict[str, Any]:
    """COCO's format, with further columns; identifiers start at 1, because the API takes a match with 0 for none."""
    corners = np.concatenate([one.corners for one in pictures])
    columns = {
        "id": np.arange(1, len(corners) + 1),
        "image_id": np.repeat(np.arange(1, len(pictures) + 1), [len(one.corners) for one in pictures]),
        "category_id": np.concatenate([one.classes for one in pictures]) + 1,
        "bbox": _left_top_width_height(corners),
        **more,
    }
    rows = zip(*(column.tolist() for column in columns.values()), strict=True)
    return {
        "images": [{"id": picture + 1} for picture in range(len(pictures))],
        "categories": [{"id": one + 1, "name": str(one)} for one in range(classes)],
        "annotations": [dict(zip(columns, row, strict=True)) for row in rows],
    }


def _silent(*_: object) -> None:
    """In the place of print."""


def _ratio(above: Floats, below: Floats) -> Floats:
    """NaN where nothing is below."""
    ratio: Floats = np.divide(above, below, out=np.full(len(below), np.nan), where=below > 0)
    return ratio


def _threshold(iou: float) -> int:
    """Place of an IoU threshold among the 10."""
    at = int(np.abs(OVERLAPS - iou).argmin())
    if not np.isclose(OVERLAPS[at], iou):
        raise ValueError(f"IoU threshold {iou} is none of 0.50, 0.55 ... 0.95")
    return at


def _check(what: str, corners: Floats, values: Floats, classes: NDArray[np.int64], known: int) -> None:
    """Raise ValueError where boxes, their scores or areas and their classes do not fit together."""
    if corners.shape != (len(classes), 4) or values.shape != classes.shape:
        raise ValueError(f"{what}: boxes {corners.shape}, scores or areas {values.shape}, classes {classes.shape}")
    wrong = ~np.isfinite(corners).all(axis=1) | ~np.isfinite(values) | (corners[:, 2:] < corners[:, :2]).any(axis=1)
    if wrong.any():
        first = int(wrong.argmax())
        raise ValueError(
            f"{what}: box {corners[first].tolist()} with {values[first]}; expected finite numbers and left <= right, "
            "top <= bottom"
        )
    if len(classes) and (classes.min() < 0 or classes.max() >= known):
        raise ValueError(f"{what}: classes {classes.min()} ... {classes.max()}, expected 0 ... {known - 1}")
