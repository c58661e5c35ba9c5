"""Enhance, detect and score from memory against the same work through saved PNGs and ultralytics' `yolo val`.

    python tests/performance/detection.py [--pictures N] [--method NAME] [--detector FILE]

Photographs and detector are those of BENCH_SHARED_DATA (coco128, YOLOv8n as int8 ONNX). Both sides run in this
process, one after the other, with the same number of threads.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import tempfile
import time
from pathlib import Path

import torch

from bench import config, image, lineup, plan, plugins, result, runner, work
from bench.contracts import Adapter, Dataset
from bench.plugins import Spec
from bench.store import Store

SHARED = Path(os.environ.get("BENCH_SHARED_DATA", Path(__file__).resolve().parents[3] / "shared" / "data"))
CPU = torch.device("cpu")


def ours(folder: Path, method: str, detector: Path, count: int) -> tuple[float, float]:
    """Pictures per second of a whole run with its table, and its mAP."""
    run = {"methods": (method,), "datasets": ("coco_dark",), "metrics": ("none",), "limit": count, "thumbnails": 0}
    chosen = config.load(
        None,
        {**run, "tasks": ("detection",), "device": "cpu"},
        (f"coco_dark={SHARED / 'coco' / 'coco128'}",),
        (),
        {"detection": {"model": str(detector), "size": "640x640"}},
    )
    start = time.perf_counter()
    with Store(folder / "run") as store:
        planned = plan.plan(lineup.lineup(chosen, store.sha256), chosen.run.protocol, "cpu", 0)
        # The row without enhancement is no part of the comparison.
        planned = plan.replace(planned, jobs=tuple(job for job in planned.jobs if job.method.name == method))
        result.keep(store, planned, {"seed": 0}, 0)
        for _ in runner.run(planned, store, chosen.run, CPU, runner.Trace()):
            pass
        found = result.load(store)
    seconds = time.perf_counter() - start
    score = next(column for column in found.table.columns if column.metric == "map")
    return count / seconds, float(found.table.cells[method, score].mean or 0)


def through_files(folder: Path, method: str, detector: Path, count: int) -> tuple[float, float]:
    """The same through PNGs: enhance and save each, then YOLO(detector).val over the folder."""
    from ultralytics import YOLO

    dataset = plugins.load(Dataset, Spec.parse("coco_dark"))("", SHARED / "coco" / "coco128")
    adapter = lineup.build_method(method, config.Config(), lambda paths: [str(path) for path in paths]).adapter
    assert isinstance(adapter, Adapter)
    start = time.perf_counter()
    images, labels = folder / "images", folder / "labels"
    images.mkdir()
    labels.mkdir()
    places = {name: place for place, name in enumerate(dataset.classes)}
    for sample in dataset.samples()[:count]:
        enhanced = work.enhance(adapter, dataset.load(sample).low[None], "coco_dark", [sample.id], 0)[0]
        image.write_png(images / f"{sample.id}.png", enhanced)
        truth = dataset.truth(sample)
        assert truth.boxes is not None
        lines = []
        for (left, top, right, bottom), name in zip(truth.boxes.corners.tolist(), truth.boxes.names, strict=True):
            width, height = truth.size
            box = ((left + right) / 2 / width, (top + bottom) / 2 / height)
            box += ((right - left) / width, (bottom - top) / height)
            lines.append(f"{places[name]} " + " ".join(f"{one:.6f}" for one in box))
        (labels / f"{sample.id}.txt").write_text("\n".join(lines))
    data = folder / "data.yaml"
    names = "".join(f"  {place}: {json.dumps(name)}\n" for name, place in places.items())
    data.write_text(f"path: {folder}\ntrain: images\nval: images\nnames:\n{names}")
    found = YOLO(str(detector), task="detect").val(
        data=str(data), imgsz=640, batch=1, workers=0, device="cpu", plots=False, verbose=False, project=str(folder)
    )
    return count / (time.perf_counter() - start), float(found.box.map)


def main() -> None:
    """Print pictures per second of both and their ratio."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pictures", type=int, default=64)
    parser.add_argument("--method", default="zero_dce")
    parser.add_argument("--detector", type=Path, default=SHARED / "weights" / "detection" / "yolov8n_int8.onnx")
    words = parser.parse_args()
    for variable in ("YOLO_AUTOINSTALL", "YOLO_OFFLINE"):
        os.environ.setdefault(variable, {"YOLO_AUTOINSTALL": "false"}.get(variable, "true"))
    rows = []
    for name, measure in (("in memory", ours), ("through PNG and yolo val", through_files)):
        folder = Path(tempfile.mkdtemp())
        try:
            measure(folder, words.method, words.detector, 2)  # imports and first calls
            shutil.rmtree(folder)
            folder.mkdir()
            rows.append((name, *measure(folder, words.method, words.detector, words.pictures)))
        finally:
            shutil.rmtree(folder, ignore_errors=True)
    print(f"{words.pictures} pictures of coco128, {words.method}, {words.detector.name}")
    print(f"{torch.get_num_threads()} threads, torch {torch.__version__}")
    for name, speed, score in rows:
        print(f"{name:26} {speed:6.2f} pictures/s   mAP {score:.3f}")
    print(f"ratio {rows[0][1] / rows[1][1]:.2f}")


if __name__ == "__main__":
    main()
