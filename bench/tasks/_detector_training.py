"""A detector trained by ultralytics on the pictures of a data set, and stored as ours: safetensors with metadata."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from bench.contracts import Scene
from bench.image import write_png
from bench.training import Adjustable

from ._detector import quiet

TRACKERS = ("clearml", "comet", "dvc", "mlflow", "raytune", "tensorboard", "wandb")
"""Programs that ultralytics reports to where they are installed."""


@dataclass(frozen=True, kw_only=True)
class DetectorSettings(Adjustable):
    """What is handed to ultralytics; whatever is not named here has its default there."""

    architecture: str = "yolo11n.yaml"
    """A model description that ultralytics carries, trained from scratch; unused with --start."""
    epochs: int = 100
    batch_size: int = 16
    size: int = 640
    """Longer side of the pictures that the network learns from."""
    learning_rate: float = 0.001
    """At the start, of AdamW."""
    mosaic: float = 1.0
    """Chance of putting four pictures together."""


def fit(
    learned: Iterable[Scene],
    held_out: Iterable[Scene],
    classes: Sequence[str],
    settings: DetectorSettings,
    start: Path | None,
    out: Path,
    name: str,
    seed: int,
    device: torch.device,
    notes: Mapping[str, Any],
) -> Path:
    """Train and write `out/<name>.safetensors` in half precision; pictures and ultralytics' log stay in `out`.

    Raises ValueError for pictures whose objects are not annotated.
    """
    quiet()
    from ultralytics import YOLO
    from ultralytics.utils import SETTINGS

    # In memory alone, the user's file stays: what else is installed here is not told of this training.
    dict.update(SETTINGS, dict.fromkeys(TRACKERS, False))
    data = _write_pictures({"train": learned, "val": held_out}, classes, out / "pictures")
    model: Any = YOLO(str(start) if start else settings.architecture, task="detect", verbose=False)
    model.train(
        data=str(data),
        epochs=settings.epochs,
        batch=settings.batch_size,
        nbs=settings.batch_size,  # a step after every batch; by default gradients of 64 pictures are gathered
        imgsz=settings.size,
        lr0=settings.learning_rate,
        optimizer="AdamW",
        mosaic=settings.mosaic,
        seed=seed,
        deterministic=True,
        device=str(device),
        amp=device.type == "cuda",
        project=str(out.resolve()),
        name="ultralytics",
        exist_ok=True,
        plots=False,
        workers=0,
        cache="ram",
        verbose=False,
    )
    return _store(Path(model.trainer.last), classes, settings, out / f"{name}.safetensors", {**notes, "seed": seed})


def _write_pictures(parts: Mapping[str, Iterable[Scene]], classes: Sequence[str], folder: Path) -> Path:
    """The layout that ultralytics reads: images/, labels/ with normalised boxes, and data.yaml."""
    places = {name: place for place, name in enumerate(classes)}
    for part, scenes in parts.items():
        images, labels = folder / "images" / part, folder / "labels" / part
        images.mkdir(parents=True, exist_ok=True)
        labels.mkdir(parents=True, exist_ok=True)
        for name, picture, truth in scenes:
            if truth.boxes is None:
                raise ValueError(f"{name}: its objects are not annotated; a detector cannot learn from it")
            stem = name.replace("/", "_")
            write_png(images / f"{stem}.png", picture)
            width, height = truth.size
            lines = []
            boxes = zip(truth.boxes.corners.tolist(), truth.boxes.names, truth.boxes.ignored.tolist(), strict=True)
            for (left, top, right, bottom), kind, ignored in boxes:
                if not ignored:
                    centre = (left + right) / 2 / width, (top + bottom) / 2 / height
                    extent = (right - left) / width, (bottom - top) / height
                    lines.append(" ".join([str(places[kind]), *(f"{one:.6f}" for one in (*centre, *extent))]))
            (labels / f"{stem}.txt").write_text("\n".join(lines) + "\n" * bool(lines), encoding="utf-8")
    data = folder / "data.yaml"
    lines = [f"path: {json.dumps(str(folder.resolve()))}", "train: images/train", "val: images/val", "names:"]
    lines += [f"  {place}: {json.dumps(name)}" for place, name in enumerate(classes)]
    data.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return data


def _store(
    checkpoint: Path, classes: Sequence[str], settings: DetectorSettings, target: Path, notes: Mapping[str, Any]
) -> Path:
    """The averaged network of ultralytics' last checkpoint, in half precision."""
    import ultralytics
    from safetensors.torch import save

    stored = torch.load(checkpoint, map_location="cpu", weights_only=False)  # written a moment ago by fit
    network = stored.get("ema") or stored["model"]
    state = {name: one.half() if one.is_floating_point() else one for name, one in network.float().state_dict().items()}
    about = {
        **notes,
        "architecture": {key: value for key, value in network.yaml.items() if key != "yaml_file"},
        "classes": list(classes),
        "settings": settings.as_dict(),
        "stored": "float16",
        "torch": torch.__version__.partition("+")[0],
        "ultralytics": ultralytics.__version__,
        "validation": {
            key.removeprefix("metrics/").removesuffix("(B)"): round(float(value), 4)
            for key, value in (stored.get("train_metrics") or {}).items()
            if key.startswith("metrics/")
        },
    }
    partial = target.with_suffix(".partial")
    partial.write_bytes(save(state, {"training": json.dumps(about, sort_keys=True)}))
    os.replace(partial, target)
    return target
