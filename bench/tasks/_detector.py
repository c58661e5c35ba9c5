"""A detector that ultralytics loads, fed from memory: letterboxed batch in, boxes of whole pictures out."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from bench.contracts import Arrays, Predictor, Truth

PADDING = 114 / 255
"""Grey around a picture that has other proportions than the network's input, as in ultralytics."""
CONFIDENCE = 0.001
"""Detections below this are not kept; average precision needs nearly all of them."""
SUPPRESSION = 0.7
"""Of two boxes of one class that overlap by more than this IoU, the less confident one goes."""
CANDIDATES = 30_000
"""Most confident pairs of place and class that go into suppression; a network of 640x640 has 8,400 places."""
KEPT = 300
"""Most confident detections kept of a picture; the COCO API looks at 100 of each class."""

SAME = {
    "motorbike": "motorcycle",
    "people": "person",
    "pedestrian": "person",
    "table": "dining table",
    "diningtable": "dining table",
    "aeroplane": "airplane",
    "sofa": "couch",
    "tvmonitor": "tv",
    "pottedplant": "potted plant",
}
"""COCO's name for a class that other sets (VOC, ExDark) call otherwise."""


class Detector(Predictor):
    """Finds a data set's classes; what the network knows besides them is dropped."""

    def __init__(self, file: Path, size: tuple[int, int], classes: Sequence[str], device: torch.device) -> None:
        """`size` is width and height of the network's input; raises ValueError or OSError naming the file."""
        self._device = device
        self._network, names, fixed, stride = load_network(file, device)
        self.size = fixed or (-(-size[0] // stride) * stride, -(-size[1] // stride) * stride)
        places = {name: place for place, name in enumerate(classes)}
        self._place = torch.tensor([places.get(coco_name(name), -1) for name in names], device=device)
        known = set(self._place.tolist()) - {-1}
        if not known:
            raise ValueError(
                f"{file.name} knows none of the annotated classes ({_first(classes)}) but {_first(names)}; "
                "give a detector of these classes"
            )
        self._known = np.array([place in known for place in range(len(classes))])

    def predict(self, enhanced: Tensor, truths: Sequence[Truth], ids: Sequence[str]) -> list[Arrays]:
        """Per picture: corners (D, 4) float32, scores (D,) float32, classes (D,) uint16, known (C,) bool."""
        height, width = enhanced.shape[-2:]
        canvas, scale, left, top = letterboxed(enhanced.to(self._device), self.size)
        with torch.no_grad():
            output = self._network(canvas)
        found: list[Arrays] = []
        for raw, truth in zip(self._rows(output), truths, strict=True):
            corners, scores, classes = self._of_classes(*candidates(raw))
            corners, scores, classes = suppressed(corners, scores, classes)
            corners = (corners - corners.new_tensor([left, top, left, top])) / scale
            corners = corners * corners.new_tensor([truth.size[0] / width, truth.size[1] / height] * 2)
            limits = corners.new_tensor([*truth.size, *truth.size])
            found.append(
                {
                    "corners": corners.clamp(min=corners.new_zeros(4), max=limits).cpu().numpy(),
                    "scores": scores.cpu().numpy(),
                    "classes": classes.cpu().numpy().astype(np.uint16),
                    "known": self._known,
                }
            )
        return found

    def _rows(self, output: Tensor) -> list[Tensor]:
        return [one.float() for one in output]

    def _of_classes(self, corners: Tensor, scores: Tensor, classes: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The detections of annotated classes, by their place among these."""
        place = self._place[classes]
        wanted = place >= 0
        return corners[wanted], scores[wanted], place[wanted]


def _first(names: Sequence[str]) -> str:
    return ", ".join(names[:5]) + (", …" if len(names) > 5 else "")


def coco_name(name: str) -> str:
    """A class by its COCO name, in lower case."""
    plain = name.strip().lower().replace("_", " ")
    return SAME.get(plain, plain)


def letterboxed(pictures: Tensor, size: tuple[int, int]) -> tuple[Tensor, float, int, int]:
    """Pictures (N, 3, H, W) scaled to fit into width x height and centred on grey; scale, left and top margin."""
    width, height = size
    scale = min(width / pictures.shape[-1], height / pictures.shape[-2])
    inner = max(1, round(pictures.shape[-2] * scale)), max(1, round(pictures.shape[-1] * scale))
    if inner != pictures.shape[-2:]:
        pictures = functional.interpolate(pictures, inner, mode="bilinear", antialias=True)
    top, left = (height - inner[0]) // 2, (width - inner[1]) // 2
    margins = (left, width - inner[1] - left, top, height - inner[0] - top)
    return functional.pad(pictures, margins, value=PADDING).clamp(0, 1), scale, left, top


def candidates(raw: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Corners (K, 4), scores (K,) and classes (K,) above CONFIDENCE from a network's output for one picture.

    Two forms: (K, 6) with corners, score and class of a network that suppresses by itself, and (4 + C, K) with centre,
    size and a score for each class at each place.
    """
    if raw.ndim == 2 and raw.shape[1] == 6:
        kept = raw[raw[:, 4] > CONFIDENCE]
        return kept[:, :4], kept[:, 4], kept[:, 5].long()
    centre, extent, scores = raw[:2].T, raw[2:4].T, raw[4:].T
    place, classes = (scores > CONFIDENCE).nonzero(as_tuple=True)
    chosen = scores[place, classes]
    if len(chosen) > CANDIDATES:
        order = chosen.argsort(descending=True, stable=True)[:CANDIDATES]
        place, classes, chosen = place[order], classes[order], chosen[order]
    corners = torch.cat((centre - extent / 2, centre + extent / 2), dim=1)
    return corners[place], chosen, classes


def suppressed(corners: Tensor, scores: Tensor, classes: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Non-maximum suppression within each class; always complete, and always torchvision's own kernel.

    ultralytics' stops after a time limit and returns the rest of a batch empty (its issue 25954), and takes another
    path where torchvision happens not to be imported yet (25022).
    """
    from torchvision.ops import batched_nms

    kept = batched_nms(corners, scores, classes, SUPPRESSION)[:KEPT]
    return corners[kept], scores[kept], classes[kept]


def load_network(file: Path, device: torch.device) -> tuple[nn.Module, tuple[str, ...], tuple[int, int] | None, int]:
    """Network, class names, its fixed input (width, height) or None, and stride.

    `.safetensors` are the weights that `bench train detector` writes; everything else is opened by ultralytics, which
    runs code from `.pt` files: only files from a source you trust.
    """
    quiet()
    if not file.is_file():
        raise FileNotFoundError(f"the detector {file} does not exist")
    if file.suffix == ".safetensors":
        network, names = _load_own(file)
        return _Output(network.to(device).eval()), names, None, 32
    from ultralytics.nn.autobackend import AutoBackend

    try:
        backend: Any = AutoBackend(str(file), device=device, fp16=False, verbose=False)
    except ModuleNotFoundError as error:
        extra = "; pip install 'lowlight-bench[onnx]'" if "onnx" in str(error) else ""
        raise ImportError(f"{file.name} needs {error.name or error}{extra}") from error
    except Exception as error:
        raise ValueError(f"{file} cannot be loaded as a detector by ultralytics: {error}") from error
    if getattr(backend, "task", "detect") != "detect":
        raise ValueError(f"{file} is made for the task {backend.task!r}, not for detection")
    names = backend.names
    ordered = tuple(str(names[place]) for place in sorted(names)) if isinstance(names, Mapping) else tuple(names)
    stride = int(max(backend.stride)) if isinstance(backend.stride, (Sequence, Tensor)) else int(backend.stride)
    sides = getattr(backend, "imgsz", None)
    fixed = None
    if file.suffix != ".pt" and not getattr(backend, "dynamic", False) and sides:
        fixed = (int(sides[1]), int(sides[0]))
    single = file.suffix != ".pt" and not getattr(backend, "dynamic", False) and getattr(backend, "batch", 1) == 1
    return _Output(backend.eval(), one_by_one=single), ordered, fixed, max(stride, 32)


class _Output(nn.Module):
    """A network's detections as one tensor, whatever else it returns."""

    def __init__(self, network: nn.Module, one_by_one: bool = False) -> None:
        super().__init__()
        self.network = network
        self.one_by_one = one_by_one

    def forward(self, pictures: Tensor) -> Tensor:
        if self.one_by_one and len(pictures) > 1:
            return torch.cat([self.forward(one[None]) for one in pictures])
        output = self.network(pictures)
        first: Tensor = output[0] if isinstance(output, (list, tuple)) else output
        return first


def _load_own(file: Path) -> tuple[nn.Module, tuple[str, ...]]:
    """A network whose weights `bench train detector` wrote; raises ValueError for another file."""
    from safetensors import SafetensorError, safe_open

    quiet()
    from ultralytics.nn.tasks import DetectionModel

    try:
        with safe_open(file, framework="pt") as stored:
            about = json.loads((stored.metadata() or {}).get("training", "{}"))
            state = {name: stored.get_tensor(name) for name in stored.keys()}  # noqa: SIM118 - not a mapping
    except (SafetensorError, ValueError) as error:
        raise ValueError(f"{file} is no whole safetensors file: {error}") from error
    if "architecture" not in about or "classes" not in about:
        raise ValueError(f"{file} holds no detector of `bench train detector`")
    names = tuple(about["classes"])
    network: Any = DetectionModel(about["architecture"], ch=3, nc=len(names), verbose=False)
    network.load_state_dict({name: one.float() if one.is_floating_point() else one for name, one in state.items()})
    return network.fuse(verbose=False), names


def quiet() -> None:
    """Keep ultralytics from installing packages, from the network and from the terminal; before its import."""
    os.environ.setdefault("YOLO_AUTOINSTALL", "false")
    os.environ.setdefault("YOLO_OFFLINE", "true")
    os.environ.setdefault("YOLO_VERBOSE", "false")
    # Imported first, so that nothing of it depends on who was imported before.
    import torchvision  # noqa: F401
