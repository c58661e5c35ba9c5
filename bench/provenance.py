"""Where a run's numbers come from: commit, versions, device, SHA-256 of weights, parameters and file lists."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from hashlib import sha256
from importlib import metadata
from pathlib import Path
from typing import Any

import torch

import bench
from bench.config import Config
from bench.lineup import digest_of
from bench.plan import Plan

PACKAGES = (
    "torch",
    "torchvision",
    "numpy",
    "scipy",
    "pillow",
    "opencv-python-headless",
    "lpips",
    "pyiqa",
    "scikit-image",
    "scikit-learn",
    "ultralytics",
    "pycocotools",
    "faster-coco-eval",
    "pysodmetrics",
    "onnxruntime",
    "pandas",
)
"""Packages that values can depend on."""


def manifest(plan: Plan, config: Config, device: torch.device, command: Sequence[str]) -> dict[str, Any]:
    """Everything that is needed to repeat a run, as JSON values."""
    commit, dirty = revision()
    methods = {job.method.name: job.method for job in plan.jobs}
    materials = {job.material.name: job.material for job in plan.jobs}
    return {
        "version": bench.__version__,
        "commit": commit,
        "dirty": dirty,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": " ".join(command),
        "python": platform.python_version(),
        "platform": platform.platform(terse=True),
        "torch": torch.__version__,
        "packages": versions(),
        "device": describe(device),
        "threads": torch.get_num_threads(),
        "seed": config.run.seed,
        "protocol": {"name": plan.protocol.name, "size": plan.protocol.size, "rounding": plan.protocol.rounding},
        "methods": {
            name: {
                "label": method.adapter.label,
                "kind": method.adapter.kind,
                "source": method.adapter.source,
                "digest": method.digest,
                # A folder of pictures made elsewhere may hold thousands of files; one digest stands for them.
                "files": dict(method.files) if len(method.files) <= 8 else {"all": digest_of(*method.files.values())},
            }
            for name, method in methods.items()
        },
        "datasets": {
            name: {
                "label": material.dataset.label,
                "origin": material.dataset.origin,
                "pictures": len(material.samples),
                "digest": material.digest,
                "files": digest_of(*(sample.id for sample in material.samples), *material.digests),
            }
            for name, material in materials.items()
        },
        "metrics": {
            measure.name: {
                "label": measure.metric.label,
                "definition": measure.metric.definition,
                "source": measure.metric.source,
                "digest": measure.digest,
                "files": {file.name: file.sha256 for file in measure.metric.files},
                "missing": measure.missing,
            }
            for measure in plan.measures
        },
        "tasks": [
            {
                "task": exam.examination.name,
                "dataset": exam.material.name,
                "protocol": exam.protocol,
                "source": exam.examination.task.source,
                "digest": exam.examination.digest,
                "models": {
                    method: digest
                    for (dataset, method), digest in exam.examination.models.items()
                    if dataset == exam.material.name
                },
            }
            for exam in plan.exams
        ],
    }


def revision() -> tuple[str | None, bool | None]:
    """Commit of the checkout the package runs from, and whether its files differ from it; (None, None) elsewhere."""
    root = Path(bench.__file__).resolve().parent.parent
    if not (root / ".git").exists():
        return None, None
    try:
        commit = _git(root, "rev-parse", "HEAD").strip()
        return commit, bool(_git(root, "status", "--porcelain", "--untracked-files=no").strip())
    except (OSError, subprocess.SubprocessError):
        return None, None


def versions() -> Mapping[str, str]:
    """Versions of the installed packages that values can depend on."""
    found: dict[str, str] = {}
    for package in PACKAGES:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return found


def describe(device: torch.device) -> str:
    """The device in words, e.g. 'cpu (2 cores)' or 'cuda:0 (NVIDIA H200)'."""
    if device.type == "cuda":
        return f"{device} ({torch.cuda.get_device_name(device)})"
    return f"{device} ({os.cpu_count()} cores)"


def sha256_of_files(paths: Iterable[Path]) -> list[str]:
    """SHA-256 of each file, read whole every time; a run's store remembers them instead."""
    return [sha256(path.read_bytes()).hexdigest() for path in paths]


def command_line() -> list[str]:
    """What the user typed, with the program's name instead of its place."""
    return ["bench", *sys.argv[1:]]


def _git(root: Path, *words: str) -> str:
    done = subprocess.run(["git", "-C", str(root), *words], capture_output=True, text=True, check=True, timeout=10)
    return done.stdout
