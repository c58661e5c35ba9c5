"""A chunk of pictures in, what is to be recorded out: decode, enhance, score; one bad picture costs one row.

Touches neither store nor run folder, so it runs in the driver's process or in a worker's.
"""

from __future__ import annotations

import math
import os
import threading
import time
import warnings
from collections import deque
from collections.abc import Collection, Generator, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from functools import partial
from hashlib import sha256
from typing import NamedTuple

import torch
from torch import Tensor

from bench import image, views
from bench.calibration import Reading, Yardsticks
from bench.config import RunSection
from bench.contracts import MAP_PEAK, Adapter, Metric, Pair, Predictor, Protocol, Sample, Truth
from bench.lineup import Examination, Material, Measure
from bench.memory import free_bytes
from bench.plan import Exam, Job, Plan
from bench.planes import Planes
from bench.store import Enhancement, KeptTruth, Prediction, Score
from bench.tiling import in_tiles

PRECISIONS = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
RANGE_DUST = 1e-4
"""How far outside [0, 1] a method's floats may lie before it counts as an error; dust is clamped."""


class Outcome(NamedTuple):
    """What a metric says of one picture."""

    value: float | None
    error: str | None
    caveat: float | None = None


class Span(NamedTuple):
    """A stage of work, for the profile."""

    stage: str
    begun: float
    """Seconds since the epoch."""
    seconds: float
    process: int
    thread: int = 0
    """0: the thread that computes."""


DECODING = "decode, beside the rest"
"""The stage of the threads that read ahead; the thread that computes goes on meanwhile."""


@dataclass
class Clock:
    """Times the stages of work."""

    device: torch.device
    spans: list[Span] = field(default_factory=list)

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Time one stage; waits for the device, so that work is charged where it was asked for."""
        begun, start = time.time(), time.perf_counter()
        try:
            yield
        finally:
            if self.device.type == "cuda":
                torch.cuda.synchronize(self.device)
            self.spans.append(Span(name, begun, time.perf_counter() - start, os.getpid()))

    def taken(self) -> list[Span]:
        """The spans since the last call."""
        spans, self.spans = self.spans, []
        return spans


@dataclass(frozen=True)
class Decoded:
    """A sample ready for the device, or why it cannot be read."""

    index: int
    """Place of the sample in its data set."""
    sample: Sample
    digest: str
    pair: Pair | None
    error: str | None
    truth: Truth | None = None
    truth_error: str | None = None
    """Why there is no truth, on a data set whose pictures have one."""
    span: Span | None = None
    """When a thread read it ahead."""


class Lacking(NamedTuple):
    """What a job has not computed for at least one picture of a chunk; nothing named: a picture file is missing."""

    job: Job
    metrics: frozenset[str]
    tasks: frozenset[str]


@dataclass(frozen=True)
class Chunk:
    """Neighbouring pictures of a data set and what is still to be computed for them."""

    material: Material
    places: range
    jobs: tuple[Lacking, ...]
    undrawn: frozenset[str] = frozenset()
    """Paths of the views of low pictures and references that the run folder lacks."""

    @property
    def truths(self) -> bool:
        """Whether a task needs to know what is in the pictures."""
        return any(one.tasks for one in self.jobs)


@dataclass(frozen=True)
class Done:
    """What one method's job made of a chunk, to be recorded as a whole."""

    dataset: str
    """Label of the data set."""
    pictures: int
    failed: int
    scores: list[Score]
    files: list[views.File]
    enhancements: list[Enhancement]
    predictions: list[Prediction]
    truths: list[KeptTruth]
    spans: list[Span]
    readings: list[Reading]
    """Of the yardsticks, taken since the last."""


