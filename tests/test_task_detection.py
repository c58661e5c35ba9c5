"""The detector's door: letterbox, candidates, suppression, classes by name; and a real detector's published score."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from bench import plugins
from bench.contracts import Boxes, Dataset, Pair, Predictor, Sample, Task, Truth
from bench.plugins import Spec

ROOT = Path(__file__).resolve().parent.parent
detection = plugins.load(Task, Spec.parse("detection"))
module = sys.modules[detection.__module__]
detector = sys.modules["bench.tasks._detector"]
CPU = torch.device("cpu")


class Two(Dataset):
    """Two classes, no pictures."""

    label, layout, origin = "Two", "", ""

    def __init__(self, classes: tuple[str, ...] = ("person", "car")) -> None:
        super().__init__()
        self._classes = classes

    paired = False
    tasks = ("detection",)

    @property
    def classes(self) -> tuple[str, ...]:
        return self._classes

    def samples(self) -> list[Sample]:
        return []

    def load(self, sample: Sample) -> Pair:
        raise ValueError(f"{self.label} has no pictures")


@pytest.fixture(scope="module")
def untrained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A detector of ours with random weights that knows person and car."""
    detector.quiet()
    from safetensors.torch import save_file
    from ultralytics.nn.tasks import DetectionModel

    torch.manual_seed(0)
    network = DetectionModel("yolo11n.yaml", nc=2, verbose=False)
    about = {key: value for key, value in network.yaml.items() if key != "yaml_file"}
    file = tmp_path_factory.mktemp("detectors") / "untrained.safetensors"
    metadata = {"training": json.dumps({"architecture": about, "classes": ["car", "person"]})}
    save_file({name: one.contiguous() for name, one in network.state_dict().items()}, file, metadata)
    return file


def test_a_wide_picture_is_scaled_and_centred_between_grey_bars() -> None:
    # 200x100 into 64x64: scale 0.32, 64x32, 16 rows of grey above and below.
    canvas, scale, left, top = detector.letterboxed(torch.ones(1, 3, 100, 200), (64, 64))
    assert (scale, left, top) == (0.32, 0, 16)
    assert canvas.shape == (1, 3, 64, 64)
    assert canvas[0, :, :16].unique().tolist() == pytest.approx([114 / 255])
    assert float(canvas[0, :, 16:48].min()) == pytest.approx(1)


def test_centre_and_extent_become_corners_and_every_class_above_the_threshold_counts() -> None:
    # One place: centre (10, 20), extent (4, 8); classes 0 and 2 above 0.001.
    raw = torch.tensor([[10.0], [20.0], [4.0], [8.0], [0.9], [0.0005], [0.3]])
    corners, scores, classes = detector.candidates(raw)
    assert corners.tolist() == [[8, 16, 12, 24]] * 2
    assert scores.tolist() == pytest.approx([0.9, 0.3])
    assert classes.tolist() == [0, 2]


def test_a_network_that_suppresses_by_itself_is_read_as_rows() -> None:
    corners, scores, classes = detector.candidates(torch.tensor([[1.0, 2, 3, 4, 0.5, 7], [0, 0, 0, 0, 0, 0]]))
    assert (corners.tolist(), scores.tolist(), classes.tolist()) == ([[1, 2, 3, 4]], [0.5], [7])


def test_suppression_is_the_textbook_one() -> None:
    # Greedy, within a class, IoU above 0.7 goes: written out for 300 random boxes of three classes.
    generator = torch.Generator().manual_seed(3)
    start = torch.rand(300, 2, generator=generator) * 40
    corners = torch.cat((start, start + 20 + torch.rand(300, 2, generator=generator) * 20), dim=1)
    scores, classes = torch.rand(300, generator=generator), torch.randint(3, (300,), generator=generator)

    def iou(one: list[float], other: list[float]) -> float:
        width = min(one[2], other[2]) - max(one[0], other[0])
        height = min(one[3], other[3]) - max(one[1], other[1])
        both = max(width, 0) * max(height, 0)
        areas = [(box[2] - box[0]) * (box[3] - box[1]) for box in (one, other)]
        return both / (sum(areas) - both)

    boxes, kept = corners.tolist(), []
    for place in scores.argsort(descending=True).tolist():
        if all(classes[place] != classes[other] or iou(boxes[place], boxes[other]) <= 0.7 for other in kept):
            kept.append(place)
    assert detector.suppressed(corners, scores, classes)[1].tolist() == scores[kept].tolist()


def test_thirty_thousand_boxes_lose_nothing_to_a_clock() -> None:
    # ultralytics' own suppression stops after 2.05 s and returns the rest empty.
    corners = torch.arange(30_000.0)[:, None] * 10 + torch.tensor([0.0, 0, 5, 5])
    kept = detector.suppressed(corners, torch.linspace(1, 0.1, 30_000), torch.zeros(30_000, dtype=torch.long))
    assert len(kept[0]) == detector.KEPT


def test_boxes_are_the_same_whoever_imported_torchvision_first() -> None:
    code = (
        "import sys, torch\n"
        "{first}\n"
        "from bench import plugins\n"
        "from bench.contracts import Task\n"
        "plugins.load(Task, plugins.Spec.parse('detection'))\n"
        "one = sys.modules['bench.tasks._detector']\n"
        "g = torch.Generator().manual_seed(0)\n"
        "raw = torch.rand(6, 500, generator=g) * torch.tensor([64., 64, 30, 30, 1, 1])[:, None]\n"
        "print(one.suppressed(*one.candidates(raw))[1].tolist())\n"
    )
    said = [
        subprocess.run(
            [sys.executable, "-c", code.format(first=first)], cwd=ROOT, capture_output=True, text=True, check=True
        ).stdout
        for first in ("", "import torchvision")
    ]
    assert said[0] == said[1]
    assert len(said[0]) > 100


