"""Where a run's numbers come from: code, versions, machine, configuration, SHA-256 of every file that counts."""

from __future__ import annotations

import contextlib
import os
import platform
import re
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from hashlib import sha256
from importlib import metadata
from pathlib import Path
from typing import Any

import torch

import bench
from bench.config import Config
from bench.image import is_remote, path_of
from bench.lineup import Method, digest_of
from bench.plan import Plan
from bench.plugins import Spec
from bench.work import exact_convolutions

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


ENVIRONMENT = re.compile(
    r"(OMP|MKL|KMP|GOMP|DNNL|ONEDNN|OPENBLAS|BLIS|NUMEXPR|VECLIB|ATEN|TORCH|PYTORCH|CUDA|CUDNN|CUBLAS|NVIDIA|BENCH)_.+"
)
"""Environment variables that can change values or speed."""
SET_BY_LIBRARIES = frozenset({"KMP_DUPLICATE_LIB_OK", "KMP_INIT_AT_FORK", "TORCH_CPP_LOG_LEVEL"})
"""Those that scikit-learn and ultralytics set when they are imported, whatever the user says."""

SURROUNDINGS = (
    "version",
    "commit",
    "dirty",
    "changes",
    "core",
    "python",
    "platform",
    "torch",
    "packages",
    "device",
    "threads",
    "machine",
    "switches",
    "environment",
)
"""Keys of a manifest that hold for whatever is computed, not for what the run asks for."""


def manifest(plan: Plan, config: Config, device: torch.device, command: Sequence[str]) -> dict[str, Any]:
    """Everything that is needed to repeat a run, as JSON values."""
    methods = {job.method.name: job.method for job in plan.jobs}
    materials = {job.material.name: job.material for job in plan.jobs}
    return {
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": " ".join(command),
        **surroundings(device),
        "seed": config.run.seed,
        "protocol": {"name": plan.protocol.name, **asdict(plan.protocol)},
        "configuration": configuration(plan, config),
        "methods": {
            name: {
                "label": method.adapter.label,
                "kind": method.adapter.kind,
                "source": method.adapter.source,
                "digest": method.digest,
                "code": method.code,
                "option": method.adapter.option,
                "files": files_of(method),
            }
            for name, method in methods.items()
        },
        "datasets": {
            name: {
                "label": material.dataset.label,
                "origin": material.dataset.origin,
                "pictures": len(material.samples),
                "digest": material.digest,
                "code": material.code,
                "option": material.dataset.option,
                "files": digest_of(*(sample.id for sample in material.samples), *material.digests),
                "truths": material.truth_digest,
            }
            for name, material in materials.items()
        },
        "metrics": {
            measure.name: {
                "label": measure.metric.label,
                "definition": measure.metric.definition,
                "source": measure.metric.source,
                "digest": measure.digest,
                "code": measure.code,
                "option": measure.option,
                "files": {file.name: measure.parameters.get(file.name, file.sha256) for file in measure.metric.files},
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
                "code": exam.examination.code,
                "option": exam.examination.task.option,
                "size": exam.examination.task.size_given,
                "models": {
                    method: digest
                    for (dataset, method), digest in exam.examination.models.items()
                    if dataset == exam.material.name
                },
            }
            for exam in plan.exams
        ],
    }


def surroundings(device: torch.device) -> dict[str, Any]:
    """Code, libraries and machine that compute now, by the names of SURROUNDINGS, as JSON values."""
    commit, dirty = revision()
    values = (
        bench.__version__,
        commit,
        dirty,
        changes() if dirty else None,
        core_digest(),
        platform.python_version(),
        platform.platform(terse=True),
        str(torch.__version__),
        dict(versions()),
        describe(device),
        torch.get_num_threads(),
        machine(device),
        switches(),
        environment(os.environ),
    )
    return dict(zip(SURROUNDINGS, values, strict=True))


