"""What a method costs: parameters, operations, time and memory for one picture, each with how it was measured."""

from __future__ import annotations

import json
import os
import platform
import statistics
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import BrokenExecutor, ProcessPoolExecutor
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from multiprocessing import get_context
from pathlib import Path
from typing import NamedTuple, Protocol, runtime_checkable

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.flop_counter import FlopCounterMode

import bench
from bench import image, plugins, work
from bench.config import Config
from bench.contracts import Adapter
from bench.lineup import LineupError, build_method
from bench.plugins import Spec
from bench.provenance import sha256_of_files
from bench.store import explained

WARM_UPS = 10
PRECISIONS = {"float32": torch.float32, "bfloat16": torch.bfloat16}
MIB = 2**20

_aten = torch.ops.aten
_COUNTED = {
    _aten.convolution,
    _aten._convolution,
    _aten.convolution_overrideable,
    _aten.cudnn_convolution,
    _aten._slow_conv2d_forward,
    _aten.mm,
    _aten.addmm,
}
"""Convolutions, also transposed ones, and linear layers, as the papers count; products of two activations are not."""

_STATUS = Path("/proc/self/status")
_FORGET_PEAK = Path("/proc/self/clear_refs")
"""A 5 written here makes the largest resident memory that of now."""


@runtime_checkable
class Network(Protocol):
    """An adapter whose work is done by a network."""

    @property
    def module(self) -> nn.Module:
        """The network, every part of it that enhances."""
        ...


@dataclass(frozen=True)
class Setting:
    """How methods are measured."""

    device: torch.device
    size: str = "384x384"
    """'WIDTHxHEIGHT'; the size of the papers' tables."""
    pictures: int = 100
    precision: str = "float32"
    """'float32' or 'bfloat16' (mixed precision, of networks only)."""
    threads: int = 1
    """Of torch, on the CPU."""

    def __post_init__(self) -> None:
        """Raise ValueError for a size or a precision that is none."""
        image.parse_size(self.size)
        if self.precision not in PRECISIONS:
            raise ValueError(f"--precision {self.precision}: expected {' or '.join(PRECISIONS)}")


@dataclass(frozen=True)
class Candidate:
    """A method to be measured, or why it cannot be."""

    name: str
    label: str
    config: Config
    adapter: Adapter | None
    files: Mapping[str, str]
    """SHA-256 of its weights by name."""
    reason: str = ""


@dataclass(frozen=True)
class Cost:
    """What was measured of a method; None is what it has not (parameters without a network) or `reason` explains."""

    method: str
    """As the user wrote it."""
    label: str
    precision: str
    """What its networks computed in; always float32 where there are none."""
    parameters: int | None = None
    macs: int | None = None
    """Multiply-accumulates of convolutions and linear layers for one picture, padding included."""
    latency_ms: float | None = None
    """Median over the pictures."""
    latency_iqr_ms: float | None = None
    """Third quartile minus first."""
    latency_mean_ms: float | None = None
    fps: float | None = None
    """1000 / mean."""
    memory_mib: float | None = None
    """Peak for one picture: weights, picture, result and everything in between."""
    files: Mapping[str, str] | None = None
    """SHA-256 of the weights by name."""
    reason: str = ""
    """Why something is missing; '' where nothing is."""


class Latency(NamedTuple):
    """Milliseconds for one picture, over many."""

    median: float
    iqr: float
    mean: float


def candidates(names: Sequence[str], config: Config) -> list[Candidate]:
    """Build the methods; raises LineupError listing every mistake. Weights that are not shipped are no mistake."""
    known = plugins.names(Adapter)
    problems = [
        f"[methods.{name}]: no such name{plugins.near(name, known)}"
        for name in config.methods
        if name.partition(":")[0] not in known
    ]
    found: list[Candidate] = []
    for name in dict.fromkeys(names):
        try:
            found.append(_candidate(name, config))
        except (LookupError, ValueError, OSError, TypeError, ImportError, SyntaxError) as error:
            problems.append(str(error) or repr(error))
    if problems:
        raise LineupError("\n".join(dict.fromkeys(problems)))
    return found


