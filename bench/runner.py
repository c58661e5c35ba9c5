"""Plan in, records out: what the store lacks is cut into chunks, worked on here or by an engine, and recorded."""

from __future__ import annotations

import time
import warnings
from collections import defaultdict
from collections.abc import Collection, Generator, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from typing import NamedTuple

import torch

from bench import calibration, views
from bench.config import RunSection
from bench.engine import Engine, LostWorkerError
from bench.plan import Job, Plan
from bench.shards import Order, shards
from bench.store import Picture, Store, explained
from bench.work import Chunk, Clock, Done, Lacking, Span, Worker


class Progress(NamedTuple):
    """How far the run is, counted in pictures x methods."""

    done: int
    total: int
    failed: int
    dataset: str


@dataclass
class Trace:
    """What a run did besides its records: where the time went, and what could not be loaded."""

    seconds: dict[str, float] = field(default_factory=lambda: defaultdict(float))
    """By stage, summed over the run."""
    spans: list[Span] = field(default_factory=list)
    """Every stage, where `profile` is on."""
    profile: bool = False
    wall: float = 0.0
    """Seconds from the first chunk to the last record."""
    pictures: int = 0
    """Pictures x methods worked on."""
    broken: dict[str, str] = field(default_factory=dict)
    """Why a metric could not be loaded; not recorded, so that the next run tries again."""
    broken_models: dict[tuple[str, str, str], str] = field(default_factory=dict)
    """Why a task's model could not be loaded, by (data set, task, method); not recorded either."""

    def add(self, spans: Sequence[Span]) -> None:
        """Count stages in."""
        for span in spans:
            self.seconds[span.stage] += span.seconds
        if self.profile:
            self.spans += spans


RECORDING = "store"
"""The stage that only this process has."""
MOST_LOST = 3
"""Times in a row that workers may die without having handed over anything."""


def run(
    plan: Plan,
    store: Store,
    settings: RunSection,
    device: torch.device,
    trace: Trace,
    engine: Engine | None = None,
    order: Order | None = None,
) -> Generator[Progress]:
    """Compute and record whatever of the plan the store lacks; yields after every batch of every method.

    With an engine, its workers compute; this process alone records.
    """
    batch = settings.batch or (8 if device.type == "cuda" else 1)
    chunks = list(_chunks(plan, store, settings, batch))
    worker = Worker.build(plan, [lacking for chunk in chunks for lacking in chunk.jobs], settings, device)
    broken, broken_models = worker.scorer.broken, worker.examiner.broken
    if broken or broken_models:
        # Nothing can be recorded for these, so they are no reason to enhance a picture again.
        trace.broken.update(broken)
        trace.broken_models.update(broken_models)
        plan = _without(plan, broken, broken_models)
        chunks = list(_chunks(plan, store, settings, batch))
    total = sum(len(job.material.samples) for job in plan.jobs)
    progress = Progress(total - sum(len(chunk.places) * len(chunk.jobs) for chunk in chunks), total, 0, "")
    yield progress
    if not chunks:
        return
    readings: list[calibration.Reading] = []
    begun = time.perf_counter()
    try:
        made = (
            worker.run(chunks)
            if engine is None or order is None
            else _elsewhere(engine, order, chunks, plan, store, settings, batch)
        )
        with closing(made):
            for done in made:
                _record(store, done, trace)
                readings += done.readings
                trace.pictures += done.pictures
                progress = Progress(progress.done + done.pictures, total, progress.failed + done.failed, done.dataset)
                yield progress
    finally:
        trace.wall += time.perf_counter() - begun
        calibration.keep(store, readings, device)


