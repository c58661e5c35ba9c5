"""Benchmark of low-light image enhancement methods: every number with its protocol."""

from pathlib import Path

__version__ = "0.1.0"

_root = Path(__file__).resolve().parent.parent
if (_root / "bench.toml").is_file():
    # A checkout (or an editable install of one): adapters/, datasets/ and reports/ stand beside this folder and are
    # reached as bench.adapters, bench.datasets and bench.reports, as in the wheel.
    __path__.append(str(_root))