@dataclass
class Scorer:
    """The run's metrics, built once."""

    metrics: Mapping[str, Metric]
    broken: Mapping[str, str]
    """Why a metric could not be built."""

    @classmethod
    def build(cls, measures: Sequence[Measure], device: torch.device) -> Scorer:
        """Load every metric whose files are at hand."""
        metrics: dict[str, Metric] = {}
        broken: dict[str, str] = {}
        for measure in measures:
            if measure.missing is None:
                try:
                    metrics[measure.name] = measure.metric(measure.option, measure.files, device)
                except (ValueError, OSError, ImportError, RuntimeError) as error:
                    broken[measure.name] = f"{measure.metric.label} cannot be loaded: {error}"
        return cls(metrics, broken)

    def maps(self, thumbnail: str, picture: Tensor, reference: Tensor, names: Collection[str]) -> Iterator[views.File]:
        """Where a picture (1, 3, H, W) differs, by each metric that has such a map."""
        for name in sorted(names):
            metric = self.metrics.get(name)
            if metric is None or not metric.needs_reference:
                continue
            try:
                found = metric.spatial(Planes(picture), Planes(reference))
            except ValueError:  # too small a picture: its score says so
                continue
            if found is not None:
                yield views.spatial(thumbnail, name, (found[0].float() / MAP_PEAK).clamp(0, 1))

    def score(self, name: str, enhanced: Planes, reference: Planes | None) -> list[Outcome]:
        """A value or a reason per picture; a batch that fails is scored picture by picture."""
        metric = self.metrics[name]
        try:
            values = metric.score(enhanced, reference).tolist()
            shares = metric.caveats(enhanced)
        except Exception as error:
            if len(enhanced.rgb) == 1:
                return [Outcome(None, one_line(error))]
            return [
                self.score(name, Planes(one), None if reference is None else Planes(other))[0]
                for one, other in _singles(enhanced, reference)
            ]
        caveats = [None] * len(values) if shares is None else shares.tolist()
        return [_outcome(value, caveat, metric) for value, caveat in zip(values, caveats, strict=True)]


@dataclass
class Examiner:
    """The run's downstream models, each loaded once."""

    exams: Mapping[tuple[str, str], Exam]
    """By (data set, task)."""
    predictors: Mapping[tuple[str, str, str], Predictor]
    """By (data set, task, method); methods share a model."""
    broken: Mapping[tuple[str, str, str], str]
    """Why a model could not be loaded."""

    @classmethod
    def build(cls, plan: Plan, needed: Sequence[Lacking], device: torch.device) -> Examiner:
        """Load every model that has a picture to look at."""
        exams = {(exam.material.name, exam.examination.name): exam for exam in plan.exams}
        predictors: dict[tuple[str, str, str], Predictor] = {}
        broken: dict[tuple[str, str, str], str] = {}
        loaded: dict[tuple[str, str, str], Predictor | str] = {}
        for lacking in needed:
            for task in sorted(lacking.tasks):
                dataset, method = lacking.job.material.name, lacking.job.method.name
                examination = exams[dataset, task].examination
                same = (dataset, task, examination.models[dataset, method])
                if same not in loaded:
                    loaded[same] = _loaded(examination, lacking.job, device)
                model = loaded[same]
                if isinstance(model, str):
                    broken[dataset, task, method] = model
                else:
                    predictors[dataset, task, method] = model
        return cls(exams, predictors, broken)

    def kept(self, chunk: Chunk, decoded: Sequence[Decoded]) -> list[KeptTruth]:
        """What the chunk's predictions will be scored against."""
        kept = []
        for task in sorted({name for one in chunk.jobs for name in one.tasks}):
            exam = self.exams[chunk.material.name, task]
            for one in decoded:
                if one.truth is not None:
                    arrays = exam.examination.task.keep(one.truth, chunk.material.dataset.classes)
                    kept.append(KeptTruth(exam.truth_key, one.sample.id, one.digest, one.truth.groups, arrays))
        return kept

    def predict(self, job: Job, task: str, group: Sequence[Decoded], enhanced: Tensor) -> list[Prediction]:
        """A prediction or a reason per picture; a batch that fails is looked at picture by picture."""
        start = time.perf_counter()
        known = [place for place, one in enumerate(group) if one.truth is not None]
        truths = [truth for one in group if (truth := one.truth) is not None]
        examination = self.exams[job.material.name, task].examination
        predictor = self.predictors[job.material.name, task, job.method.name]
        try:
            ids = [group[place].sample.id for place in known]
            said = predictor.predict(enhanced[known], truths, ids) if known else []
            assessed = [examination.task.assess(one, truth) for one, truth in zip(said, truths, strict=True)]
        except Exception as error:
            if len(group) == 1:
                return [_no_prediction(job, group[0], task, one_line(error))]
            return [
                one
                for place in range(len(group))
                for one in self.predict(job, task, group[place : place + 1], enhanced[place : place + 1])
            ]
        seconds = (time.perf_counter() - start) / max(len(known), 1)
        by_place = dict(zip(known, assessed, strict=True))
        return [
            Prediction(job.task_keys[task], one.sample.id, one.digest, by_place[place], None, seconds)
            if place in by_place
            else _no_prediction(job, one, task, one.truth_error or "no truth for this picture")
            for place, one in enumerate(group)
        ]


