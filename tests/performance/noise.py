"""Prints how far values move between thread counts, kernels, processors and library versions: the noise floors.

    python tests/performance/noise.py --root lol=DIR [--python NAME=INTERPRETER ...] [--out FILE]
    python tests/performance/noise.py --show FILE [FILE ...]

A first process (1 thread, one picture at a time) enhances and scores; every cause is a further process that differs
from it in one respect, so that settings which a library reads once at its start take effect. 'scores' are of the
pictures that the first process saved, scored elsewhere; 'chain' are of pictures enhanced elsewhere and then scored
there, as two runs of `bench run` differ. `--python` adds the interpreter of another environment as a cause; a GPU is a
cause of its own where there is one. `--show` prints what several measurements kept as one.

BENCH_PARAMETERS names the folder of the metrics' files. LPIPS whose backbone is not there is measured with random
weights: the arithmetic is the same, the values are not LPIPS.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

import torch
from torch import Tensor

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from bench import config, image, plan, plugins, provenance, result, runner
from bench.contracts import Adapter, Metric
from bench.lineup import Lineup, lineup
from bench.plugins import Spec
from bench.store import Store
from bench.views import slug

METHODS = "gamma,he,clahe,lime,zero_dce,sci,lw_drgn,neid"
DATASETS = "lol,demo,nightscenes"
KINDS = {"scores": "the same pictures, scored elsewhere", "chain": "enhanced and scored elsewhere"}
BACKBONES = {"lpips": "alexnet", "lpips_vgg": "vgg16"}
"""torchvision's network under a metric whose file may be missing."""
SEED = 0

AVX512 = "AVX512F AVX512CD AVX512_SKX AVX512_CLX AVX512_CNL AVX512_ICL AVX512_SPR X86_V4"
AVX = "AVX F16C FMA3 AVX2 X86_V3"
"""NumPy's names of what its 2.3 and its 2.4 choose at run time; it ignores those it does not know."""


class Cause(NamedTuple):
    """What one process does differently from the first."""

    environment: Mapping[str, str] = {}
    settings: Mapping[str, Any] = {}
    python: str = sys.executable


def threads(count: int) -> Cause:
    """This many threads in torch, OpenMP, OpenBLAS and OpenCV."""
    words = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
    return Cause(dict.fromkeys(words, str(count)), {"threads": count})


CAUSES: Mapping[str, Cause] = {
    "again": Cause(),
    "2 threads": threads(2),
    "8 threads": threads(8),
    "batch of 4": Cause(settings={"batch": 4}),
    "channels last": Cause(settings={"channels_last": True}),
    "no oneDNN": Cause(settings={"onednn": False}),
    # Older processors: every library falls back to what it has for them.
    "AVX2": Cause(
        {
            "ATEN_CPU_CAPABILITY": "avx2",
            "ONEDNN_MAX_CPU_ISA": "AVX2",
            "MKL_CBWR": "AVX2",
            "OPENBLAS_CORETYPE": "Haswell",
            "NPY_DISABLE_CPU_FEATURES": AVX512,
            "OPENCV_CPU_DISABLE": "AVX512-SKX",
        }
    ),
    "SSE": Cause(
        {
            "ATEN_CPU_CAPABILITY": "default",
            "ONEDNN_MAX_CPU_ISA": "SSE41",
            "MKL_CBWR": "COMPATIBLE",
            "OPENBLAS_CORETYPE": "Nehalem",
            "NPY_DISABLE_CPU_FEATURES": f"{AVX512} {AVX}",
            "OPENCV_CPU_DISABLE": "AVX512-SKX,AVX2,FP16,AVX",
        }
    ),
}
GPU: Mapping[str, Cause] = {
    "cuda": Cause(settings={"device": "cuda"}),
    "cuda, batch of 4": Cause(settings={"device": "cuda", "batch": 4}),
}
FIRST = threads(1)


class Moved(NamedTuple):
    """One value under one cause."""

    cause: str
    kind: str
    metric: str
    where: str
    """Data set, method and picture; without a picture for a score over all of them."""
    apart: float
    """Absolute difference to the first process's value."""


