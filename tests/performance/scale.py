"""Ratios of issue-sized runs, measured side by side in one sitting: the whole pass against a plain loop, and scale.

Run `python tests/performance/scale.py [PART ...]`; parts: pass, overhead, jobs, recheck, report, memory, tables, curve.
Absolute times are this machine's; ratios are what to look at.
"""

from __future__ import annotations

import argparse
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from hashlib import sha256
from pathlib import Path

import numpy as np
import torch
from metrics import opposing, peak_mib
from PIL import Image
from torchvision.models import alexnet

from bench import config, provenance, result
from bench.image import read_rgb
from bench.lineup import lineup
from bench.metrics.lpips import BACKBONE
from bench.plan import plan
from bench.runner import Trace, run
from bench.store import Score, Store

CPU = torch.device("cpu")
PASS = 100
OVERHEAD = 200
JOBS = 1200
COUNTS = (10, 100, 1000, 10_000)
SMALL = (192, 192)
"""Width and height of the pictures of the parts that need thousands of them."""
METRICS = "psnr,ssim,fsim,niqe_refit,brisque_refit,sseq_refit"


def pairs(folder: Path, count: int, size: tuple[int, int] = (600, 400)) -> Path:
    """`count` pairs of one photograph, each a little different, low and high."""
    from skimage import data

    photograph = Image.fromarray(data.coffee()).resize(size, Image.Resampling.BICUBIC)
    high = np.asarray(photograph)
    for name in ("low", "high"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    for index in range(count):
        shifted = np.roll(high, index % high.shape[1], axis=1).copy()
        shifted[0, 0] = (index % 251, index // 251 % 251, 0)  # no two files are equal
        low = np.round(shifted * 0.3).astype(np.uint8)
        for name, picture in (("low", low), ("high", shifted)):
            Image.fromarray(picture).save(folder / name / f"{index:05}.png", compress_level=1)
    return folder


def passed(folder: Path, out: Path, **keys: object) -> tuple[float, Trace, Path]:
    """Seconds of a run's computation, its stages and its folder; planning and reports are left out."""
    words = {
        "methods": "input",
        "datasets": f"folder:{folder}",
        "metrics": METRICS,
        "thumbnails": 0,
        "out": out,
        **keys,
    }
    chosen = config.load(None, words)
    trace = Trace(profile=True)
    with Store(chosen.run.out) as store:
        planned = plan(lineup(chosen, store.sha256), chosen.run.protocol, "cpu", 0)
        result.keep(store, planned, provenance.manifest(planned, chosen, CPU, ["scale"]), 0)
        for _ in run(planned, store, chosen.run, CPU, trace):
            pass
    return trace.wall, trace, out


UNTRAINED = """
from bench.contracts import ParameterFile
from bench.metrics.lpips import LPIPS

class Untrained(LPIPS):
    label = "LPIPS (untrained)"
    files = (ParameterFile("{name}", "{digest}", "", ""),)

    def __init__(self, option, files, device):
        super().__init__(option, {{"{backbone}": files["{name}"]}}, device)
"""


def untrained_lpips(work: Path) -> Path:
    """LPIPS but for AlexNet's weights, which are random for us and for pyiqa: as fast as trained ones."""
    checkpoints = work / "hub" / "checkpoints"
    checkpoints.mkdir(parents=True)
    torch.save(alexnet(weights=None).state_dict(), checkpoints / BACKBONE.name)
    torch.hub.set_dir(work / "hub")
    own = work / "alexnet-untrained.pth"
    own.write_bytes((checkpoints / BACKBONE.name).read_bytes())
    digest = sha256(own.read_bytes()).hexdigest()
    (work / "untrained.py").write_text(UNTRAINED.format(name=own.name, digest=digest, backbone=BACKBONE.name))
    os.environ["BENCH_PARAMETERS"] = os.pathsep.join((os.environ.get("BENCH_PARAMETERS", ""), str(work)))
    return work / "untrained.py"


def part_pass(work: Path) -> None:
    """The whole pass against what people write: save a PNG, read it, ask pyiqa (BENCH_PARAMETERS has its files)."""
    folder = pairs(work / "pass", PASS)
    metrics = f"{METRICS},{untrained_lpips(work)}"
    models = {name: opposing(name, CPU) for name in ("psnr", "ssimc", "fsim", "niqe", "brisque", "lpips")}
    ours = {}
    for name, words in {"without": METRICS, "with": metrics}.items():
        passed(folder, work / f"warm-{name}", limit=1, metrics=words)
        ours[name], _, _ = passed(folder, work / name, metrics=words)
    loop = dict.fromkeys(models, 0.0)
    begun = time.perf_counter()
    for low in sorted((folder / "low").iterdir()):
        saved = work / "saved.png"
        Image.open(low).convert("RGB").save(saved)
        enhanced, reference = read_rgb(saved)[None], read_rgb(folder / "high" / low.name)[None]
        for name, model in models.items():
            start = time.perf_counter()
            with torch.no_grad():
                float(model(enhanced, reference))
            loop[name] += time.perf_counter() - start
    plain = time.perf_counter() - begun
    told = ", ".join(f"{name} {seconds / PASS * 1000:.0f} ms" for name, seconds in loop.items())
    print(f"plain loop    {plain / PASS * 1000:8.1f} ms a picture ({told})")
    for name, theirs in {"with": plain, "without": plain - loop["lpips"]}.items():
        spent = ours[name] / PASS * 1000
        print(f"whole pass    {spent:8.1f} ms a picture {name} LPIPS: {theirs / ours[name]:.1f}x")


def part_overhead(work: Path) -> None:
    """What the harness takes besides enhancing and scoring."""
    folder = pairs(work / "overhead", OVERHEAD)
    passed(folder, work / "warm2", limit=1)
    whole, trace, _ = passed(folder, work / "overhead-run")
    useful = sum(taken for stage, taken in trace.seconds.items() if stage.startswith(("enhance", "score")))
    for stage, taken in sorted(trace.seconds.items(), key=lambda item: -item[1]):
        print(f"  {stage:<24}{taken / OVERHEAD * 1000:8.2f} ms a picture {taken / whole:8.1%}")
    print(f"overhead      {(whole - useful) / whole:8.1%} of the whole pass")


def part_jobs(work: Path) -> None:
    """Two workers against one process that is held to one core, as each of the two has; the start counts as well."""
    folder = pairs(work / "jobs", JOBS)
    command = [*COMMAND, f"folder:{folder}", "--workers", "1", "--out"]
    one = _timed([*command, str(work / "one")], cores={0})
    two = _timed([*command, str(work / "two"), "--jobs", "2"])
    idle = _timed([*command, str(work / "one")], cores={0})
    print(f"one process   {one:8.1f} s for {JOBS} pictures, of which {idle:.1f} s are start, planning and tables")
    print(f"two           {two:8.1f} s")
    print(f"ratio         {one / two:8.2f}x, without those {(one - idle) / (two - idle):.2f}x")


COMMAND = [
    *(sys.executable, "-m", "bench.cli", "run", "--methods", "input", "--metrics", METRICS),
    *("--thumbnails", "0", "--reports", "csv", "--datasets"),
]


def _timed(command: list[str], cores: set[int] | None = None) -> float:
    def hold() -> None:
        if cores is not None:
            os.sched_setaffinity(0, cores)

    begun = time.perf_counter()
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    subprocess.run(command, env=environment, check=True, capture_output=True, preexec_fn=hold)
    return time.perf_counter() - begun


def part_recheck(work: Path) -> None:
    """A finished plan of 10,000 records is looked through again."""
    folder = pairs(work / "recheck", 10_000, (32, 32))
    out = work / "recheck-run"
    passed(folder, out, metrics="psnr")
    begun = time.perf_counter()
    with Store(out) as store:
        chosen = config.load(
            None, {"methods": "input", "datasets": f"folder:{folder}", "metrics": "psnr", "thumbnails": 0, "out": out}
        )
        planned = plan(lineup(chosen, store.sha256), chosen.run.protocol, "cpu", 0)
        steps = list(run(planned, store, chosen.run, CPU, Trace()))
    seconds = time.perf_counter() - begun
    assert steps[-1].done == 10_000
    print(f"re-check      {seconds:8.2f} s for 10,000 records, files' digests remembered")


def part_report(work: Path) -> None:
    """A report of 10 methods x 500 pictures without pictures."""
    folder = pairs(work / "report", 500, SMALL)
    methods = "input,gamma,gamma:1.5,gamma:2,gamma:2.5,gamma:3,he,clahe,clahe:3,clahe:4"
    out = work / "report-run"
    passed(folder, out, methods=methods, metrics="psnr,ssim,brisque_refit")
    begun = time.perf_counter()
    with Store(out, readonly=True) as store:
        finished = result.load(store)
        result.write(finished, result.build_reports(("html", "latex", "markdown", "csv", "records")))
    print(f"report        {time.perf_counter() - begun:8.2f} s for 10 x 500 records of 3 metrics")


def part_memory(work: Path) -> None:
    """The peak of a fresh process on 100 and on 10,000 pictures."""
    peaks = {}
    for count in (100, 10_000):
        folder = pairs(work / f"memory-{count}", count, SMALL)
        words = [*COMMAND, f"folder:{folder}", "--out", str(work / f"memory-run-{count}")]
        code = (
            "import sys; from metrics import peak_mib; from bench.cli import app; "
            "\ntry: app(sys.argv[1:])\nexcept SystemExit: pass\n"
            "print('peak', int(peak_mib()))"
        )
        command = [sys.executable, "-c", code, *words[3:]]
        done = subprocess.run(command, check=True, capture_output=True, text=True, cwd=Path(__file__).parent)
        peaks[count] = int(done.stdout.rsplit("peak ", 1)[1])
        print(f"peak          {peaks[count]:8} MiB on {count} pictures, tables included")
    print(f"difference    {peaks[10_000] - peaks[100]:8} MiB")


def part_tables(work: Path) -> None:
    """Table and all reports of 10 methods x 10,000 pictures x 7 metrics, whose values are drawn at random."""
    for count in (100, 10_000):
        folder = pairs(work / f"tables-{count}", count, (32, 32))
        code = f"import sys; from pathlib import Path; import scale; scale.{{}}(Path({str(folder)!r}))"
        for name in ("fill", "tabulate"):
            command = [sys.executable, "-c", code.format(name)]
            done = subprocess.run(command, check=True, capture_output=True, text=True, cwd=Path(__file__).parent)
        print(done.stdout.strip())


def fill(folder: Path) -> None:
    """A finished run into folder/run, as if it had been computed."""
    methods = "input,gamma,gamma:1.5,gamma:2,gamma:2.5,gamma:3,he,clahe,clahe:3,clahe:4"
    words = {"methods": methods, "datasets": f"folder:{folder}", "metrics": f"{METRICS},ssim_y", "thumbnails": 0}
    chosen = config.load(None, {**words, "out": folder / "run"})
    generator = np.random.default_rng(0)
    with Store(chosen.run.out) as store:
        planned = plan(lineup(chosen, store.sha256), chosen.run.protocol, "cpu", 0)
        result.keep(store, planned, provenance.manifest(planned, chosen, CPU, ["scale"]), 0)
        for job in planned.jobs:
            pictures = [
                (sample.id, digest) for sample, digest in zip(job.material.samples, job.material.digests, strict=True)
            ]
            for key in job.score_keys.values():
                drawn = generator.normal(size=len(pictures)).tolist()
                scores = [Score(key, *names, value, None, 0.001) for names, value in zip(pictures, drawn, strict=True)]
                store.add(scores, [], [], [], [])


def tabulate(folder: Path) -> None:
    """Read that run and write its reports."""
    begun = time.perf_counter()
    with Store(folder / "run", readonly=True) as store:
        finished = result.load(store)
        result.write(finished, result.build_reports(("html", "latex", "markdown", "csv", "records")))
    seconds = time.perf_counter() - begun
    print(f"tables        {seconds:8.1f} s, peak {peak_mib():.0f} MiB for {len(finished.records):,} records")


def part_curve(work: Path) -> None:
    """Seconds of a whole command against pictures and workers, drawn into docs/scale.svg."""
    seconds: dict[int, list[float]] = {}
    for jobs in (1, 2, 4):
        seconds[jobs] = []
        for count in COUNTS:
            folder = work / f"curve-{count}"
            if not folder.exists():
                pairs(folder, count, SMALL)
            out = work / f"curve-run-{count}-{jobs}"
            words = [*COMMAND, f"folder:{folder}", "--workers", "1", "--out", str(out), "--jobs", str(jobs)]
            seconds[jobs].append(_timed(words))
            print(f"{count:>8} pictures, {jobs} worker(s): {seconds[jobs][-1]:8.1f} s", flush=True)
    draw(seconds, Path(__file__).parents[2] / "docs" / "scale.svg")


def draw(seconds: Mapping[int, list[float]], path: Path) -> None:
    """Time against pictures, one line for each number of workers, beside a line of proportion."""
    import matplotlib

    matplotlib.use("svg")
    matplotlib.rcParams |= {"svg.hashsalt": "scale", "svg.fonttype": "none"}
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(6, 3.6), layout="constrained")
    for jobs, taken in seconds.items():
        axes.loglog(COUNTS, taken, marker="o", label=f"{jobs} worker" + "s" * (jobs > 1))
    proportion = [seconds[1][-1] * count / COUNTS[-1] for count in COUNTS]
    axes.loglog(COUNTS, proportion, color="grey", linestyle=":", label="in proportion to 10,000 on one")
    axes.set_xlabel(f"pictures of {SMALL[0]}x{SMALL[1]}, six metrics")
    axes.set_ylabel("seconds, start and tables included")
    axes.legend(frameon=False)
    figure.savefig(path, metadata={"Date": None, "Creator": None})


PARTS: Mapping[str, Callable[[Path], None]] = {
    "pass": part_pass,
    "overhead": part_overhead,
    "jobs": part_jobs,
    "recheck": part_recheck,
    "report": part_report,
    "memory": part_memory,
    "tables": part_tables,
    "curve": part_curve,
}


def main() -> None:
    """Run the parts that are named, or all but the curve."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", choices=[*PARTS, []], metavar="PART")
    chosen = parser.parse_args().parts or [name for name in PARTS if name != "curve"]
    print(
        f"{provenance.describe(CPU)}, {torch.get_num_threads()} thread(s), torch {torch.__version__}, "
        f"{platform.machine()}"
    )
    for name in chosen:
        print(f"\n{name}: {PARTS[name].__doc__}")
        with tempfile.TemporaryDirectory() as folder:
            PARTS[name](Path(folder))


if __name__ == "__main__":
    main()