@dataclass
class Worker:
    """The run's models, loaded once, and what else a chunk's work needs."""

    protocol: Protocol
    settings: RunSection
    device: torch.device
    scorer: Scorer
    examiner: Examiner
    clock: Clock
    yardsticks: Yardsticks
    _compiled: set[int] = field(default_factory=set)

    @classmethod
    def build(cls, plan: Plan, needed: Sequence[Lacking], settings: RunSection, device: torch.device) -> Worker:
        """Load every metric and model that is needed, as far as their files are at hand."""
        wanted = {name for lacking in needed for name in lacking.metrics}
        return cls(
            protocol=plan.protocol,
            settings=settings,
            device=device,
            scorer=Scorer.build([measure for measure in plan.measures if measure.name in wanted], device),
            examiner=Examiner.build(plan, needed, device),
            clock=Clock(device),
            yardsticks=Yardsticks(device),
        )

    def run(self, chunks: Sequence[Chunk]) -> Generator[Done]:
        """Enhance and score chunks, decoding ahead of the device in threads."""
        for method in {id(one.job.method): one.job.method for chunk in chunks for one in chunk.jobs}.values():
            method.adapter.to(self.device)
            network = getattr(method.adapter, "module", None)
            if method.compile and network is not None and id(method) not in self._compiled:
                network.compile()
                self._compiled.add(id(method))
        with ThreadPoolExecutor(self.settings.workers) as pool:
            for chunk, decoded in self._ahead(pool, chunks):
                yield from self._work(chunk, decoded)

    def _ahead(self, pool: ThreadPoolExecutor, chunks: Iterable[Chunk]) -> Iterator[tuple[Chunk, list[Decoded]]]:
        """Chunks with their decoded samples, some chunks decoded ahead."""
        pending: deque[tuple[Chunk, list[Future[Decoded]]]] = deque()
        try:
            for chunk in chunks:
                submitted = [
                    pool.submit(_timed_decode, chunk.material, place, self.protocol, chunk.truths)
                    for place in chunk.places
                ]
                pending.append((chunk, submitted))
                if len(pending) > self.settings.workers + 1:
                    yield self._collect(*pending.popleft())
            while pending:
                yield self._collect(*pending.popleft())
        finally:
            for _, futures in pending:
                for future in futures:
                    future.cancel()

    def _collect(self, chunk: Chunk, futures: Sequence[Future[Decoded]]) -> tuple[Chunk, list[Decoded]]:
        with self.clock.stage("wait for decoding"):
            decoded = [future.result() for future in futures]
        self.clock.spans += [one.span for one in decoded if one.span]
        return chunk, decoded

    def _work(self, chunk: Chunk, decoded: Sequence[Decoded]) -> Iterator[Done]:
        """Enhance and score a chunk with each of its jobs."""
        with torch.no_grad(), exact_convolutions():
            with self.clock.stage("calibrate"):
                readings = self.yardsticks.read()
            with self.clock.stage("to device"):
                groups = [
                    (
                        group,
                        _on(self.device, [one.pair.low for one in group if one.pair]),
                        _references(group, self.device),
                    )
                    for group in _same_size(decoded)
                ]
            truths = self.examiner.kept(chunk, decoded)
            undrawn = chunk.undrawn
            for lacking in chunk.jobs:
                yield self._job(lacking, chunk, decoded, groups, undrawn, truths, readings)
                readings, truths, undrawn = [], [], frozenset()

    def _job(
        self,
        lacking: Lacking,
        chunk: Chunk,
        decoded: Sequence[Decoded],
        groups: Sequence[tuple[list[Decoded], Tensor, Planes | None]],
        undrawn: Collection[str],
        truths: list[KeptTruth],
        readings: list[Reading],
    ) -> Done:
        job, metrics, tasks = lacking
        unreadable = [one for one in decoded if one.pair is None]
        done = Done(
            dataset=chunk.material.dataset.label,
            pictures=len(decoded),
            failed=0,
            scores=[_failure(job, one, metric, one.error or "") for one in unreadable for metric in sorted(metrics)],
            files=[],
            enhancements=[],
            predictions=[
                _no_prediction(job, one, task, one.error or "") for one in unreadable for task in sorted(tasks)
            ],
            truths=truths,
            spans=[],
            readings=readings,
        )
        for group, low, reference in groups:
            self._group(lacking, group, low, reference, undrawn, done)
        errors = {score.image for score in done.scores if score.error is not None}
        errors |= {said.image for said in done.predictions if said.error is not None}
        return replace(done, failed=len(errors), spans=self.clock.taken())

    def _group(
        self,
        lacking: Lacking,
        group: Sequence[Decoded],
        low: Tensor,
        reference: Planes | None,
        undrawn: Collection[str],
        done: Done,
    ) -> None:
        """Pictures of one size: enhanced together, what comes of them added to `done`."""
        job, metrics, tasks = lacking
        start = time.perf_counter()
        with self.clock.stage(f"enhance: {job.method.name}"):
            enhanced, errors = self._enhanced(job, group, low)
        seconds = (time.perf_counter() - start) / len(group)
        for position, error in errors.items():
            done.scores.extend(_failure(job, group[position], metric, error) for metric in sorted(metrics))
            done.predictions.extend(_no_prediction(job, group[position], task, error) for task in sorted(tasks))
        good = [position for position in range(len(group)) if position not in errors]
        if not good:
            return
        kept = [group[position] for position in good]
        whole = len(good) == len(group)
        final = kept_values = enhanced if whole else enhanced[good]
        if self.protocol.rounding == "8bit":
            with self.clock.stage("round"):
                kept_values = image.to_uint8(final)
                final = image.from_uint8(kept_values)
        with self.clock.stage("digest"):
            contents = image.digests(kept_values)
        planes = Planes(final)
        matching = reference if whole or reference is None else Planes(reference.rgb[good])
        for metric in (name for name in job.score_keys if name in metrics and name in self.scorer.metrics):
            start = time.perf_counter()
            with self.clock.stage(f"score: {metric}"):
                against = Planes(low if whole else low[good]) if self.scorer.metrics[metric].needs_low else matching
                outcomes = self.scorer.score(metric, planes, against)
            share = (time.perf_counter() - start) / len(kept)
            done.scores.extend(
                Score(job.score_keys[metric], one.sample.id, one.digest, said.value, said.error, share, said.caveat)
                for one, said in zip(kept, outcomes, strict=True)
            )
        for task in (name for name in job.task_keys if name in tasks):
            with self.clock.stage(f"task: {task}"):
                done.predictions.extend(self.examiner.predict(job, task, kept, final))
        with self.clock.stage("draw"):
            for place, (one, picture) in enumerate(zip(kept, final, strict=True)):
                against_one = None if matching is None else matching.rgb[place : place + 1]
                done.files.extend(self._files(job, one, picture, against_one, metrics, undrawn))
        width, height = int(low.shape[-1]), int(low.shape[-2])
        done.enhancements.extend(
            Enhancement(job.key, one.sample.id, one.digest, width, height, seconds, content)
            for one, content in zip(kept, contents, strict=True)
        )

    def _enhanced(self, job: Job, group: Sequence[Decoded], low: Tensor) -> tuple[Tensor, dict[int, str]]:
        """Enhance a batch; where it fails, each half of it: a bad picture costs only itself, less memory may do.

        Returns the pictures and why some of them failed, by their place.
        """
        method, ids = job.method, [one.sample.id for one in group]
        try:
            precision = PRECISIONS[method.precision]
            return enhance(
                method.adapter, low, job.material.name, ids, self.settings.seed, self.protocol.tile, precision
            ), {}
        except Exception as error:
            if len(group) == 1:
                return low, {0: one_line(error)}
            if isinstance(error, torch.OutOfMemoryError):
                torch.cuda.empty_cache()
                text = f"{method.adapter.label}: no memory for a batch of {len(group)}, halved"
                warnings.warn(text, UserWarning, stacklevel=2)
        half = len(group) // 2
        first, errors = self._enhanced(job, group[:half], low[:half])
        second, more = self._enhanced(job, group[half:], low[half:])
        return torch.cat([first, second]), {**errors, **{half + place: error for place, error in more.items()}}

    def _files(
        self,
        job: Job,
        one: Decoded,
        picture: Tensor,
        reference: Tensor | None,
        metrics: Collection[str],
        undrawn: Collection[str],
    ) -> Iterator[views.File]:
        if one.pair is None:
            return
        yield from views.enhanced(job, one.index, picture, one.pair.reference, self.protocol, self.settings)
        if one.index < self.settings.thumbnails:
            yield from views.original(job, one.index, one.pair.low, one.pair.reference, self.protocol, undrawn)
            if reference is not None:
                thumbnail = views.view_paths(job, one.index, self.protocol)[job.method.name]
                yield from self.scorer.maps(thumbnail, picture[None], reference, metrics)