class Flipped(NamedTuple):
    """How the pictures of one method differ under one cause."""

    cause: str
    method: str
    values: int
    """8-bit values compared."""
    different: int
    furthest: int
    """In levels of 0 .. 255."""


def main() -> None:
    """Measure and keep, or show what was kept."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--methods", default=METHODS)
    parser.add_argument("--datasets", default=DATASETS)
    parser.add_argument("--metrics", default=None, help="all that are shipped if absent")
    parser.add_argument("--tasks", default="auto")
    parser.add_argument("--root", action="append", default=[], metavar="NAME=DIR")
    parser.add_argument("--limit", type=int, default=2, help="pictures per data set")
    parser.add_argument("--causes", default=None, help="comma-separated, all if absent")
    parser.add_argument("--python", action="append", default=[], metavar="NAME=INTERPRETER")
    parser.add_argument("--out", type=Path, help="keep what was measured")
    parser.add_argument("--show", type=Path, nargs="+", metavar="FILE")
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    words = parser.parse_args()
    if words.worker:
        work(json.loads(words.worker))
        return
    if words.show:
        kept = [json.loads(file.read_text()) for file in words.show]
    else:
        kept = [measure(words)]
        if words.out:
            words.out.write_text(json.dumps(kept[0]))
    show(kept)


def measure(words: argparse.Namespace) -> dict[str, Any]:
    """Every cause against the first process, as JSON values."""
    causes = {**CAUSES, **(GPU if torch.cuda.is_available() else {})}
    if words.causes is not None:
        causes = {name: causes[name] for name in words.causes.split(",") if name}
    for each in words.python:
        name, _, interpreter = each.partition("=")
        causes[name] = Cause(python=interpreter)
    order = {
        "methods": [name for name in words.methods.split(",") if name != "input"],
        "datasets": words.datasets.split(","),
        "metrics": words.metrics or ",".join(name for name in plugins.names(Metric) if name != "pyiqa"),
        "tasks": words.tasks,
        "roots": words.root,
        "limit": words.limit,
    }
    moved: list[Moved] = []
    flipped: list[Flipped] = []
    other_versions: dict[str, dict[str, str]] = {}
    with tempfile.TemporaryDirectory() as folder:
        first, pictures = started(FIRST, order, Path(folder), "first")
        for name, cause in causes.items():
            other, others = started(cause, {**order, "saved": str(pictures)}, Path(folder), name)
            moved += differences(name, first["values"], other["values"])
            flipped += flips(name, pictures, others)
            changed = {key: number for key, number in other["versions"].items() if number != first["versions"].get(key)}
            if cause.python != sys.executable:
                other_versions[name] = changed
    return {
        "machine": first["machine"],
        "versions": first["versions"],
        "other versions": other_versions,
        "order": order,
        "moved": moved,
        "flipped": flipped,
    }


def started(cause: Cause, order: Mapping[str, Any], folder: Path, name: str) -> tuple[dict[str, Any], Path]:
    """What the process of a cause found, and the folder of its pictures."""
    place = folder / slug(name)
    base = {"threads": 1, "batch": 1, "channels_last": False, "onednn": True, "device": "cpu", "saved": None}
    wanted = {**base, **order, **cause.settings, "folder": str(place), "stand_ins": str(folder)}
    environment = {**os.environ, **FIRST.environment, **cause.environment}
    begun = time.perf_counter()
    command = [cause.python, str(Path(__file__).resolve()), "--worker", json.dumps(wanted)]
    subprocess.run(command, check=True, env=environment)
    print(f"{name}: {time.perf_counter() - begun:.0f} s", file=sys.stderr, flush=True)
    found: dict[str, Any] = json.loads((place / "found.json").read_text())
    return found, place / "chain"


def work(order: Mapping[str, Any]) -> None:
    """In a process of its own: run, and write what was found into the order's folder."""
    import cv2

    torch.set_num_threads(order["threads"])
    cv2.setNumThreads(order["threads"])
    torch.backends.mkldnn.enabled = order["onednn"]
    folder, saved = Path(order["folder"]), order["saved"]
    chain = passed(order, order["datasets"], {name: name for name in order["methods"]}, "chain")
    values = {"chain": chain, "scores": {} if saved else chain}
    for dataset in order["datasets"] if saved else ():
        places = {name: Path(saved, slug(dataset), slug(name)) for name in order["methods"]}
        methods = {f"outputs:{place}": name for name, place in places.items()}
        values["scores"] |= passed(order, [dataset], methods, f"scores-{slug(dataset)}")
    found = {"values": values, "machine": provenance.describe(torch.device(order["device"])), "versions": versions()}
    (folder / "found.json").write_text(json.dumps(found))