def measure(candidate: Candidate, setting: Setting) -> Cost:
    """Everything about one method; what fails is a reason."""
    adapter = candidate.adapter
    network = adapter.module if isinstance(adapter, Network) else None
    precision = setting.precision if network is not None else "float32"
    cost = Cost(candidate.name, candidate.label, precision, files=candidate.files, reason=candidate.reason)
    if adapter is None:
        return cost
    setting = replace(setting, precision=precision)
    try:
        with _threads(setting.threads), torch.no_grad(), work.exact_convolutions(), _autocast(setting):
            adapter.to(setting.device)
            # Through the harness's door once: a picture that would not fit, or a method that breaks its promise.
            low = _picture(setting, -1)
            work.enhance(adapter, low, "", [""], 0)
            low = image.pad_to_multiple(low, adapter.pad_multiple)
            if network is not None:
                parameters = sum(parameter.numel() for parameter in network.parameters())
                cost = replace(cost, parameters=parameters, macs=count_macs(adapter, low))
            latency = _latency(adapter, setting)
            cost = replace(
                cost,
                latency_ms=latency.median,
                latency_iqr_ms=latency.iqr,
                latency_mean_ms=latency.mean,
                fps=1000 / latency.mean,
            )
            memory = _cuda_memory(adapter, low) if setting.device.type == "cuda" else _cpu_memory(candidate, setting)
            return replace(cost, memory_mib=memory)
    except (ValueError, OSError, RuntimeError, MemoryError) as error:
        return replace(cost, reason=work.one_line(error))
    finally:
        adapter.to(torch.device("cpu"))  # gives the device back to the next method


def count_macs(adapter: Adapter, low: Tensor) -> int:
    """Multiply-accumulates of one `enhance`; transposed convolutions are counted on their input pixels."""
    with FlopCounterMode(display=False) as counter:
        adapter.enhance(low)
    operations: Mapping[object, int] = counter.get_flop_counts().get("Global", {})
    return sum(flops for operation, flops in operations.items() if operation in _COUNTED) // 2


def device_name(device: torch.device) -> str:
    """The chip's own name: a time without it says nothing."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    with suppress(OSError, StopIteration):
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        model = next(line for line in lines if line.startswith("model name")).partition(":")[2].strip()
        return f"{model} ({os.cpu_count()} cores)"
    return f"{platform.processor() or platform.machine()} ({os.cpu_count()} cores)"


def protocol(setting: Setting) -> str:
    """How the figures came about, in one line for below a table."""
    threads = f", {setting.threads} thread(s)" if setting.device.type == "cpu" else ""
    return (
        f"{setting.size}, batch 1, {setting.pictures} pictures after {WARM_UPS} to warm up, {setting.precision}, "
        f"{device_name(setting.device)}{threads}, torch {torch.__version__}"
    )


def table(costs: Sequence[Cost]) -> tuple[Sequence[str], list[Sequence[str]]]:
    """Header and lines of text for `bench speed`."""
    header = ("method", "parameters", "MACs G", "2xMACs G", "latency ms", "IQR ms", "FPS", "memory MiB", "precision")
    lines = [
        (
            cost.label,
            _text(cost.parameters, ",d"),
            _text(cost.macs, ".3f", 1e-9),
            _text(cost.macs, ".3f", 2e-9),
            _text(cost.latency_ms, ".2f"),
            _text(cost.latency_iqr_ms, ".2f"),
            _text(cost.fps, ".2f"),
            _text(cost.memory_mib, ".1f"),
            cost.precision,
        )
        for cost in costs
    ]
    widths = [max(map(len, column)) for column in zip(header, *lines, strict=True)]
    figures = range(1, len(header) - 1)
    aligned = [
        [text.rjust(widths[index]) if index in figures else text for index, text in enumerate(line)]
        for line in [header, *lines]
    ]
    return aligned[0], list(aligned[1:])


def write(path: Path, setting: Setting, costs: Sequence[Cost]) -> None:
    """Store the figures with what they depend on as JSON; nothing in it changes unless a figure or the machine does."""
    content = {
        "size": setting.size,
        "batch": 1,
        "pictures": setting.pictures,
        "warm_ups": WARM_UPS,
        "device": setting.device.type,
        "device_name": device_name(setting.device),
        "threads": setting.threads,
        "versions": {"bench": bench.__version__, "python": platform.python_version(), "torch": torch.__version__},
        "methods": [asdict(cost) for cost in costs],
    }
    with explained(path.parent):
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_name(f".{path.name}.part")
        partial.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
        os.replace(partial, path)


def _candidate(name: str, config: Config) -> Candidate:
    try:
        built = build_method(name, config, sha256_of_files)
    except FileNotFoundError:
        spec = Spec.parse(name)
        adapter_class = plugins.load(Adapter, spec)
        shipped = adapter_class.weights_name(spec.option)
        if config.weights(spec) is not None or shipped is None:
            raise
        # Without the folders of this machine: it is stored, and printed below tables.
        reason = f"{shipped} is not shipped; train it (bench train {name}) and name it (--weights {name}=FILE)"
        return Candidate(name, adapter_class.label, config, None, {}, reason)
    if built.adapter.kind == "outputs":
        raise ValueError(f"{name}: pictures that other code made have no speed here; name the method that makes them")
    return Candidate(name, built.adapter.label, config, built.adapter, built.files)


def _picture(setting: Setting, number: int) -> Tensor:
    """A dark picture, smooth with noise on it: (1, 3, H, W); another one for every number."""
    width, height = image.parse_size(setting.size)
    generator = torch.Generator().manual_seed(number + 1)
    coarse = functional.interpolate(torch.rand(1, 3, 6, 6, generator=generator), (height, width), mode="bilinear")
    noise = torch.rand(1, 3, height, width, generator=generator)
    return image.round_8bit(0.25 * coarse + 0.05 * noise).to(setting.device)


def _latency(adapter: Adapter, setting: Setting) -> Latency:
    """`enhance` alone: the picture lies padded on the device, and the device has finished at either end."""
    times = []
    for number in range(-WARM_UPS, setting.pictures):
        low = image.pad_to_multiple(_picture(setting, max(number, -1)), adapter.pad_multiple)
        _synchronise(setting.device)
        start = time.perf_counter()
        adapter.enhance(low)
        _synchronise(setting.device)
        elapsed = 1000 * (time.perf_counter() - start)
        if number >= 0:
            times.append(elapsed)
    first, median, third = statistics.quantiles(times, n=4, method="inclusive") if len(times) > 1 else 3 * times
    return Latency(median, third - first, statistics.fmean(times))


def _cuda_memory(adapter: Adapter, low: Tensor) -> float:
    torch.cuda.reset_peak_memory_stats(low.device)
    adapter.enhance(low)
    return torch.cuda.max_memory_allocated(low.device) / MIB


def _cpu_memory(candidate: Candidate, setting: Setting) -> float:
    """MiB, measured in a process of its own: this one's memory is full of the methods before."""
    if not _STATUS.exists():
        raise ValueError(f"peak memory is read from {_STATUS}, which this system does not have")
    # Spawned, not forked: a forked process begins with the pages of this one.
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        try:
            return pool.submit(_growth, candidate.name, candidate.config, setting).result()
        except BrokenExecutor as error:
            raise MemoryError("the process that measured it was killed; most likely there is too little") from error