def exact_convolutions() -> AbstractContextManager[None]:
    """On CUDA: the same kernel every time, and float32 that is float32 (TF32 keeps 10 bits of a product)."""
    return torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=True, allow_tf32=False)


def enhance(
    adapter: Adapter,
    low: Tensor,
    dataset: str,
    ids: Sequence[str],
    seed: int,
    tile: int = 0,
    precision: torch.dtype = torch.float32,
) -> Tensor:
    """Enhance a batch under the contract: padded, seeded by picture, checked; (N, 3, H, W) in [0, 1] out.

    A network sees pictures with a side above `tile` in tiles, and computes in `precision` where that is not float32.
    Raises ValueError naming the method where it returns another shape, NaN, or values outside [0, 1].
    """
    # Seeded by the pictures' names: a method that samples gives the same picture in any order and after any resume.
    torch.manual_seed(int.from_bytes(sha256(f"{seed}:{dataset}:{','.join(ids)}".encode()).digest()[:7], "big"))
    tiled = tile and adapter.memory_per_pixel and max(low.shape[-2:]) > tile
    # Not "disabled" for float32: that would undo what a caller has chosen.
    mixed = nullcontext() if precision == torch.float32 else torch.autocast(low.device.type, precision)
    with mixed:
        whole = partial(_padded, adapter, dataset=dataset, ids=ids)
        enhanced = in_tiles(whole, low, tile) if tiled else whole(low)
    low_end, high_end = torch.stack(torch.aminmax(enhanced)).tolist()  # NaN wherever there is one
    if not (math.isfinite(low_end) and math.isfinite(high_end)):
        raise ValueError(f"{adapter.label} returned values that are not finite (NaN or infinity)")
    if low_end < -RANGE_DUST or high_end > 1 + RANGE_DUST:
        raise ValueError(f"{adapter.label} returned range [{low_end:.4g}, {high_end:.4g}], expected [0, 1]")
    return enhanced.clamp(0, 1)