def versions() -> dict[str, str]:
    """Of Python and of every package that values can depend on."""
    return {"python": platform.python_version(), **provenance.versions()}


def passed(
    order: Mapping[str, Any], datasets: list[str], methods: Mapping[str, str], name: str
) -> dict[str, float | None]:
    """One run: its values by 'metric|data set|method|picture', the methods under their names in `methods`."""
    out, device = Path(order["folder"]) / "runs" / name, torch.device(order["device"])
    keys = {"methods": tuple(methods), "datasets": tuple(datasets), "metrics": order["metrics"], "out": out}
    more = {"tasks": order["tasks"], "limit": order["limit"], "batch": order["batch"], "save_images": True}
    chosen = config.load(None, {**keys, **more, "thumbnails": 0, "seed": SEED}, tuple(order["roots"]))
    with Store(out) as store:
        members = with_backbones(lineup(chosen, store.sha256), Path(order["stand_ins"]))
        if order["channels_last"]:
            for method in members.methods:
                relay(method.adapter)
        planned = plan.plan(members, chosen.run.protocol, device.type, SEED)
        result.keep(store, planned, {"seed": SEED}, 0)
        for _ in runner.run(planned, store, chosen.run, device, runner.Trace()):
            pass
        found = result.load(store)
    (out / "images").rename(Path(order["folder"]) / name)
    called = {**methods, "input": "input"}
    values = {f"{one.metric}|{one.dataset}|{called[one.method]}|{one.image}": one.value for one in found.records}
    single = {one.metric for one in found.records if one.value is not None}
    for (method, column), cell in found.table.cells.items():
        if column.metric not in single and not column.group and cell.mean is not None:
            values[f"{column.metric}|{column.dataset}|{called[method]}|"] = cell.mean
    return values


def relay(adapter: Adapter) -> None:
    """Hand the method its pictures pixel by pixel instead of plane by plane; networks then choose other kernels."""
    enhance = adapter.enhance

    def relaid(low: Tensor) -> Tensor:
        return enhance(low.contiguous(memory_format=torch.channels_last))

    adapter.enhance = relaid  # type: ignore[method-assign]


def with_backbones(members: Lineup, folder: Path) -> Lineup:
    """The line-up with random weights in the place of LPIPS backbones that are not on this machine."""
    import torchvision

    measures = []
    for measure in members.measures:
        if measure.missing is not None and measure.name in BACKBONES:
            file = folder / f"{measure.name}.pth"
            if not file.exists():
                torch.manual_seed(SEED)
                network = getattr(torchvision.models, BACKBONES[measure.name])(weights=None)
                for layer in network.features:
                    if isinstance(layer, torch.nn.Conv2d):
                        torch.nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
                torch.save(network.state_dict(), file)
            measure = replace(measure, files={one.name: file for one in measure.metric.files}, missing=None)
        measures.append(measure)
    return replace(members, measures=tuple(measures))


def differences(
    cause: str, first: Mapping[str, Mapping[str, float | None]], other: Mapping[str, Mapping[str, float | None]]
) -> Iterator[Moved]:
    """Every value of the first process against the cause's."""
    for kind in KINDS:
        for name, value in first[kind].items():
            metric, _, where = name.partition("|")
            found = other[kind].get(name)
            if value is None or found is None:
                if value is not found:
                    yield Moved(cause, kind, metric, where, float("inf"))
            else:
                yield Moved(cause, kind, metric, where, 0.0 if value == found else abs(value - found))


