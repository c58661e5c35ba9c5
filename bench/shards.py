"""What is sent to a worker and what it does with it: a shard of the plan in, what is to be recorded out.

A worker builds the run's plug-ins from the same configuration, once, and refuses to work where code, weights,
parameters or pictures are not the driver's: their content keys are compared, and the first that differs is named.
"""

from __future__ import annotations

import math
import os
import socket
import sys
import tempfile
import threading
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from hashlib import sha256
from pathlib import Path
from uuid import uuid4

import torch
from joblib.externals.loky import process_executor

import bench
from bench.config import Config
from bench.contracts import RunStopped
from bench.lineup import Material, digest_of, lineup
from bench.plan import Exam, Job, Plan, plan
from bench.provenance import core_digest
from bench.work import Chunk, Done, Lacking, Worker

SHARE = 4
"""A shard is this part of a worker's share of what is left: the last are small, so that all workers end together."""
CHUNKS_PER_SHARD = 32
"""At most: so many are lost with a worker that dies."""


class WorkerError(RunStopped):
    """A worker has not what the driver has; the text names the worker and the thing."""


@dataclass(frozen=True)
class Order:
    """What a worker rebuilds the run from; the same for every shard."""

    run: str
    """Unique name of this run of the driver."""
    config: Config
    metrics: tuple[str, ...]
    """What `auto` stood for on the driver."""
    device: str
    """Kind of device: cpu or cuda."""
    folder: Path
    """Where the user stands: relative paths mean the same to a worker that has this folder."""
    code: str
    """Version and digest of the package's core."""
    threads: int | None
    """Of torch in a worker; None: as the machine has it."""


@dataclass(frozen=True)
class Part:
    """What one method is to do, and what the worker's own must be like."""

    method: str
    metrics: frozenset[str]
    tasks: frozenset[str]
    task_keys: Mapping[str, str]
    identity: Mapping[str, str]


@dataclass(frozen=True)
class Slice:
    """Neighbouring pictures, as a worker is told of them."""

    places: range
    digests: tuple[str, ...]
    """Of the pictures' files."""
    parts: tuple[Part, ...]
    undrawn: frozenset[str]


@dataclass(frozen=True)
class Shard:
    """What a worker does in one go: a slice of a data set, with all methods or with one."""

    dataset: str
    slices: tuple[Slice, ...]


def order(plan: Plan, config: Config, device: torch.device, threads: int | None) -> Order:
    """What every shard of a run is sent with."""
    metrics = tuple(measure.name for measure in plan.measures)
    return Order(uuid4().hex, config, metrics, device.type, Path.cwd(), _code(), threads)


def shards(chunks: Sequence[Chunk], plan: Plan, workers: int) -> list[Shard]:
    """Slices of each data set; where there are fewer chunks than workers to feed, each method goes alone."""
    if len(chunks) < 2 * workers:
        chunks = [replace(chunk, jobs=(job,)) for chunk in chunks for job in chunk.jobs]
    exams = {(exam.material.name, exam.examination.name): exam for exam in plan.exams}
    found = []
    left = len(chunks)
    for dataset in dict.fromkeys(chunk.material.name for chunk in chunks):
        slices = [_slice(chunk, exams) for chunk in chunks if chunk.material.name == dataset]
        start = 0
        while start < len(slices):
            size = min(CHUNKS_PER_SHARD, math.ceil(left / (workers * SHARE)))
            found.append(Shard(dataset, tuple(slices[start : start + size])))
            left -= len(found[-1].slices)
            start += size
    return found


def _slice(chunk: Chunk, exams: Mapping[tuple[str, str], Exam]) -> Slice:
    parts = [
        Part(job.method.name, metrics, tasks, dict(job.task_keys), _identity(job, metrics, tasks, exams))
        for job, metrics, tasks in chunk.jobs
    ]
    digests = tuple(chunk.material.digests[place] for place in chunk.places)
    return Slice(chunk.places, digests, tuple(parts), chunk.undrawn)


def _identity(
    job: Job, metrics: frozenset[str], tasks: frozenset[str], exams: Mapping[tuple[str, str], Exam]
) -> dict[str, str]:
    """What has to be the same on a worker, by what a user would call it; the most telling first."""
    name, dataset = job.method.name, job.material.name
    same = {f"weights {file} of {name}": digest for file, digest in job.method.files.items()}
    same |= {f"method {name}": job.method.digest, f"code of data set {dataset}": job.material.digest}
    same |= {f"metric {metric}, its code or parameters": job.score_keys[metric] for metric in sorted(metrics)}
    for task in sorted(tasks):
        examination = exams[dataset, task].examination
        same[f"task {task}"] = examination.digest
        same[f"model of task {task}"] = examination.models[dataset, name]
    return same


_BUSY = threading.Lock()


def work_shard(order: Order, shard: Shard) -> list[Done]:
    """Do a shard in a worker's process, one at a time: the models and torch's seed are the process's."""
    # Loaded models are no leak; loky would end the process for them.
    process_executor._MAX_MEMORY_LEAK_SIZE = sys.maxsize
    with _BUSY:
        try:
            return _hand(order).work(shard)
        except WorkerError as error:
            raise WorkerError(f"worker {socket.gethostname()} (process {os.getpid()}): {error}") from None


