"""Detection: does a detector that never saw the method find more after enhancement?"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from bench.contracts import Arrays, Dataset, Measured, ParameterFile, Predictor, Scene, Task, Truth
from bench.image import parse_size

from ._coco import CONFIDENCE, Detections, Evaluation, Objects
from ._detector import Detector
from ._detector_training import DetectorSettings, fit

PRETRAINED, FINETUNED, JOINT = "pretrained", "finetuned", "joint"
"""The three protocols behind 'mAP on ExDark': one detector for all methods that never saw any of them; one for each
method, retrained on its pictures; one for each method, trained together with it."""
ENDINGS = (".pt", ".safetensors", ".onnx", ".engine")
"""Of a method's own detector in DIR, in the order in which they are looked for."""
SHIPPED = {"nightscenes": ("nightscenes.safetensors", "480x320")}
"""Detectors that come with the project and the size they see, by the data set they were trained for."""
COLUMNS = 12
"""Classes in one table; more are spread over several."""

DECIMALS = 3
FEWEST = 20
"""Pictures from which on methods are separated: with fewer, percentiles over resamples are too sure of themselves."""

COCO_SAYS = "COCO API semantics (crowd regions ignored, 100 detections of a picture and class)"


class Detection(Task):
    """Enhanced pictures go from memory into a detector; its boxes are scored as the COCO API does.

    `model` by default: the detector shipped with a data set (nightscenes), otherwise YOLOv8n trained on COCO, where it
    is on this machine. What COCO's crowd and size rules leave out is left out of every score here.
    """

    label = "Detection"
    source = "Lin et al., COCO, ECCV 2014 and its API; precision and IoU as darknet's `detector map` prints them"
    files = (
        ParameterFile(
            name="yolov8n.pt",
            sha256="f59b3d833e2ff32e194b5bb8e08d211dc7c5bdf144b90d2c8412c47ccfc83b36",
            url="https://github.com/ultralytics/assets/releases/download/v8.4.0/yolov8n.pt",
            licence="AGPL-3.0 (Ultralytics)",
        ),
    )
    size = "640x480"
    options = (
        "FILE (.pt, .onnx, .engine that ultralytics loads, or .safetensors of `bench train detector`), "
        "finetuned:DIR or joint:DIR with DIR/METHOD.pt for each method"
    )
    headline = ("map", "mAP@[.5:.95]")
    trained_as = "detector"

    def __init__(self, option: str = "", size: str = "", files: Mapping[str, Path] | None = None) -> None:
        super().__init__(option, size, files)
        if size:
            parse_size(size)
        kind, colon, folder = option.partition(":")
        own = bool(colon) and kind in (FINETUNED, JOINT)
        self._kind = kind if own else PRETRAINED
        self._folder = Path(folder) if own else None
        self._file = Path(option) if option and not own else None
        if self._folder is not None and not self._folder.is_dir():
            raise ValueError(f"detection:{option}: {folder or 'nothing'} is not a folder of detectors, one per method")

    def model(self, dataset: Dataset, method: str) -> tuple[Path, ...]:
        """The one file of the detector."""
        if self._folder is not None:
            return (self._own(self._folder, method),)
        if self._file is not None:
            if not self._file.is_file():
                raise LookupError(f"the detector {self._file} does not exist")
            return (self._file,)
        shipped = _shipped(dataset)
        if shipped is not None:
            return (shipped[0],)
        if self.found:
            return tuple(self.found.values())[:1]
        raise LookupError(
            f"needs a detector: --detector FILE, or {self.files[0].name} (bench weights fetch, or BENCH_PARAMETERS)"
        )

    def _own(self, folder: Path, method: str) -> Path:
        """A method's own detector."""
        stem = method.replace(":", "-")
        for ending in ENDINGS:
            if (folder / f"{stem}{ending}").is_file():
                return folder / f"{stem}{ending}"
        raise LookupError(f"{folder.name} holds no detector for {method} ({stem}{', '.join(ENDINGS)})")

    def protocol(self, dataset: Dataset) -> str:
        """E.g. 'pretrained-yolov8n-640x480'."""
        size = self._size(dataset)
        if self._folder is not None:
            return f"{self._kind}-{self._folder.name}-{size}"
        try:
            return f"{self._kind}-{self.model(dataset, '')[0].stem}-{size}"
        except LookupError:
            return f"{self._kind}-{size}"

    def _size(self, dataset: Dataset) -> str:
        """What the user gave, else what the shipped detector has learned from, else the default."""
        shipped = _shipped(dataset) if self._file is None and self._folder is None else None
        return self.size_given or (shipped[1] if shipped else self.size)

    def load(self, dataset: Dataset, method: str, device: torch.device) -> Predictor:
        """The detector for the data set's classes."""
        return Detector(self.model(dataset, method)[0], parse_size(self._size(dataset)), dataset.classes, device)

    def keep(self, truth: Truth, classes: Sequence[str]) -> Arrays:
        """Corners (M, 4), classes (M,), ignored (M,), areas (M,), size (2,)."""
        if truth.boxes is None:
            raise ValueError("the picture's objects are not annotated")
        places = {name: place for place, name in enumerate(classes)}
        return {
            "corners": truth.boxes.corners,
            "classes": np.array([places[name] for name in truth.boxes.names], dtype=np.uint16),
            "ignored": truth.boxes.ignored,
            "areas": truth.boxes.areas,
            "size": np.array(truth.size),
        }

    @classmethod
    def fit(
        cls,
        learned: Iterable[Scene],
        held_out: Iterable[Scene],
        classes: Sequence[str],
        words: Sequence[str],
        start: Path | None,
        out: Path,
        name: str,
        seed: int,
        device: torch.device,
        notes: Mapping[str, Any],
    ) -> Path:
        """A detector by ultralytics; `words` are fields of DetectorSettings."""
        settings = DetectorSettings().replaced(words)
        return fit(learned, held_out, classes, settings, start, out, name, seed, device, notes)

    @classmethod
    def measure(
        cls,
        truths: Sequence[Arrays],
        predictions: Sequence[Arrays | None],
        classes: Sequence[str],
        groups: Mapping[str, Sequence[str]],
        confidence: float | None = None,
    ) -> list[Measured]:
        """mAP, mAP@.5, mAP@.75, precision, recall, IoU in both forms; COCO's others, AP by class, mAP@.5 by group."""
        known = _known(predictions, classes)
        least = CONFIDENCE if confidence is None else confidence
        found = Evaluation(
            [_objects(one, known) for one in truths], [_detections(one) for one in predictions], len(classes), least
        )
        at = f"at confidence {least:g} and IoU 0.5, over all classes"
        there = np.concatenate([one["classes"][~one["ignored"]] for one in truths]) if truths else np.array([])
        annotated = [place for place in np.unique(there).astype(int).tolist() if known[place]]
        over = f"mean over {len(annotated)} annotated classes"
        if not known.all():
            unknown = [name for name, knows in zip(classes, known, strict=True) if not knows]
            over += f" that the detector knows (not {', '.join(unknown[:6])}{', …' if len(unknown) > 6 else ''})"
        ap = "average precision (area under the precision-recall curve, 101 recall points)"

        def score(
            name: str, label: str, definition: str, statistic: Callable[[NDArray[np.float64]], NDArray[np.float64]]
        ) -> Measured:
            return Measured(name, label, True, definition, statistic, decimals=DECIMALS, fewest=FEWEST)

        mean = found.average_precision
        main = [
            score("map", "mAP@[.5:.95]", f"{ap}, mean over IoU 0.50, 0.55 … 0.95 and {over}; {COCO_SAYS}", mean),
            score("map50", "mAP@.5", f"{ap} at IoU 0.5, {over}; {COCO_SAYS}", lambda w: mean(w, iou=0.5)),
            score("map75", "mAP@.75", f"{ap} at IoU 0.75, {over}; {COCO_SAYS}", lambda w: mean(w, iou=0.75)),
            score("precision", "Precision", f"TP / (TP + FP) {at}; {COCO_SAYS}", found.precision),
            score("recall", "Recall", f"TP / (TP + FN) {at}; {COCO_SAYS}", found.recall),
            score("iou", "IoU (matched)", f"mean IoU of true positives {at}; {COCO_SAYS}", found.mean_iou_matched),
            score(
                "iou_darknet",
                "IoU (darknet)",
                f"IoU of true positives, summed and divided by TP + FP, {at}: never above Precision; {COCO_SAYS}",
                found.mean_iou_darknet,
            ),
        ]
        return [
            *main,
            *_others(found),
            *_by_class(found, annotated, classes, truths, ap),
            *(one for name, values in groups.items() for one in _by_group(found, name, values, f"{ap}, {over}")),
        ]


