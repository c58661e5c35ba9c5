"""Prints how long detections take to score next to pycocotools, on the COCO API's example of 100 pictures.

Run `python tests/performance/coco_evaluation.py` with BENCH_SHARED_DATA naming the folder of reference data. Times are
the median of several turns, all in one process and in alternation. Ours include what comes before the evaluation
(matching, COCO's tables and index); pycocotools' start with both files read and indexed.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import os
import platform
import statistics
import sys
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from bench.provenance import describe
from bench.tasks._coco import Detections, Evaluation, Objects

ROOT = Path(__file__).resolve().parents[2]
TRUTH, RESULTS = "instances_val2014_100.json", "instances_val2014_fakebbox100_results.json"


def main() -> None:
    """The table: one evaluation, then many resamples of it."""
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--turns", type=int, default=7)
    arguments.add_argument("--resamples", type=int, default=1000)
    options = arguments.parse_args()
    folder = Path(os.environ.get("BENCH_SHARED_DATA", ROOT.parent / "shared" / "data")) / "cocoeval"
    if not (folder / TRUTH).is_file():
        sys.exit(f"{folder / TRUTH} does not exist; BENCH_SHARED_DATA names the folder that holds cocoeval/")
    objects, detections, classes = example(folder)
    pictures = len(objects)
    evaluation = Evaluation(objects, detections, classes)
    weights = (
        np.random.default_rng(0)
        .multinomial(pictures, np.full(pictures, 1 / pictures), size=options.resamples)
        .astype(np.float64)
    )
    theirs = reference(folder)

    versions = ", ".join(f"{name} {version(name)}" for name in ("numpy", "faster-coco-eval", "pycocotools"))
    print(f"{describe(torch.device('cpu'))}; Python {platform.python_version()}, {versions}")
    print(f"{pictures} pictures, {classes} classes, {sum(len(one.scores) for one in detections)} detections, ", end="")
    print(f"median of {options.turns} turns\n")
    turns = medians(
        {
            "pycocotools": theirs,
            "matching": lambda: Evaluation(objects, detections, classes),
            "figures": evaluation.coco_figures,
            "resamples": lambda: Evaluation(objects, detections, classes).average_precision(weights),
        },
        options.turns,
    )
    ours = turns["matching"] + turns["figures"]
    each = turns["resamples"] / options.resamples
    print(f"{'':34}{'ms':>9}{'pycocotools':>13}{'ratio':>8}")
    print(f"{'matching (NumPy)':34}{turns['matching']:9.2f}")
    print(row("12 figures (C++)", turns["figures"], turns["pycocotools"]))
    print(row("both", ours, turns["pycocotools"]))
    print(row(f"AP of {options.resamples} resamples, per resample", each, turns["pycocotools"]))
    figures = theirs()
    differences = {
        "12 figures": np.abs(evaluation.coco_figures() - figures).max(),
        "AP under weights of 1": abs(evaluation.average_precision(np.ones((1, pictures))).item() - figures[0]),
    }
    print("\nlargest difference to pycocotools:", ", ".join(f"{name} {by:.1e}" for name, by in differences.items()))


def row(name: str, ours: float, theirs: float) -> str:
    """One line of the table."""
    return f"{name:34}{ours:9.2f}{theirs:13.1f}{theirs / ours:7.1f}x"


def medians(functions: dict[str, Callable[[], object]], turns: int) -> dict[str, float]:
    """Milliseconds of each function's median turn, called in alternation after a warm-up."""
    taken: dict[str, list[float]] = {name: [] for name in functions}
    for turn in range(turns + 1):
        for name, function in functions.items():
            start = time.perf_counter()
            function()
            if turn:
                taken[name].append(1000 * (time.perf_counter() - start))
    return {name: statistics.median(times) for name, times in taken.items()}


def reference(folder: Path) -> Callable[[], np.ndarray]:
    """The 12 figures by pycocotools, the files read beforehand."""
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO(str(folder / TRUTH))
        results = truth.loadRes(str(folder / RESULTS))

    def figures() -> np.ndarray:
        with contextlib.redirect_stdout(io.StringIO()):
            evaluation = COCOeval(truth, results, "bbox")
            evaluation.evaluate()
            evaluation.accumulate()
            evaluation.summarize()
        return np.asarray(evaluation.stats)

    return figures


def example(folder: Path) -> tuple[list[Objects], list[Detections], int]:
    """The files' pictures in order of their numbers, and how many classes there are."""
    truth, results = (json.loads((folder / name).read_text()) for name in (TRUTH, RESULTS))
    places = {one: place for place, one in enumerate(sorted(each["id"] for each in truth["categories"]))}
    pictures = sorted(each["id"] for each in truth["images"])
    there, found = (
        [[each for each in rows if each["image_id"] == picture] for picture in pictures]
        for rows in (truth["annotations"], results)
    )
    objects = [
        Objects(
            corners(rows),
            np.array([places[each["category_id"]] for each in rows], dtype=np.int64),
            np.array([each["iscrowd"] for each in rows], dtype=bool),
            np.array([each["area"] for each in rows], dtype=np.float64),
        )
        for rows in there
    ]
    detections = [
        Detections(
            corners(rows),
            np.array([each["score"] for each in rows], dtype=np.float64),
            np.array([places[each["category_id"]] for each in rows], dtype=np.int64),
        )
        for rows in found
    ]
    return objects, detections, len(places)


def corners(rows: list[dict[str, Any]]) -> np.ndarray:
    """(M, 4): left, top, right, bottom from COCO's left, top, width, height."""
    boxes = np.array([each["bbox"] for each in rows], dtype=np.float64).reshape(-1, 4)
    return np.concatenate([boxes[:, :2], boxes[:, :2] + boxes[:, 2:]], axis=1)


if __name__ == "__main__":
    main()