def flips(cause: str, first: Path, other: Path) -> Iterator[Flipped]:
    """The saved pictures of each method against the cause's."""
    counts: dict[str, list[int]] = defaultdict(lambda: [0, 0, 0])
    for file in sorted(first.rglob("*.png")):
        levels = [image.to_uint8(image.read_rgb(one)).int() for one in (file, other / file.relative_to(first))]
        apart = (levels[0] - levels[1]).abs()
        count = counts[file.parent.name]
        counts[file.parent.name] = [
            count[0] + apart.numel(), count[1] + int(apart.count_nonzero()), max(count[2], int(apart.max()))
        ]  # fmt: skip
    for method, (compared, different, furthest) in counts.items():
        yield Flipped(cause, method, compared, different, furthest)


def show(kept: list[dict[str, Any]]) -> None:
    """Markdown tables: of each kind the largest and the median difference, then the pictures."""
    moved = [Moved(*row) for one in kept for row in one["moved"]]
    flipped = [Flipped(*row) for one in kept for row in one["flipped"]]
    for one in kept:
        order = one["order"]
        print(f"{one['machine']}; {order['datasets']} (first {order['limit']} pictures) x {order['methods']}")
    print(", ".join(f"{name} {number}" for name, number in kept[0]["versions"].items()))
    others = {name: versions for one in kept for name, versions in one["other versions"].items()}
    for name, changed in others.items():
        print(f"{name}: {', '.join(f'{key} {number}' for key, number in changed.items()) or 'the same versions'}")
    causes = list(dict.fromkeys(one.cause for one in moved))
    metrics = list(dict.fromkeys(one.metric for one in moved))
    for kind, meaning in KINDS.items():
        for title, of in (("largest", max), ("median", median)):
            print(f"\n{title} difference of a value, {meaning}\n")
            rows = ([metric, *(spread(moved, of, metric, kind, cause) for cause in causes)] for metric in metrics)
            table(["metric", *causes], rows)
    print("\nlargest of all, and where\n")
    rows = []
    for metric in metrics:
        worst = max((one for one in moved if one.metric == metric), key=lambda one: one.apart)
        rows.append([metric, f"{worst.apart:.1e}", declared(metric), worst.kind, worst.cause, worst.where])
    table(["metric", "largest", "noise", "kind", "cause", "data set, method, picture"], rows)
    print("\n8-bit values of enhanced pictures that differ, per million, and by how many levels at most\n")
    methods = list(dict.fromkeys(one.method for one in flipped))
    table(
        ["method", *causes],
        ([method, *(share([f for f in flipped if (f.cause, f.method) == (cause, method)]) for cause in causes)]
         for method in methods),
    )  # fmt: skip


def spread(moved: Iterable[Moved], of: Callable[[list[float]], float], metric: str, kind: str, cause: str) -> str:
    """A cell: '' where nothing was compared, '0' where nothing moved."""
    apart = [one.apart for one in moved if (one.metric, one.kind, one.cause) == (metric, kind, cause)]
    if not apart:
        return ""
    value = of(apart)
    return f"{value:.0e}" if value else "0"


def share(found: list[Flipped]) -> str:
    """'12 (1)': 12 values in a million, one level at most."""
    values, different = sum(one.values for one in found), sum(one.different for one in found)
    if not values:
        return ""
    return f"{1e6 * different / values:.3g} ({max(one.furthest for one in found)})" if different else "0"


def declared(metric: str) -> str:
    """The noise that the metric states."""
    with contextlib.suppress(LookupError, ValueError):
        return f"{plugins.load(Metric, Spec.parse(metric)).noise:g}"
    return ""


def table(head: list[str], rows: Iterable[list[str]]) -> None:
    """A Markdown table."""
    for row in (head, ["---"] * len(head), *rows):
        print(f"| {' | '.join(row)} |")


if __name__ == "__main__":
    main()