OTHERS = {
    3: ("ap_small", "AP small", "AP of objects below 32 x 32 pixels"),
    4: ("ap_medium", "AP medium", "AP of objects from 32 x 32 to 96 x 96 pixels"),
    5: ("ap_large", "AP large", "AP of objects above 96 x 96 pixels"),
    6: ("ar1", "AR 1", "average recall with 1 detection of a picture and class"),
    7: ("ar10", "AR 10", "average recall with 10 detections of a picture and class"),
    8: ("ar100", "AR 100", "average recall with 100 detections of a picture and class"),
    9: ("ar_small", "AR small", "average recall of objects below 32 x 32 pixels"),
    10: ("ar_medium", "AR medium", "average recall of objects from 32 x 32 to 96 x 96 pixels"),
    11: ("ar_large", "AR large", "average recall of objects above 96 x 96 pixels"),
}
"""Those of the COCO API's 12 figures that the main table lacks, by their place."""


def _others(found: Evaluation) -> list[Measured]:
    """COCO's figures by size and by number of detections: of all pictures, without an interval."""
    figures: list[NDArray[np.float64]] = []

    def figure(place: int, weights: NDArray[np.float64]) -> NDArray[np.float64]:
        # Of all pictures, each once; with a failed one, or resampled, there is no figure.
        if not figures:
            figures.append(found.coco_figures())
        return np.where((weights == 1).all(axis=1), figures[0][place], np.nan)

    return [
        Measured(
            name=name,
            label=label,
            higher_is_better=True,
            definition=f"{says}, mean over classes and IoU 0.50, 0.55 … 0.95; {COCO_SAYS}",
            statistic=partial(figure, place),
            group="COCO's other figures",
            decimals=DECIMALS,
        )
        for place, (name, label, says) in OTHERS.items()
    ]