def earlier(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[dict[str, Any]]:
    """What a resumed run's first records may have been computed with: `before` is its manifest until `now`.

    One entry for each earlier command whose surroundings were others, holding those that differ from now.
    """
    found = [dict(one) for one in before.get("earlier", ())]
    differ = {name: before.get(name) for name in SURROUNDINGS if before.get(name) != now.get(name)}
    if differ:
        found.append({"created": before.get("created"), "command": before.get("command"), **differ})
    return found


def files_of(method: Method) -> dict[str, str]:
    """SHA-256 of a method's files by name; one digest stands for a folder of pictures made elsewhere."""
    return dict(method.files) if len(method.files) <= 8 else {"all": digest_of(*method.files.values())}


def configuration(plan: Plan, config: Config) -> dict[str, Any]:
    """What `bench rerun` builds the run from again: every key of [run], and where what took part lay.

    Places are absolute, with ~ for the user's home.
    """
    datasets = {job.material.name: job.material.dataset for job in plan.jobs}
    methods = {job.method.name: job.method.adapter for job in plan.jobs}
    metrics = [measure.name for measure in plan.measures]
    tasks = {exam.examination.name: exam.examination.task for exam in plan.exams}
    roots = {Spec.parse(name).name: one.root for name, one in datasets.items() if one.root is not None}
    weights = {name: place for name in methods if (place := config.weights(Spec.parse(name))) is not None}
    files = [*(measure.files for measure in plan.measures), *(task.found for task in tasks.values())]
    folders = [name for name, one in datasets.items() if one.option and not one.needs_root and not one.training_split]
    folders += [name for name, one in methods.items() if one.kind == "outputs"]
    read = {name: Spec.parse(config.places.get(name, name)) for name in (*datasets, *methods, *metrics)}
    places = {name: spec.path for name, spec in read.items() if spec.path is not None}
    places |= {name: path_of(read[name].option) for name in folders if name not in places}
    return {
        "run": config.run.model_dump(mode="json"),
        "datasets": {name: homely(root) for name, root in roots.items()},
        "methods": {name: homely(place) for name, place in weights.items()},
        "tasks": {name: {"model": _model(task.option), "size": task.size_given} for name, task in tasks.items()},
        "parameters": {name: homely(place) for each in files for name, place in each.items()},
        "places": {name: homely(place) for name, place in places.items()},
    }


def homely(place: Path) -> str:
    """A path as an absolute one, with ~ for the user's home, so that a published manifest does not name the user."""
    if is_remote(place):
        return str(place)
    absolute, home = Path(os.path.abspath(place.expanduser())), Path.home()
    return str(Path("~") / absolute.relative_to(home)) if absolute.is_relative_to(home) else str(absolute)


def _model(text: str) -> str:
    """A task's model with its path in full: FILE, finetuned:DIR, maps:DIR."""
    kind, colon, path = text.rpartition(":")
    return f"{kind}{colon}{homely(Path(path))}" if path else text


def machine(device: torch.device) -> dict[str, Any]:
    """Processor, and on CUDA the GPU with its driver; None where this machine does not say."""
    gpu = torch.cuda.get_device_properties(device) if device.type == "cuda" else None
    return {
        "cpu": _cpu(),
        "cores": os.cpu_count(),
        "capability": torch.backends.cpu.get_cpu_capability(),
        "gpu": gpu and gpu.name,
        "compute": gpu and f"{gpu.major}.{gpu.minor}",
        "driver": gpu and _driver(),
        "cuda": torch.version.cuda if gpu else None,
        "cudnn": torch.backends.cudnn.version() if gpu else None,  # type: ignore[no-untyped-call]
    }


def switches() -> dict[str, Any]:
    """Settings of torch that change values or speed, as they are while a run computes."""
    with exact_convolutions():
        return {
            "interop threads": torch.get_num_interop_threads(),
            "deterministic algorithms": torch.are_deterministic_algorithms_enabled(),
            "matmul precision": torch.get_float32_matmul_precision(),
            "matmul TF32": torch.backends.cuda.matmul.allow_tf32,
            "cuDNN deterministic": torch.backends.cudnn.deterministic,
            "cuDNN benchmark": torch.backends.cudnn.benchmark,
            "cuDNN TF32": torch.backends.cudnn.allow_tf32,
            "oneDNN": torch.backends.mkldnn.is_available(),  # type: ignore[no-untyped-call]
        }


def environment(variables: Mapping[str, str]) -> dict[str, str]:
    """Those of the environment variables that can change values or speed, with ~ for the user's home."""
    home = str(Path.home())
    names = sorted(name for name in variables if ENVIRONMENT.fullmatch(name) and name not in SET_BY_LIBRARIES)
    found = {name: variables[name] for name in names}
    return {name: value.replace(home, "~") if len(home) > 1 else value for name, value in found.items()}


def changes() -> dict[str, Any] | None:
    """Tracked files of the checkout that differ from the commit, and a digest of how; None where git does not say."""
    root = Path(bench.__file__).resolve().parent.parent
    try:
        names = _git(root, "diff", "HEAD", "--name-only", "--no-ext-diff", "-z").split("\0")
        difference = _git(root, "diff", "HEAD", "--binary", "--no-ext-diff", "--no-color", "--no-textconv")
    except (OSError, subprocess.SubprocessError):
        return None
    return {"files": sorted(filter(None, names)), "digest": digest_of(difference)}


def core_digest() -> str:
    """SHA-256 over the source of the core, which every value depends on; plug-ins have digests of their own."""
    files = sorted(Path(bench.__file__).resolve().parent.glob("*.py"))
    return digest_of(*(text for file in files for text in (file.name, sha256(file.read_bytes()).hexdigest())))


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


def _cpu() -> str | None:
    """The processor's name; the kind of processor where the system does not name it."""
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines():
            name, _, value = line.partition(":")
            if name.strip() == "model name":
                return value.strip()
    return platform.processor() or platform.machine() or None


def _driver() -> str | None:
    """Version of the NVIDIA driver, which torch does not tell."""
    with contextlib.suppress(OSError):
        return driver_version(Path("/proc/driver/nvidia/version").read_text(encoding="utf-8", errors="replace"))
    words = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
    try:
        return subprocess.run(words, capture_output=True, text=True, check=True, timeout=10).stdout.split()[0]
    except (OSError, subprocess.SubprocessError, IndexError):
        return None


def driver_version(text: str) -> str | None:
    """The version in what the driver writes into /proc/driver/nvidia/version."""
    found = re.search(r"Kernel Module\b.*?\s(\d+(?:\.\d+)+)\s", text)
    return found[1] if found else None


def _git(root: Path, *words: str) -> str:
    done = subprocess.run(["git", "-C", str(root), *words], capture_output=True, check=True, timeout=10)
    # Not strict: a diff holds whatever bytes the files hold.
    return done.stdout.decode("utf-8", errors="replace")
