from __future__ import annotations

import contextlib
import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from bench.tasks import _coco
from bench.tasks._coco import Detections, Evaluation, Objects, match

CLASSES = 5
Pictures = tuple[list[Objects], list[Detections]]


def objects(*rows: tuple[Sequence[float], int, bool]) -> Objects:
    """Of one picture: box, class, whether it is a crowd."""
    corners = np.array([row[0] for row in rows], dtype=np.float64).reshape(-1, 4)
    return Objects(
        corners=corners,
        classes=np.array([row[1] for row in rows], dtype=np.int64),
        ignored=np.array([row[2] for row in rows], dtype=bool),
        areas=(corners[:, 2:] - corners[:, :2]).prod(axis=1),
    )


def detections(*rows: tuple[Sequence[float], int, float]) -> Detections:
    """Of one picture: box, class, confidence."""
    return Detections(
        corners=np.array([row[0] for row in rows], dtype=np.float64).reshape(-1, 4),
        scores=np.array([row[2] for row in rows], dtype=np.float64),
        classes=np.array([row[1] for row in rows], dtype=np.int64),
    )


def ones(pictures: int) -> NDArray[np.float64]:
    return np.ones((1, pictures))


def random_pictures(seed: int, count: int, ties: bool) -> Pictures:
    """Objects (a sixth of them crowds) and detections on a coarse grid: IoU on thresholds and equal IoU are common."""
    generator = np.random.default_rng(seed)
    there, found = [], []
    for _ in range(count):
        number = int(generator.integers(0, 8))
        corners = 10 * generator.integers(0, 12, (number, 4)).astype(np.float64)
        corners[:, 2:] = corners[:, :2] + 10 * generator.choice([1, 2, 4, 20], (number, 2))
        classes = generator.integers(0, CLASSES - 1, number)  # of the last class there is no object
        there.append(
            Objects(corners, classes, generator.random(number) < 1 / 6, generator.choice([300.0, 5000.0, 2e4], number))
        )
        near = np.repeat(corners, 2, axis=0) + 5.0 * generator.integers(-1, 2, (2 * number, 4))
        guessed = np.concatenate([near, [[0, 0, 40, 40], [20, 20, 300, 60]]])
        guessed[:, 2:] = np.maximum(guessed[:, 2:], guessed[:, :2])
        scores = generator.integers(0, 10, len(guessed)) / 10 if ties else generator.random(len(guessed))
        right = generator.random(len(guessed)) < 0.8
        labels = np.append(np.repeat(classes, 2), [0, 1])
        found.append(Detections(guessed, scores, np.where(right, labels, generator.integers(0, CLASSES, len(guessed)))))
    return there, found


def pycocotools(pictures: Pictures, classes: int) -> COCOeval:
    """The COCO API's own evaluation of the pictures, with identifiers of its kind."""
    there, found = pictures
    truth: dict[str, Any] = {
        "info": {},
        "images": [{"id": 10 + n} for n in range(len(there))],
        "categories": [{"id": one, "name": str(one)} for one in range(classes)],
        "annotations": [
            {"image_id": 10 + n, "category_id": int(one), "bbox": xywh(box), "area": float(area), "iscrowd": int(crowd)}
            for n, each in enumerate(there)
            for box, one, area, crowd in zip(each.corners, each.classes, each.areas, each.ignored, strict=True)
        ],
    }
    for number, annotation in enumerate(truth["annotations"], start=1):
        annotation["id"] = number
    results = [
        {"image_id": 10 + n, "category_id": int(one), "bbox": xywh(box), "score": float(score)}
        for n, each in enumerate(found)
        for box, one, score in zip(each.corners, each.classes, each.scores, strict=True)
    ]
    with contextlib.redirect_stdout(io.StringIO()):
        annotated = COCO()
        annotated.dataset = truth
        annotated.createIndex()
        return evaluated(annotated, annotated.loadRes(results) if results else nothing_found(truth))


def nothing_found(truth: dict[str, Any]) -> COCO:
    """`loadRes` refuses an empty list."""
    empty = COCO()
    empty.dataset = {**truth, "annotations": []}
    empty.createIndex()
    return empty