def _growth(name: str, config: Config, setting: Setting) -> float:
    """MiB by which this process's peak grows over `enhance`, and what lies there before: weights and picture."""
    adapter = build_method(name, config, sha256_of_files).adapter
    width, height = image.parse_size(setting.size)
    # In one piece: memory that is freed on the way would be taken again by the method, unseen.
    low = image.pad_to_multiple(torch.full((1, 3, height, width), 0.1), adapter.pad_multiple)
    with _threads(setting.threads), torch.no_grad(), _autocast(setting):
        # Makes libraries load what they load once.
        adapter.enhance(image.pad_to_multiple(low[..., :32, :32], adapter.pad_multiple))
        with suppress(OSError):  # not allowed everywhere: then the growth is a lower bound
            _FORGET_PEAK.write_text("5")
        before = _peak()
        adapter.enhance(low)
        grown = _peak() - before
    weights: Iterable[Tensor] = adapter.module.state_dict().values() if isinstance(adapter, Network) else ()
    return (grown + low.nbytes + sum(tensor.nbytes for tensor in weights)) / MIB


def _peak() -> int:
    """Bytes of this process's largest resident memory so far."""
    # Not ru_maxrss: a process inherits it from the one that started it.
    lines = _STATUS.read_text().splitlines()
    return 1024 * next(int(line.split()[1]) for line in lines if line.startswith("VmHWM"))


@contextmanager
def _threads(count: int) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _autocast(setting: Setting) -> AbstractContextManager[object]:
    mixed = setting.precision != "float32"
    return torch.autocast(setting.device.type, PRECISIONS[setting.precision], enabled=mixed)


def _synchronise(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def _text(value: float | None, form: str, factor: float | None = None) -> str:
    if value is None:
        return "–"
    return format(value if factor is None else value * factor, form)
