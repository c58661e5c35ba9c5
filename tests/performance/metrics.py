"""Prints how long each metric takes next to pyiqa on the same picture, in one run: python tests/performance/metrics.py

Reference points only where pyiqa has the metric and its file is at hand (BENCH_PARAMETERS for NIQE and BRISQUE); pyiqa
fetches nothing here. Times are the fastest of several turns, ours and pyiqa's in alternation, on one 600x400 pair.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from bench import parameters, plugins
from bench.contracts import Metric
from bench.planes import Planes
from bench.plugins import Spec

OPPONENTS = {"psnr": "psnr", "ssim": "ssimc", "fsim": "fsim", "niqe": "niqe", "brisque": "brisque", "sseq": None}


def main() -> None:
    """One line per metric: our milliseconds, pyiqa's, the ratio."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--threads", type=int, default=1)
    arguments.add_argument("--turns", type=int, default=7)
    arguments.add_argument("--device", default="cpu")
    options = arguments.parse_args()
    torch.set_num_threads(options.threads)
    device = torch.device(options.device)
    reference, enhanced = pair(device)
    print(f"600x400, batch 1, {device}, {options.threads} thread(s), fastest of {options.turns} turns")
    print(f"{'metric':8} {'ours ms':>9} {'pyiqa ms':>9} {'ratio':>7}")
    for name, opponent in OPPONENTS.items():
        try:
            ours = scorer(name, enhanced, reference, device)
        except parameters.ParameterError as error:
            print(f"{name:8} not measured: {error}")
            continue
        theirs = opposing(opponent, enhanced, reference, device) if opponent else None
        mine, other = fastest([ours, *([theirs] if theirs else [])], options.turns, device)
        print(f"{name:8} {mine:9.1f} " + (f"{other:9.1f} {other / mine:6.1f}x" if theirs else f"{'-':>9} {'-':>7}"))


def pair(device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
    """A photograph and its darkened, noisy version, as 8-bit pictures hold them."""
    from skimage import data

    photograph = data.coffee().astype(np.float64)
    dark = np.clip(np.round(photograph * 0.3 + np.random.default_rng(0).normal(0, 4, photograph.shape)), 0, 255)
    both = [torch.from_numpy(one).permute(2, 0, 1)[None].float() / 255 for one in (photograph, dark)]
    return both[0].to(device), both[1].to(device)


def scorer(name: str, enhanced: torch.Tensor, reference: torch.Tensor, device: torch.device) -> Callable[[], object]:
    """Our metric on fresh planes, so that nothing is left over from the turn before."""
    metric = plugins.load(Metric, Spec.parse(name))
    files = {file.name: parameters.find(file, {}) for file in metric.files}
    built = metric("", files, device)
    return lambda: built.score(Planes(enhanced), Planes(reference) if built.needs_reference else None)


def opposing(
    name: str, enhanced: torch.Tensor, reference: torch.Tensor, device: torch.device
) -> Callable[[], object] | None:
    """pyiqa's metric, NIQE and BRISQUE with the same official parameters as ours."""
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        import pyiqa

        options = {}
        if name == "niqe":
            from bench.metrics.niqe import PRISTINE

            options["pretrained_model_path"] = str(parameters.find(PRISTINE, {}))
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
    pictures = (enhanced,) if name in ("niqe", "brisque") else (enhanced, reference)
    return lambda: metric(*pictures)


def fastest(functions: list[Callable[[], object]], turns: int, device: torch.device) -> tuple[float, float]:
    """Milliseconds of the fastest turn of one or two functions, called in alternation after a warm-up."""
    best = [float("inf"), float("inf")]
    for turn in range(turns + 1):
        for index, function in enumerate(functions):
            start = time.perf_counter()
            function()
            if device.type == "cuda":
                torch.cuda.synchronize(device)
            if turn:
                best[index] = min(best[index], 1000 * (time.perf_counter() - start))
    return best[0], best[1]


if __name__ == "__main__":
    main()