def evaluated(annotated: COCO, results: COCO) -> COCOeval:
    with contextlib.redirect_stdout(io.StringIO()):
        evaluation = COCOeval(annotated, results, "bbox")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return evaluation


def xywh(box: NDArray[np.float64]) -> list[float]:
    left, top, right, bottom = box.tolist()
    return [left, top, right - left, bottom - top]


def figures(evaluation: COCOeval) -> NDArray[np.float64]:
    """The 12, NaN where the API says -1."""
    return np.where(evaluation.stats == -1, np.nan, evaluation.stats)


def repeated(pictures: Pictures, weights: Sequence[int]) -> Pictures:
    """Each picture as often as its weight says, with all that is in it."""
    shown = [picture for picture, times in enumerate(weights) for _ in range(times)]
    there, found = pictures
    return [there[picture] for picture in shown], [found[picture] for picture in shown]


@pytest.fixture(scope="module")
def example(shared_data: Path) -> tuple[Pictures, COCOeval]:
    """The COCO API's example: 100 pictures of val2014 with boxes that stand for a detector's; evaluated by the API."""
    folder = shared_data / "cocoeval"
    truth_file, results_file = (folder / f"instances_val2014_{name}.json" for name in ("100", "fakebbox100_results"))
    with contextlib.redirect_stdout(io.StringIO()):
        annotated = COCO(str(truth_file))
        evaluation = evaluated(annotated, annotated.loadRes(str(results_file)))
    truth, results = (json.loads(file.read_text()) for file in (truth_file, results_file))
    places = {one: place for place, one in enumerate(sorted(each["id"] for each in truth["categories"]))}
    there, found = [], []
    for picture in sorted(each["id"] for each in truth["images"]):
        rows = [each for each in truth["annotations"] if each["image_id"] == picture]
        boxes = objects(*((ltrb(row["bbox"]), places[row["category_id"]], bool(row["iscrowd"])) for row in rows))
        areas = np.array([row["area"] for row in rows], dtype=np.float64)
        there.append(Objects(boxes.corners, boxes.classes, boxes.ignored, areas))
        answers = [each for each in results if each["image_id"] == picture]
        found.append(detections(*((ltrb(row["bbox"]), places[row["category_id"]], row["score"]) for row in answers)))
    return (there, found), evaluation


def ltrb(box: Sequence[float]) -> list[float]:
    left, top, width, height = box
    return [left, top, left + width, top + height]


def test_precision_recall_and_iou_of_two_pictures_counted_by_hand() -> None:
    first_objects = objects(([0, 0, 10, 10], 0, False), ([20, 0, 30, 10], 1, False), ([50, 0, 100, 50], 0, True))
    first = detections(
        ([0, 0, 10, 8], 0, 0.9),  # IoU 80 / 100: right
        ([0, 0, 10, 10], 0, 0.8),  # fits better, but the object is taken: wrong
        ([60, 10, 70, 20], 0, 0.7),  # in the crowd: does not count
        ([20, 0, 30, 10], 1, 0.2),  # too unsure: its object is missed
    )
    second_objects = objects(([0, 0, 10, 10], 1, False))
    second = detections(
        ([0, 0, 5, 12], 1, 0.9),  # IoU 50 / (60 + 100 - 50) = 0.45: wrong
        ([0, 0, 10, 10], 0, 0.5),  # another class: wrong
        ([0, 0, 10, 20], 1, 0.25),  # IoU 100 / 200, sure enough by a hair: right
    )
    evaluation = Evaluation([first_objects, second_objects], [first, second], 2)
    # Once each: TP 2, FP 3, FN 1. The first twice: TP 3, FP 4, FN 2. The second alone: TP 1, FP 2, FN 0.
    weights = np.array([[1.0, 1.0], [2.0, 1.0], [0.0, 1.0]])
    assert evaluation.precision(weights).tolist() == pytest.approx([2 / 5, 3 / 7, 1 / 3])
    assert evaluation.recall(weights).tolist() == pytest.approx([2 / 3, 3 / 5, 1])
    assert evaluation.mean_iou_matched(weights).tolist() == pytest.approx([1.3 / 2, 2.1 / 3, 0.5])
    assert evaluation.mean_iou_darknet(weights).tolist() == pytest.approx([1.3 / 5, 2.1 / 7, 0.5 / 3])


