"""A tiny result written by hand; run as a script, it writes the golden files beside itself.

    python tests/golden/tiny.py

No test writes them. After a change of a report, write them, read the difference by eye, and only then commit it.
"""

from __future__ import annotations

import sys
from base64 import b64decode
from pathlib import Path
from tempfile import TemporaryDirectory

from bench.contracts import Cell, Column, Comparison, MethodRow, Ranking, Record, Result, Table

PNG = b64decode("iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAAAAAA6fptVAAAACklEQVR4nGNgAAAAAgABSK+kcQAAAABJRU5ErkJggg==")
"""One black pixel."""
HOSTILE = "a_b&c%$#{}~^\\<script>|"
INF = float("inf")
NO_FILE = "alexnet.pth is not on this machine"
CRASH = "ValueError: <b> & 50 % of C:\\x_1 | $y$\nsecond line"

INPUT = MethodRow("input", "Input", "none")
GAMMA = MethodRow("gamma:2.2", "Gamma", "classical")
HOST = MethodRow("outputs:h", HOSTILE, "outputs")
PSNR = Column("tiny", "Tiny & co", "native-8bit", "psnr", "PSNR", True, "dB", 2, "RGB, peak 255")
LPIPS = Column("tiny", "Tiny & co", "native-8bit", "lpips", "LPIPS", False, "", 3, "AlexNet, scaled to [−1, 1]")
DETECTED = "native-8bit+pretrained-yolo_n-640x480"
MAP = Column(
    "tiny", "Tiny & co, detection", DETECTED, "map", "mAP@[.5:.95]", True, "", 3, "average precision, 101 levels"
)
PERSON = Column(
    "tiny", "Tiny & co, detection", DETECTED, "ap:person", "person (2)", True, "", 3, "AP of persons", "", "AP by class"
)
NIQE = Column("dark", "Dark_1", "384x384-8bit", "niqe", "NIQE", False, "", 2, "96×96 blocks, σ = 7/6")


def _record(method: MethodRow, column: Column, image: str, value: float | None, error: str | None = None) -> Record:
    return Record(method.method, column.dataset, column.protocol, image, column.metric, value, error, 0.25)


RECORDS = (
    _record(INPUT, PSNR, "1", 7.0),
    _record(INPUT, PSNR, "10", 9.0),
    _record(INPUT, PSNR, "2", 8.0),
    _record(GAMMA, PSNR, "1", 14.0),
    _record(GAMMA, PSNR, "10", INF),
    _record(GAMMA, PSNR, "2", 16.1),
    _record(HOST, PSNR, "1", 20.5),
    _record(HOST, PSNR, "10", None, CRASH),
    _record(HOST, PSNR, "2", None, CRASH),
    _record(INPUT, NIQE, "x", 6.0),
    _record(INPUT, NIQE, "y", 7.0),
    _record(GAMMA, NIQE, "x", 4.0),
    _record(GAMMA, NIQE, "y", 4.5),
    _record(HOST, NIQE, "x", None, "no picture x.png"),
    _record(HOST, NIQE, "y", None, "no picture y.png"),
)

_ABSENT = Cell(None, 0, 0, 0, None, None, NO_FILE, None, "")
CELLS = {
    ("input", PSNR): Cell(8.0, 3, 0, 0, 7.0, 8.666666666666666, None, 3, ""),
    ("gamma:2.2", PSNR): Cell(15.05, 2, 0, 1, 14.0, 16.1, "1 of 3 infinite, left out of the mean", 2, "tie"),
    ("outputs:h", PSNR): Cell(20.5, 1, 2, 0, None, None, f"2 of 3 failed: {CRASH}", 1, "tie"),
    ("input", LPIPS): _ABSENT,
    ("gamma:2.2", LPIPS): _ABSENT,
    ("outputs:h", LPIPS): _ABSENT,
    ("input", MAP): Cell(0.402, 3, 0, 0, 0.3, 0.5, None, 1, "tie"),
    ("gamma:2.2", MAP): Cell(0.338, 3, 0, 0, 0.25, 0.45, None, 2, "tie", 0, -0.064, -0.12, 0.01),
    ("outputs:h", MAP): Cell(None, 0, 0, 0, None, None, "needs a detector: --detector FILE", None, ""),
    ("input", PERSON): Cell(0.5, 3, 0, 0, 0.4, 0.6, None, 2, ""),
    ("gamma:2.2", PERSON): Cell(0.75, 3, 0, 0, 0.6, 0.9, None, 1, "best", 0, 0.25, 0.125, 0.375),
    ("outputs:h", PERSON): Cell(None, 0, 0, 0, None, None, "needs a detector: --detector FILE", None, ""),
    ("input", NIQE): Cell(6.5, 2, 0, 0, 6.0, 7.0, None, 2, ""),
    ("gamma:2.2", NIQE): Cell(4.25, 2, 0, 0, 4.0, 4.5, None, 1, "best"),
    ("outputs:h", NIQE): Cell(None, 0, 2, 0, None, None, "no picture x.png", None, ""),
}

RANKINGS = (
    Ranking((PSNR,), "pictures", 3, ("gamma:2.2", "input"), (1.0, 2.0), ("outputs:h",)),
    Ranking((NIQE,), "pictures", 2, ("gamma:2.2", "input"), (1.0, 2.0), ("outputs:h",)),
)
"""The third method has no value on most pictures."""
PAIRWISE = (
    Comparison(PSNR, "input", "gamma:2.2", 3, 0, 0, 3, "sign", 0.25, 0.25, -1.0, -7.55),
    Comparison(NIQE, "input", "gamma:2.2", 2, 0, 0, 2, "sign", 0.5, 0.5, -1.0, 2.25),
)

MANIFEST = {
    "version": "0.1.0",
    "commit": "0123456789abcdef0123456789abcdef01234567",
    "dirty": True,
    "created": "2026-01-02T03:04:05+00:00",
    "command": "bench run --methods input,gamma:2.2",
    "device": "cpu",
    "torch": "2.11.0",
    "python": "3.11.7",
    "protocol": {"name": "native-8bit", "size": "native", "rounding": "8bit"},
    "seed": 0,
    "methods": {"outputs:h": {"note": "</script><b>"}},
}


def tiny_result(folder: Path) -> Result:
    """The result; its thumbnails are written into `folder`."""
    picture = folder / "pixel.png"
    picture.write_bytes(PNG)
    kept = [("low", "1"), ("gamma:2.2", "1"), ("outputs:h", "1"), ("reference", "1"), ("low", "2"), ("reference", "2")]
    return Result(
        table=Table((INPUT, GAMMA, HOST), (PSNR, LPIPS, MAP, PERSON, NIQE), CELLS, (), RANKINGS, PAIRWISE),
        records=RECORDS,
        manifest=MANIFEST,
        folder=folder,
        thumbnails={("tiny", image, method): picture for method, image in kept},
    )


if __name__ == "__main__":
    here = Path(__file__).resolve().parent
    sys.path.insert(0, str(here.parent.parent))
    from bench import plugins
    from bench.contracts import Report

    with TemporaryDirectory() as scratch:
        for name in plugins.names(Report):
            report = plugins.load(Report, plugins.Spec.parse(name))()
            (here / report.filename).write_text(report.render(tiny_result(Path(scratch))), encoding="utf-8", newline="")