class _Hand:
    """A worker's copy of the run: plug-ins built and models loaded once."""

    def __init__(self, order: Order) -> None:
        if order.code != _code():
            raise WorkerError(f"has {_code()} of the package, the driver has {order.code}; install the same on both")
        if order.folder.is_dir():
            os.chdir(order.folder)
        if order.threads is not None:
            torch.set_num_threads(order.threads)
        self.order = order
        self.device = _device(order)
        self._known: dict[tuple[str, int, int], str] = {}
        config = order.config
        try:
            members = lineup(config, self._sha256, order.metrics, read=False)
        except (LookupError, ValueError, OSError, ImportError) as error:
            raise WorkerError(f"cannot build the run: {error}") from error
        self.plan = plan(members, config.run.protocol, order.device, config.run.seed)
        self.exams = {(exam.material.name, exam.examination.name): exam for exam in self.plan.exams}
        self.jobs = {(job.method.name, job.material.name): job for job in self.plan.jobs}
        self._workers: dict[tuple[str, frozenset[str]], Worker] = {}

    def work(self, shard: Shard) -> list[Done]:
        """Everything a shard asks for."""
        chunks = [self._chunk(shard.dataset, one) for one in shard.slices]
        needed = [lacking for chunk in chunks for lacking in chunk.jobs]
        wanted = shard.dataset, frozenset(kind for lacking in needed for kind in (*lacking.metrics, *lacking.tasks))
        if wanted not in self._workers:
            self._workers[wanted] = Worker.build(
                self.plan, self._every(shard.dataset, needed), self.order.config.run, self.device
            )
        return list(self._workers[wanted].run(chunks))

    def _every(self, dataset: str, needed: Sequence[Lacking]) -> list[Lacking]:
        """The same for every method: the next shard may bring another."""
        metrics = frozenset().union(*(one.metrics for one in needed))
        tasks = frozenset().union(*(one.tasks for one in needed))
        return [
            Lacking(job, metrics, frozenset(task for task in tasks if (dataset, job.method.name) in self._models(task)))
            for (_, name), job in self.jobs.items()
            if name == dataset
        ]

    def _models(self, task: str) -> Mapping[tuple[str, str], str]:
        return next(exam.examination.models for (_, name), exam in self.exams.items() if name == task)

    def _chunk(self, dataset: str, one: Slice) -> Chunk:
        jobs = []
        material = self._material(dataset, one)
        for part in one.parts:
            job = self.jobs[part.method, dataset]
            for what, digest in _identity(job, part.metrics, part.tasks, self.exams).items():
                if part.identity.get(what) != digest:
                    raise WorkerError(f"{what} is not the driver's")
            jobs.append(Lacking(replace(job, material=material, task_keys=part.task_keys), part.metrics, part.tasks))
        return Chunk(material, one.places, tuple(jobs), one.undrawn)

    def _material(self, dataset: str, one: Slice) -> Material:
        """The data set with the digests of the slice's pictures, which are read for it."""
        material = next(job.material for (_, name), job in self.jobs.items() if name == dataset)
        digests = [""] * len(material.samples)
        for place, expected in zip(one.places, one.digests, strict=True):
            if place >= len(material.samples):
                raise WorkerError(f"{dataset} has {len(material.samples)} pictures here, more on the driver")
            sample = material.samples[place]
            digests[place] = digest_of(*self._sha256(sample.files))
            if digests[place] != expected:
                raise WorkerError(f"picture {dataset}/{sample.id} is another file than the driver's")
        return replace(material, digests=tuple(digests))

    def _sha256(self, paths: Iterable[Path]) -> list[str]:
        found = []
        for path in paths:
            stat = path.stat()
            key = str(path), stat.st_size, stat.st_mtime_ns
            if key not in self._known:
                self._known[key] = sha256(path.read_bytes()).hexdigest()
            found.append(self._known[key])
        return found


_HANDS: dict[str, _Hand] = {}


def _hand(order: Order) -> _Hand:
    """The process's copy of a run; another run's is dropped."""
    if order.run not in _HANDS:
        _HANDS.clear()
        _HANDS[order.run] = _Hand(order)
    return _HANDS[order.run]


def _device(order: Order) -> torch.device:
    """A GPU of its own where the machine has several, shared in turn where there are more workers than GPUs."""
    if order.device != "cuda":
        return torch.device(order.device)
    if not torch.cuda.is_available():
        raise WorkerError("has no CUDA device, and the driver's plan is for one")
    folder = Path(tempfile.gettempdir()) / f"bench-{order.run}"
    folder.mkdir(exist_ok=True)
    place = 0
    while True:
        try:
            (folder / str(place)).touch(exist_ok=False)
        except FileExistsError:
            place += 1
        else:
            return torch.device("cuda", place % torch.cuda.device_count())


@lru_cache(maxsize=1)
def _code() -> str:
    """Version and digest of the core; plug-ins have digests of their own."""
    return f"version {bench.__version__} ({core_digest()[:12]})"