def test_average_precision_of_three_detections_counted_by_hand() -> None:
    there = objects(([0, 0, 10, 10], 0, False), ([20, 0, 30, 10], 0, False))
    found = detections(([0, 0, 10, 10], 0, 0.9), ([50, 0, 60, 10], 0, 0.8), ([20, 0, 30, 6], 0, 0.7))
    evaluation = Evaluation([there], [found], 1)
    # Precision 1, 1/2, 2/3 at recall 1/2, 1/2, 1: levels 0 ... 0.50 have 1, the other 50 have 2/3.
    area = (51 + 50 * 2 / 3) / 101
    assert evaluation.average_precision(ones(1), iou=0.5) == pytest.approx(area)
    # The last box has IoU 0.6: at higher thresholds half of the objects stays unfound.
    assert evaluation.average_precision(ones(1), iou=0.65) == pytest.approx(51 / 101)
    assert evaluation.average_precision(ones(1)) == pytest.approx((3 * area + 7 * 51 / 101) / 10)


def test_a_detection_takes_an_object_before_a_crowd_region_and_crowds_take_any_number() -> None:
    there = objects(([0, 0, 100, 100], 0, True), ([0, 0, 10, 10], 0, False))
    # All three lie wholly in the crowd region; the first has IoU 0.6 with the object.
    found = detections(([0, 0, 10, 6], 0, 0.9), ([40, 40, 60, 60], 0, 0.8), ([50, 50, 60, 60], 0, 0.7))
    matches = match(there, found)
    assert matches.right[0].tolist() == [True, False, False]
    assert matches.ignored[0].tolist() == [False, True, True]
    assert matches.overlaps.tolist() == pytest.approx([0.6, 0, 0])
    assert matches.ignored[-1].tolist() == [True, True, True]


def test_of_two_objects_that_overlap_alike_the_last_is_taken_as_the_coco_api_does() -> None:
    upper, lower = [0, 0, 10, 5], [0, 5, 10, 10]
    # IoU 1/2 with both, then the upper half itself, for which the upper object must still be free.
    found = detections(([0, 0, 10, 10], 0, 0.9), (upper, 0, 0.5))
    assert match(objects((upper, 0, False), (lower, 0, False)), found).overlaps.tolist() == pytest.approx([0.5, 1])
    assert match(objects((lower, 0, False), (upper, 0, False)), found).overlaps.tolist() == pytest.approx([0.5, 0])


def test_among_equal_scores_the_earlier_picture_comes_first() -> None:
    there, nowhere = objects(([0, 0, 10, 10], 0, False)), objects()
    found = detections(([0, 0, 10, 10], 0, 0.5))
    right_first, wrong_first = (Evaluation(each, [found, found], 1) for each in ([there, nowhere], [nowhere, there]))
    assert right_first.average_precision(ones(2)) == pytest.approx(1)
    assert wrong_first.average_precision(ones(2)) == pytest.approx(1 / 2)


def test_detections_of_a_class_beyond_the_hundredth_are_not_looked_at() -> None:
    there = objects(([0, 0, 10, 10], 0, False), ([0, 0, 10, 10], 1, False))
    elsewhere = [([50, 50, 60, 60], 0, 0.9)] * 100
    found = detections(*elsewhere, ([0, 0, 10, 10], 0, 0.8), ([0, 0, 10, 10], 1, 0.8))
    evaluation = Evaluation([there], [found], 2)
    assert evaluation.average_precision(ones(1), classes=[0]) == 0
    assert evaluation.average_precision(ones(1), classes=[1]) == pytest.approx(1)
    assert evaluation.precision(ones(1)) == pytest.approx(1 / 101)