def test_exdarks_people_are_cocos_persons() -> None:
    assert [detector.coco_name(name) for name in ("People", "Motorbike", "Table", "Cup")] == [
        *("person", "motorcycle", "dining table", "cup"),
    ]


def test_classes_are_matched_by_name_not_by_number(untrained: Path) -> None:
    # The network counts car, person; the data set dog, person, car.
    found = detector.Detector(untrained, (64, 64), ("dog", "person", "car"), CPU)
    assert found._place.tolist() == [2, 1]
    assert found._known.tolist() == [False, True, True]


def test_a_detector_of_other_classes_is_refused_by_name(untrained: Path) -> None:
    with pytest.raises(
        ValueError, match=r"untrained\.safetensors knows none of the annotated classes \(boat\) but car"
    ):
        detector.Detector(untrained, (64, 64), ("boat",), CPU)


def test_boxes_are_in_pixels_of_the_truth(untrained: Path) -> None:
    predictor: Predictor = detector.Detector(untrained, (64, 64), ("person", "car"), CPU)
    predictor._network = lambda canvas: torch.tensor([[[8.0, 16, 40, 32, 0.9, 0]]])  # type: ignore[attr-defined]
    # A picture of 200x100 enhanced at 100x50: network pixels / 0.64 after the bar of 16 rows, times 2.
    [found] = predictor.predict(torch.zeros(1, 3, 50, 100), [Truth((200, 100))], ["a"])
    assert found["corners"].tolist() == [[25.0, 0.0, 125.0, 50.0]]
    assert found["classes"].tolist() == [1]


def test_a_file_that_is_no_detector_is_named(tmp_path: Path) -> None:
    broken = tmp_path / "broken.onnx"
    broken.write_bytes(b"not a network")
    with pytest.raises((ValueError, ImportError), match=r"broken\.onnx"):
        detector.Detector(broken, (64, 64), ("person",), CPU)


def test_without_a_detector_the_reason_says_how_to_give_one() -> None:
    with pytest.raises(LookupError, match="--detector FILE"):
        detection().model(Two(), "input")


def test_a_method_of_a_finetuned_protocol_has_its_own_detector(tmp_path: Path) -> None:
    (tmp_path / "drgn-wo_msr.pt").touch()
    task = detection(f"finetuned:{tmp_path}")
    assert task.model(Two(), "drgn:wo_msr") == (tmp_path / "drgn-wo_msr.pt",)
    assert task.protocol(Two()) == f"finetuned-{tmp_path.name}-640x480"
    with pytest.raises(LookupError, match="holds no detector for clahe"):
        task.model(Two(), "clahe")


def test_a_finetuned_folder_that_is_not_there_is_an_error() -> None:
    with pytest.raises(ValueError, match="is not a folder of detectors"):
        detection("finetuned:nowhere")


def test_a_class_that_the_detector_does_not_know_is_left_out_and_named() -> None:
    task = detection()
    boxes = Boxes(
        np.array([[0.0, 0, 10, 10], [20, 20, 30, 30]]), ("person", "car"), np.zeros(2, bool), np.full(2, 100.0)
    )
    truth = task.keep(Truth((40, 40), boxes), ("person", "car"))
    said = {
        "corners": np.array([[0, 0, 10, 10]], np.float32),
        "scores": np.array([0.9], np.float32),
        "classes": np.array([0], np.uint16),
        "known": np.array([True, False]),
    }
    scores = {one.name: one for one in detection.measure([truth], [said], ("person", "car"), {})}
    assert scores["map"].statistic(np.ones((1, 1))).tolist() == pytest.approx([1.0])
    assert "1 annotated classes that the detector knows (not car)" in scores["map"].definition
    assert "ap:car" not in scores


def test_a_set_without_any_object_has_no_score_and_no_crash() -> None:
    task = detection()
    empty = Boxes(np.empty((0, 4)), (), np.empty(0, bool), np.empty(0))
    truth = task.keep(Truth((40, 40), empty), ("person",))
    scores = {one.name: one for one in detection.measure([truth], [None], ("person",), {})}
    assert np.isnan(scores["map"].statistic(np.ones((1, 1)))).all()


def test_yolov8n_reaches_its_published_ap_on_coco128(shared_data: Path) -> None:
    # SOURCES.md of the reference data: AP 0.459, AP50 0.615, measured with independent tools.
    dataset = plugins.load(Dataset, Spec.parse("coco_dark"))("clean", shared_data / "coco" / "coco128")
    file = shared_data / "weights" / "detection" / "yolov8n_int8.onnx"
    task = detection(str(file), "640x640")
    predictor = task.load(dataset, "input", CPU)
    truths, said = [], []
    for sample in dataset.samples():
        truth = dataset.truth(sample)
        [one] = predictor.predict(dataset.load(sample).low[None], [truth], [sample.id])
        truths.append(task.keep(truth, dataset.classes))
        said.append(one)
    scores = {one.name: one for one in detection.measure(truths, said, dataset.classes, {})}
    ones = np.ones((1, len(truths)))
    assert scores["map"].statistic(ones)[0] == pytest.approx(0.459, abs=0.001)
    assert scores["map50"].statistic(ones)[0] == pytest.approx(0.615, abs=0.002)