def _padded(adapter: Adapter, low: Tensor, dataset: str, ids: Sequence[str]) -> Tensor:
    """Call the method on the padded pictures, crop what comes back."""
    height, width = low.shape[-2:]
    _refuse_too_large(adapter, low)
    padded = image.pad_to_multiple(low.clone(), adapter.pad_multiple)
    enhanced = adapter.enhance_named(padded, dataset, ids)
    if not isinstance(enhanced, Tensor) or enhanced.shape != padded.shape:
        shape = tuple(enhanced.shape) if isinstance(enhanced, Tensor) else type(enhanced).__name__
        raise ValueError(f"{adapter.label} returned {shape} for a batch of {tuple(padded.shape)}")
    if not enhanced.is_floating_point():
        raise ValueError(f"{adapter.label} returned {enhanced.dtype}, expected float32 in [0, 1]")
    return enhanced[..., :height, :width].to(low)


def _refuse_too_large(adapter: Adapter, low: Tensor) -> None:
    """Raise ValueError where a network's working memory would not fit: the system would kill the whole run."""
    if not adapter.memory_per_pixel:
        return
    height, width = low.shape[-2:]
    needed = adapter.memory_per_pixel * low.shape[0] * height * width
    free = free_bytes(low.device)
    if free is not None and needed > free:
        fits = free / adapter.memory_per_pixel / 1e6
        raise ValueError(
            f"{adapter.label} would need about {needed / 2**30:.1f} GiB for {width}x{height}, and "
            f"{free / 2**30:.1f} GiB are free; pictures up to {fits:.1f} megapixels fit "
            f"(--tile SIDE, or --size WIDTHxHEIGHT)"
        )