def test_without_detections_recall_and_ap_are_zero_and_precision_is_undefined() -> None:
    evaluation = Evaluation([objects(([0, 0, 50, 50], 0, False))], [detections()], 2)
    assert evaluation.average_precision(ones(1)) == 0
    assert evaluation.recall(ones(1)) == 0
    for undefined in (evaluation.precision, evaluation.mean_iou_matched, evaluation.mean_iou_darknet):
        assert np.isnan(undefined(ones(1))).all()
    # 50 x 50 is of medium size: AP and AR of small and of large objects do not exist.
    assert np.isnan(evaluation.coco_figures()).nonzero()[0].tolist() == [3, 5, 9, 11]


def test_without_objects_ap_and_recall_are_undefined_and_precision_is_zero() -> None:
    crowd = objects(([100, 100, 200, 200], 0, True))
    evaluation = Evaluation([crowd, objects()], [detections(([0, 0, 9, 9], 0, 0.9)), detections()], 1)
    assert np.isnan(evaluation.coco_figures()).all()
    assert np.isnan(evaluation.average_precision(ones(2))).all()
    assert np.isnan(evaluation.recall(ones(2))).all()
    assert evaluation.precision(ones(2)) == evaluation.mean_iou_darknet(ones(2)) == 0


def test_without_pictures_everything_is_undefined() -> None:
    evaluation = Evaluation([], [], 3)
    for score in (evaluation.average_precision, evaluation.precision, evaluation.recall):
        assert np.isnan(score(ones(0))).tolist() == [True]
    assert np.isnan(evaluation.coco_figures()).all()


def test_a_class_without_objects_under_the_weights_does_not_enter_the_mean() -> None:
    there = [objects(([0, 0, 10, 10], 0, False)), objects(([0, 0, 10, 10], 1, False))]
    found = [detections(([0, 0, 10, 10], 0, 0.9)), detections(([0, 0, 10, 10], 2, 0.9))]
    evaluation = Evaluation(there, found, 3)
    weights = np.array([[1.0, 1.0], [1.0, 0.0], [0.0, 1.0], [0.0, 0.0]])
    assert evaluation.average_precision(weights).tolist() == pytest.approx([0.5, 1, 0, np.nan], nan_ok=True)
    assert evaluation.average_precision(weights, classes=[0]).tolist() == pytest.approx(
        [1, 1, np.nan, np.nan], nan_ok=True
    )


@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("count", [1, 12])
def test_random_pictures_score_as_in_pycocotools(count: int, ties: bool) -> None:
    for seed in range(6):
        pictures = random_pictures(seed, count, ties)
        reference = pycocotools(pictures, CLASSES)
        evaluation = Evaluation(*pictures, CLASSES)
        np.testing.assert_allclose(evaluation.coco_figures(), figures(reference), rtol=0, atol=1e-12)
        assert_same_curves(evaluation, reference, count)


def assert_same_curves(evaluation: Evaluation, reference: COCOeval, count: int) -> None:
    """AP of each class at each threshold, and the means, against the reference's table of precisions."""
    # IoU thresholds, recall levels, classes, sizes (0: all), detections of a picture (2: 100)
    table = reference.eval["precision"][:, :, :, 0, 2]
    by_class = np.where(table.min(axis=1) < 0, np.nan, table.mean(axis=1))
    ours = [
        [evaluation.average_precision(ones(count), iou=iou, classes=[one]).item() for one in range(table.shape[2])]
        for iou in reference.params.iouThrs
    ]
    np.testing.assert_allclose(ours, by_class, rtol=0, atol=1e-12)
    means = [evaluation.average_precision(ones(count), iou=iou).item() for iou in (None, 0.5, 0.75)]
    np.testing.assert_allclose(means, figures(reference)[:3], rtol=0, atol=1e-9)


def test_a_weight_is_how_often_pycocotools_is_shown_the_picture() -> None:
    pictures = random_pictures(seed=7, count=10, ties=False)
    weights = np.random.default_rng(1).integers(0, 4, (8, 10))
    ours = Evaluation(*pictures, CLASSES).average_precision(weights.astype(float))
    theirs = [pycocotools(repeated(pictures, row), CLASSES).stats[0] for row in weights.tolist()]
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-12)


