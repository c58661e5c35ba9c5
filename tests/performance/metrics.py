"""Prints how long each metric takes next to pyiqa and scikit-image on the same pictures, and what a batch needs.

Run `python tests/performance/metrics.py --threads 1` with BENCH_PARAMETERS naming the folder of the parameter files; a
metric whose file is not at hand is listed with the reason, and pyiqa fetches nothing here. Times are the fastest of
several turns on one 600x400 pair, all programs taking turns in one process; differences are the largest relative ones
over three pairs. The memory is the growth of a fresh process's peak after its imports.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import platform
import resource
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from bench import parameters, plugins
from bench.contracts import Metric
from bench.planes import Planes
from bench.plugins import Spec
from bench.provenance import describe

OPPONENTS = {
    "psnr": "psnr",
    "ssim": "ssimc",
    "fsim": "fsim",
    "lpips": None,  # both run the lpips package's network, there is nothing to compare
    "niqe": "niqe",
    "brisque": "brisque",
    "sseq": None,
}
"""Our metric and pyiqa's."""
BATCH = 8
Scorer = Callable[[Tensor, Tensor], Tensor]
"""Enhanced, reference -> value."""


def main() -> None:
    """The table, its sum, the memory of a batch."""
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--threads", type=int, default=1)
    arguments.add_argument("--turns", type=int, default=7)
    arguments.add_argument("--device", default="cpu")
    arguments.add_argument("--memory", action="store_true", help="only print the MiB that a batch adds")
    options = arguments.parse_args()
    torch.set_num_threads(options.threads)
    device = torch.device(options.device)
    if options.memory:
        print(f"{growth(device):.0f}")
        return
    versions = ", ".join(f"{name} {version(name)}" for name in ("torch", "pyiqa", "scikit-image"))
    print(f"{describe(device)}, {options.threads} thread(s); Python {platform.python_version()}, {versions}")
    print(f"600x400, batch 1, {device}, fastest of {options.turns} turns\n")
    print(f"{'metric':8}{'ours ms':>9}  {'against':13}{'ms':>9}{'ratio':>8}{'difference':>12}")
    totals = [0.0, 0.0]
    summed = []
    for name, opponent in OPPONENTS.items():
        try:
            ours = scorer(name, device)
        except parameters.ParameterError as error:
            print(f"{name:8}not measured: {str(error).partition(' in ')[0]}")
            continue
        others = {f"pyiqa {opponent}": opposing(opponent, device)} if opponent else {}
        if name == "ssim":
            others["scikit-image"] = scikit_ssim
        mine, *theirs = fastest([ours, *others.values()], options.turns, device)
        if not others:
            print(f"{name:8}{mine:9.1f}  -")
        for (label, other), taken in zip(others.items(), theirs, strict=True):
            differs = difference(ours, other, device)
            print(f"{name:8}{mine:9.1f}  {label:13}{taken:9.1f}{taken / mine:7.1f}x{differs:12.1e}")
        if opponent:
            totals = [totals[0] + mine, totals[1] + theirs[0]]
            summed.append(name)
    print(
        f"{'sum':8}{totals[0]:9.1f}  {'pyiqa':13}{totals[1]:9.1f}{totals[1] / totals[0]:7.1f}x  of {', '.join(summed)}"
    )
    command = [sys.executable, __file__, "--memory", "--threads", str(options.threads), "--device", options.device]
    added = subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()
    print(f"\nall of ours on a batch of {BATCH} at 600x400: peak memory {added} MiB above the imports")


def photograph() -> np.ndarray:
    """The 600x400 photograph of scikit-image."""
    from skimage import data

    return data.coffee().astype(np.float64)


def pair(device: torch.device, share: float = 0.3, noise: float = 4) -> tuple[Tensor, Tensor]:
    """A spoilt version (less light, noise) and the photograph, as 8-bit pictures hold them."""
    good = photograph()
    spoilt = np.clip(np.round(good * share + np.random.default_rng(0).normal(0, noise, good.shape)), 0, 255)
    enhanced, reference = (torch.from_numpy(one).permute(2, 0, 1)[None].float() / 255 for one in (spoilt, good))
    return enhanced.to(device), reference.to(device)