def _by_class(
    found: Evaluation, annotated: Sequence[int], classes: Sequence[str], truths: Sequence[Arrays], ap: str
) -> list[Measured]:
    """AP@[.5:.95] of each annotated class."""
    holding = {place: sum(bool((one["classes"] == place).any()) for one in truths) for place in annotated}
    tables = [annotated[start : start + COLUMNS] for start in range(0, len(annotated), COLUMNS)]
    return [
        Measured(
            name=f"ap:{classes[place]}",
            label=f"{classes[place]} ({holding[place]})",
            higher_is_better=True,
            definition=f"{ap} of the class {classes[place]}, mean over IoU 0.50, 0.55 … 0.95; {COCO_SAYS}",
            statistic=partial(found.average_precision, classes=[place]),
            group="AP by class (pictures)" + (f", {number} of {len(tables)}" if len(tables) > 1 else ""),
            decimals=DECIMALS,
            support=holding[place],
            fewest=FEWEST,
        )
        for number, table in enumerate(tables, start=1)
        for place in table
    ]


def _by_group(found: Evaluation, kind: str, values: Sequence[str], ap: str) -> list[Measured]:
    """mAP@.5 over the pictures of each value of a kind of group."""
    measured = []
    for value in dict.fromkeys(sorted(values)):
        inside = np.array([one == value for one in values], dtype=np.float64)
        measured.append(
            Measured(
                name=f"map50:{kind}={value}",
                label=f"{value} ({int(inside.sum())})",
                higher_is_better=True,
                definition=f"{ap} at IoU 0.5, over the pictures with {kind} = {value}; {COCO_SAYS}",
                statistic=partial(_within, found, inside),
                group=f"mAP@.5 by {kind} (pictures)",
                decimals=DECIMALS,
                support=int(inside.sum()),
                fewest=FEWEST,
            )
        )
    return measured


def _within(found: Evaluation, inside: NDArray[np.float64], weights: NDArray[np.float64]) -> NDArray[np.float64]:
    """mAP@.5 over some of the pictures."""
    return found.average_precision(weights * inside, iou=0.5)


def _known(predictions: Sequence[Arrays | None], classes: Sequence[str]) -> NDArray[np.bool_]:
    """Which of the classes the detector knows; all where it never answered."""
    rows = [one["known"] for one in predictions if one is not None]
    return np.any(rows, axis=0) if rows else np.ones(len(classes), dtype=bool)


def _objects(truth: Arrays, known: NDArray[np.bool_]) -> Objects:
    """The objects of classes that the detector knows."""
    kept = known[truth["classes"]]
    return Objects(
        corners=truth["corners"][kept],
        classes=truth["classes"][kept].astype(np.int64),
        ignored=truth["ignored"][kept],
        areas=truth["areas"][kept],
    )


def _detections(prediction: Arrays | None) -> Detections:
    if prediction is None:
        return Detections(np.empty((0, 4)), np.empty(0), np.empty(0, dtype=np.int64))
    return Detections(
        corners=prediction["corners"].astype(np.float64),
        scores=prediction["scores"].astype(np.float64),
        classes=prediction["classes"].astype(np.int64),
    )


def _shipped(dataset: Dataset) -> tuple[Path, str] | None:
    """The detector that comes with the project for a data set, and its size; None where there is none."""
    name, size = SHIPPED.get(type(dataset).__module__.rpartition(".")[2], ("", ""))
    file = Path(__file__).parent / "weights" / name
    return (file, size) if file.is_file() else None