def test_a_weight_is_a_repetition_for_every_other_score_too() -> None:
    pictures = random_pictures(seed=3, count=6, ties=True)
    weights = [3, 0, 1, 2, 0, 5]
    weighted, shown = Evaluation(*pictures, CLASSES), Evaluation(*repeated(pictures, weights), CLASSES)
    for name in ("precision", "recall", "mean_iou_matched", "mean_iou_darknet"):
        value = getattr(weighted, name)(np.array([weights], dtype=float)).item()
        assert value == pytest.approx(getattr(shown, name)(ones(11)).item()), name


def test_resamples_do_not_depend_on_those_worked_on_together(monkeypatch: pytest.MonkeyPatch) -> None:
    evaluation = Evaluation(*random_pictures(seed=5, count=9, ties=True), CLASSES)
    weights = np.random.default_rng(2).integers(0, 3, (11, 9)).astype(float)
    together = evaluation.average_precision(weights)
    monkeypatch.setattr(_coco, "VALUES", 3 * 9)  # three at a time
    assert evaluation.average_precision(weights).tolist() == together.tolist()


def test_the_example_has_the_published_ap_and_the_figures_of_pycocotools(example: tuple[Pictures, COCOeval]) -> None:
    pictures, reference = example
    theirs = figures(reference)
    assert [f"{value:.10f}" for value in theirs[:3]] == ["0.5045806987", "0.6969727247", "0.5729816670"]
    evaluation = Evaluation(*pictures, 80)
    np.testing.assert_allclose(evaluation.coco_figures(), theirs, rtol=0, atol=1e-10)
    assert_same_curves(evaluation, reference, 100)


def test_the_example_with_repeated_pictures_has_the_ap_of_pycocotools(example: tuple[Pictures, COCOeval]) -> None:
    there, found = example[0]
    # In four pictures detections of one class have equal scores. Of several copies the API then takes each copy's in
    # turn, Evaluation the copies of each; the scores are set apart within a picture. Ties between pictures stay.
    apart = [Detections(one.corners, one.scores - 1e-9 * np.arange(len(one.scores)), one.classes) for one in found]
    pictures = (there, apart)
    weights = np.random.default_rng(4).multinomial(100, np.full(100, 1 / 100), size=2)
    evaluation = Evaluation(*pictures, 80)
    for row in weights.tolist():
        reference = pycocotools(repeated(pictures, row), 80)
        ours = evaluation.average_precision(np.array([row], dtype=float))
        np.testing.assert_allclose(ours, reference.stats[0], rtol=0, atol=1e-9)


def test_nothing_is_printed_or_logged(capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    evaluation = Evaluation(*random_pictures(seed=0, count=3, ties=False), CLASSES)
    evaluation.coco_figures()
    evaluation.average_precision(ones(3))
    assert (*capfd.readouterr(), caplog.text) == ("", "", "")


@pytest.mark.parametrize(
    ("found", "reason"),
    [
        (detections(([0, 0, 9, 9], 2, 0.5)), r"detections of picture 1: classes 2 \.\.\. 2, expected 0 \.\.\. 1"),
        (detections(([0, 0, 9, 9], -1, 0.5)), r"classes -1 \.\.\. -1, expected 0 \.\.\. 1"),
        (detections(([9, 0, 0, 9], 0, 0.5)), r"picture 1: box \[9.0, 0.0, 0.0, 9.0\] with 0.5; .* left <= right"),
        (detections(([0, 0, 9, 9], 0, float("nan"))), "with nan; expected finite numbers"),
        (Detections(np.zeros((2, 4)), np.zeros(1), np.zeros(1, dtype=np.int64)), r"boxes \(2, 4\), scores"),
    ],
)
def test_detections_that_do_not_fit_are_refused_with_their_place(found: Detections, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        Evaluation([objects(), objects()], [detections(), found], 2)


def test_as_many_objects_as_detections_and_a_threshold_of_coco_are_asked_for() -> None:
    with pytest.raises(ValueError, match="2 pictures have objects, 1 have detections"):
        Evaluation([objects(), objects()], [detections()], 1)
    with pytest.raises(ValueError, match=r"IoU threshold 0\.52 is none of 0\.50, 0\.55"):
        Evaluation([objects()], [detections()], 1).average_precision(ones(1), iou=0.52)