def scorer(name: str, device: torch.device) -> Scorer:
    """Our metric on fresh planes, so that nothing is left over from the turn before."""
    metric = plugins.load(Metric, Spec.parse(name))
    files = {file.name: parameters.find(file, {}) for file in metric.files}
    built = metric("", files, device)
    return lambda enhanced, reference: built.score(
        Planes(enhanced), Planes(reference) if built.needs_reference else None
    )


def opposing(name: str, device: torch.device) -> Scorer:
    """pyiqa's metric, NIQE and BRISQUE with the same official parameters as ours."""
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        import pyiqa

        options = {}
        if name == "niqe":
            from bench.metrics.niqe import PRISTINE

            options["pretrained_model_path"] = str(parameters.find(PRISTINE, {}))
        if name == "lpips":
            options["pretrained"] = False  # the linear layers, which are as fast at random
        if name == "brisque":
            from bench.metrics._support_vectors import read_regression
            from bench.metrics.brisque import MODEL

            machine = read_regression(parameters.find(MODEL, {}))
            with tempfile.TemporaryDirectory() as folder:
                file = Path(folder) / "machine.pth"
                torch.save((machine.coefficients, machine.vectors), file)
                metric = pyiqa.create_metric(name, device=device, pretrained_model_path=str(file))
        else:
            metric = pyiqa.create_metric(name, device=device, **options)
    if name in ("niqe", "brisque"):
        return lambda enhanced, reference: metric(enhanced)
    return metric


def scikit_ssim(enhanced: Tensor, reference: Tensor) -> Tensor:
    """scikit-image's SSIM under our definition; it averages over the same valid region."""
    from skimage.metrics import structural_similarity

    one, other = ((each[0] * 255).round().byte().permute(1, 2, 0).cpu().numpy() for each in (enhanced, reference))
    definition = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False, "channel_axis": -1}
    return torch.tensor(structural_similarity(one, other, data_range=255, **definition))


def fastest(functions: list[Scorer], turns: int, device: torch.device) -> list[float]:
    """Milliseconds of each function's fastest turn, called in alternation after a warm-up."""
    enhanced, reference = pair(device)
    best = [float("inf")] * len(functions)
    for turn in range(turns + 1):
        for index, function in enumerate(functions):
            start = time.perf_counter()
            function(enhanced, reference)
            if device.type == "cuda":
                torch.cuda.synchronize(device)
            if turn:
                best[index] = min(best[index], 1000 * (time.perf_counter() - start))
    return best


def difference(ours: Scorer, theirs: Scorer, device: torch.device) -> float:
    """Largest relative difference over three pairs: dark with noise, darker without, slightly noisy."""
    pairs = [pair(device, share, noise) for share, noise in ((0.3, 4), (0.15, 0), (1.0, 8))]
    values = [(ours(*each).item(), float(theirs(*each))) for each in pairs]
    return max(abs(mine / other - 1) for mine, other in values)


def growth(device: torch.device) -> float:
    """MiB by which the process's peak grows while all our metrics at hand score one batch, pictures included."""
    metrics = [plugins.load(Metric, Spec.parse(name)) for name in OPPONENTS]
    built = []
    for metric in metrics:
        with contextlib.suppress(parameters.ParameterError):
            built.append(metric("", {file.name: parameters.find(file, {}) for file in metric.files}, device))
    pair(device)
    before = peak_mib()
    enhanced, reference = (Planes(one.repeat(BATCH, 1, 1, 1)) for one in pair(device))
    for metric in built:
        metric.score(enhanced, reference if metric.needs_reference else None)
    added = peak_mib() - before
    pictures = sum(planes.rgb.nbytes for planes in (enhanced, reference)) / 2**20
    if added < pictures:
        raise RuntimeError(
            f"the peak grew by {added:.0f} MiB, the pictures alone have {pictures:.0f}: not a measurement"
        )
    return added


def peak_mib() -> float:
    """The process's largest resident memory so far."""
    # Not ru_maxrss on Linux: a process inherits it from the one that started it, here one that has run pyiqa.
    status = Path("/proc/self/status")
    if status.exists():
        return next(int(line.split()[1]) for line in status.read_text().splitlines() if line.startswith("VmHWM")) / 1024
    unit = 1 if sys.platform == "darwin" else 1024  # bytes there, KiB elsewhere
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 2**20


if __name__ == "__main__":
    main()