def _timed_decode(material: Material, index: int, protocol: Protocol, with_truth: bool) -> Decoded:
    begun, start = time.time(), time.perf_counter()
    decoded = decode(material, index, protocol, with_truth)
    span = Span(DECODING, begun, time.perf_counter() - start, os.getpid(), threading.get_native_id())
    return replace(decoded, span=span)


def decode(material: Material, index: int, protocol: Protocol, with_truth: bool = False) -> Decoded:
    """Read one sample at the protocol's size; what cannot be read carries the reason."""
    sample, digest = material.samples[index], material.digests[index]
    truth, truth_error = _truth(material, sample) if with_truth else (None, None)
    try:
        low, reference = material.dataset.load(sample)
        if reference is not None and reference.shape != low.shape:
            raise ValueError(
                f"reference is {reference.shape[-1]}x{reference.shape[-2]}, picture is {low.shape[-1]}x{low.shape[-2]}"
            )
        if protocol.size != "native":
            low = image.resize(low, protocol.size)
            reference = None if reference is None else image.resize(reference, protocol.size)
        return Decoded(index, sample, digest, Pair(low, reference), None, truth, truth_error)
    except Exception as error:
        return Decoded(index, sample, digest, None, one_line(error), truth, truth_error)


def _truth(material: Material, sample: Sample) -> tuple[Truth | None, str | None]:
    try:
        return material.dataset.truth(sample), None
    except Exception as error:
        return None, one_line(error)


def _loaded(examination: Examination, job: Job, device: torch.device) -> Predictor | str:
    try:
        return examination.task.load(job.material.dataset, job.method.name, device)
    except (ValueError, LookupError, OSError, ImportError, RuntimeError) as error:
        return one_line(error)


def _same_size(decoded: Sequence[Decoded]) -> list[list[Decoded]]:
    """Readable samples grouped by size, in order of first appearance."""
    groups: dict[tuple[int, ...], list[Decoded]] = {}
    for one in decoded:
        if one.pair is not None:
            groups.setdefault((*one.pair.low.shape, one.pair.reference is not None), []).append(one)
    return list(groups.values())


def _on(device: torch.device, pictures: Sequence[Tensor]) -> Tensor:
    """One batch on the device; from pinned memory a copy does not wait for the work before it."""
    batch = torch.stack(list(pictures)) if len(pictures) > 1 else pictures[0][None]
    return batch.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else batch


def _references(group: Sequence[Decoded], device: torch.device) -> Planes | None:
    """The group's references with their derived planes, shared by all methods of the chunk."""
    references = [one.pair.reference for one in group if one.pair is not None and one.pair.reference is not None]
    return Planes(_on(device, references)) if references else None


def _singles(enhanced: Planes, reference: Planes | None) -> Iterator[tuple[Tensor, Tensor]]:
    other = enhanced if reference is None else reference
    for index in range(len(enhanced.rgb)):
        yield enhanced.rgb[index : index + 1], other.rgb[index : index + 1]


def _failure(job: Job, one: Decoded, metric: str, error: str) -> Score:
    return Score(job.score_keys[metric], one.sample.id, one.digest, None, error or "unknown error", None)


def _no_prediction(job: Job, one: Decoded, task: str, error: str) -> Prediction:
    return Prediction(job.task_keys[task], one.sample.id, one.digest, None, error or "unknown error", None)


def _outcome(value: float, caveat: float | None, metric: Metric) -> Outcome:
    if value == value:
        return Outcome(value, None, caveat)
    reason = f"{metric.label} is undefined for this picture" + (f": {metric.undefined}" if metric.undefined else "")
    return Outcome(None, reason)


def one_line(error: Exception) -> str:
    """What went wrong, in one line; the kind of error is named where the text alone would not be understood."""
    text = " ".join(str(error).split())
    known = isinstance(error, (ValueError, OSError))
    return text if text and known else f"{type(error).__name__}: {text}".rstrip(": ")