def _elsewhere(
    engine: Engine,
    order: Order,
    chunks: list[Chunk],
    plan: Plan,
    store: Store,
    settings: RunSection,
    batch: int,
) -> Generator[Done]:
    """Let workers do what the store lacks; what a lost one had not handed over is done again by the others."""
    lost = 0
    while chunks:
        try:
            yield from engine.run(order, shards(chunks, plan, engine.workers))
            return
        except LostWorkerError as error:
            left = list(_chunks(plan, store, settings, batch))
            lost = lost + 1 if len(left) == len(chunks) else 1
            if lost > MOST_LOST:
                first = left[0]
                sample = first.material.samples[first.places[0]].id
                raise LostWorkerError(
                    f"{error}; workers die again and again, on {first.material.name}/{sample} or near it: "
                    f"fewer --jobs need less memory"
                ) from error
            warnings.warn(f"{error}; what it had not handed over is done again", UserWarning, stacklevel=2)
            chunks = left


def _record(store: Store, done: Done, trace: Trace) -> None:
    """Write a job's files and records; only the driver does."""
    trace.add(done.spans)
    clock = Clock(torch.device("cpu"))
    with clock.stage(RECORDING):
        with explained(store.folder):
            for file in done.files:
                views.write(store.folder, file)
        pictures = [Picture(file.path, file.key, file.digest) for file in done.files if file.key]
        store.add(done.scores, pictures, done.enhancements, done.predictions, done.truths)
    trace.add(clock.taken())


def _without(plan: Plan, metrics: Collection[str], models: Collection[tuple[str, str, str]]) -> Plan:
    """The plan with some metrics left out of every job, and some tasks out of the jobs they have no model for."""
    jobs = tuple(
        replace(
            job,
            score_keys={name: key for name, key in job.score_keys.items() if name not in metrics},
            task_keys={
                name: key
                for name, key in job.task_keys.items()
                if (job.material.name, name, job.method.name) not in models
            },
        )
        for job in plan.jobs
    )
    return replace(plan, jobs=jobs)


def _chunks(plan: Plan, store: Store, settings: RunSection, batch: int) -> Iterator[Chunk]:
    """Chunks of each data set that lack something.

    Chunks are cut from the whole list, not from what is left, so that a resumed run forms the same batches.
    """
    pictures = store.pictures()
    present = {path for path, picture in pictures.items() if (store.folder / path).is_file()}
    for material in dict.fromkeys(job.material.name for job in plan.jobs):
        jobs = [job for job in plan.jobs if job.material.name == material]
        keys = [key for job in jobs for key in (*job.score_keys.values(), *job.task_keys.values())]
        samples, digests = jobs[0].material.samples, jobs[0].material.digests
        names = [(sample.id, digest) for sample, digest in zip(samples, digests, strict=True)]
        done = {key: _held(names, store.done(key)) for key in keys}
        for start in range(0, len(samples), batch):
            chunk = range(start, min(start + batch, len(samples)))
            lacking: list[Lacking] = []
            for job in jobs:
                metrics, tasks = (
                    frozenset(name for name, key in keys.items() if not all(done[key][chunk.start : chunk.stop]))
                    for keys in (job.score_keys, job.task_keys)
                )
                files = [
                    names[index]
                    for index in chunk
                    for path, key in views.wanted(job, settings, index)
                    if path not in present or (pictures[path].key, pictures[path].digest) != (key, digests[index])
                ]
                if metrics or tasks or (files and not set(files) <= _failed(store, job)):
                    lacking.append(Lacking(job, metrics, tasks))
            if lacking:
                shown = [
                    views.view_paths(jobs[0], index, plan.protocol) for index in chunk if index < settings.thumbnails
                ]
                places = {path[name] for path in shown for name in ("low", "reference")}
                undrawn = frozenset(path for path in places if not (store.folder / path).is_file())
                yield Chunk(jobs[0].material, chunk, tuple(lacking), undrawn)


def _held(names: Sequence[tuple[str, str]], done: Collection[tuple[str, str]]) -> bytes:
    """Whether each is done; a byte each, as there are millions."""
    return bytes(name in done for name in names)


def _failed(store: Store, job: Job) -> set[tuple[str, str]]:
    """(image, digest) of the pictures recorded as failed under every key: they have no picture to write."""
    failures = [store.failed(key) for key in (*job.score_keys.values(), *job.task_keys.values())]
    return set.intersection(*failures) if failures else set()
