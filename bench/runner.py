"""Plan in, records out: decode, enhance and score in one pass; one bad picture is an error record, not a crash."""

from __future__ import annotations

import io
import json
import re
import time
from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field, replace
from hashlib import sha256
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from bench import image
from bench.config import RunSection
from bench.contracts import MAP_PEAK, Adapter, Metric, Pair, Predictor, Protocol, Sample, Truth
from bench.lineup import Examination, Material, Measure, digest_of
from bench.memory import free_bytes
from bench.plan import Exam, Job, Plan
from bench.planes import Planes
from bench.store import Enhancement, KeptTruth, Picture, Prediction, Score, Store, explained

RANGE_DUST = 1e-4
"""How far outside [0, 1] a method's floats may lie before it counts as an error; dust is clamped."""

THUMBNAIL_SIDE = 320
"""Long side in pixels of the pictures in report.html."""
VIEW_QUALITY = 95
"""Of the WebP files that the page shows at full size."""
LUMA_BT601 = (0.299, 0.587, 0.114)


class Outcome(NamedTuple):
    """What a metric says of one picture."""

    value: float | None
    error: str | None
    caveat: float | None = None


class Progress(NamedTuple):
    """How far the run is, counted in pictures x methods."""

    done: int
    total: int
    failed: int
    dataset: str


@dataclass
class Trace:
    """What a run did besides its records: where the time went, and metrics that could not be loaded."""

    seconds: dict[str, float] = field(default_factory=lambda: defaultdict(float))
    """By stage, summed over the run."""
    pictures: int = 0
    """Pictures x methods worked on."""
    broken: dict[str, str] = field(default_factory=dict)
    """Why a metric could not be loaded; not recorded, so that the next run tries again."""
    broken_models: dict[tuple[str, str, str], str] = field(default_factory=dict)
    """Why a task's model could not be loaded, by (data set, task, method); not recorded either."""

    @contextmanager
    def stage(self, name: str, device: torch.device) -> Iterator[None]:
        """Time one stage; waits for the device, so that work is charged where it was asked for."""
        start = time.perf_counter()
        try:
            yield
        finally:
            _synchronise(device)
            self.seconds[name] += time.perf_counter() - start


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


class _Lacking(NamedTuple):
    """What a job has not computed for at least one picture of a chunk; nothing named: a picture file is missing."""

    job: Job
    metrics: frozenset[str]
    tasks: frozenset[str]


@dataclass(frozen=True)
class _Chunk:
    """Neighbouring pictures of a data set and what is still to be computed for them."""

    material: Material
    places: range
    jobs: tuple[_Lacking, ...]
    truths: bool
    """Whether a task needs to know what is in the pictures."""


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

    def write_maps(self, thumbnail: Path, picture: Tensor, reference: Tensor, names: Collection[str]) -> None:
        """Beside a thumbnail: where the picture differs, by each metric that has such a map."""
        for name in sorted(names):
            metric = self.metrics.get(name)
            if metric is None or not metric.needs_reference:
                continue
            try:
                found = metric.spatial(Planes(picture), Planes(reference))
            except ValueError:  # too small a picture: its score says so
                continue
            if found is not None:
                grey = (found[0].float() / MAP_PEAK).clamp(0, 1).cpu().expand(3, -1, -1)
                _write_webp(map_file(thumbnail, name), grey)

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
    def build(cls, plan: Plan, needed: Sequence[_Lacking], device: torch.device) -> Examiner:
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

    def kept(self, chunk: _Chunk, decoded: Sequence[Decoded]) -> list[KeptTruth]:
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


def _loaded(examination: Examination, job: Job, device: torch.device) -> Predictor | str:
    try:
        return examination.task.load(job.material.dataset, job.method.name, device)
    except (ValueError, LookupError, OSError, ImportError, RuntimeError) as error:
        return one_line(error)


def run(plan: Plan, store: Store, settings: RunSection, device: torch.device, trace: Trace) -> Iterator[Progress]:
    """Compute and record whatever of the plan the store lacks; yields after every batch of every method."""
    batch = settings.batch or (8 if device.type == "cuda" else 1)
    chunks = list(_chunks(plan, store, settings, batch))
    needed = {name for chunk in chunks for lacking in chunk.jobs for name in lacking.metrics}
    scorer = Scorer.build([measure for measure in plan.measures if measure.name in needed], device)
    examiner = Examiner.build(plan, [lacking for chunk in chunks for lacking in chunk.jobs], device)
    if scorer.broken or examiner.broken:
        # Nothing can be recorded for these, so they are no reason to enhance a picture again.
        trace.broken.update(scorer.broken)
        trace.broken_models.update(examiner.broken)
        plan = _without(plan, scorer.broken, examiner.broken)
        chunks = list(_chunks(plan, store, settings, batch))
    total = sum(len(job.material.samples) for job in plan.jobs)
    done = total - sum(len(chunk.places) * len(chunk.jobs) for chunk in chunks)
    progress = Progress(done, total, 0, "")
    yield progress
    if not chunks:
        return
    for method in {id(one.job.method): one.job.method for chunk in chunks for one in chunk.jobs}.values():
        method.adapter.to(device)
    with torch.no_grad(), exact_convolutions(), ThreadPoolExecutor(settings.workers) as pool:
        for chunk, decoded in _ahead(pool, chunks, plan.protocol, settings.workers + 1, trace, device):
            for failed in _work(chunk, decoded, plan, store, settings, device, trace, scorer, examiner):
                progress = Progress(
                    progress.done + len(chunk.places), total, progress.failed + failed, chunk.material.dataset.label
                )
                yield progress


def exact_convolutions() -> AbstractContextManager[None]:
    """On CUDA: the same kernel every time, and float32 that is float32 (TF32 keeps 10 bits of a product)."""
    return torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=True, allow_tf32=False)


def enhance(adapter: Adapter, low: Tensor, dataset: str, ids: Sequence[str], seed: int) -> Tensor:
    """Enhance a batch under the contract: padded, seeded by picture, checked; (N, 3, H, W) in [0, 1] out.

    Raises ValueError naming the method where it returns another shape, NaN, or values outside [0, 1].
    """
    # Seeded by the pictures' names: a method that samples gives the same picture in any order and after any resume.
    torch.manual_seed(int.from_bytes(sha256(f"{seed}:{dataset}:{','.join(ids)}".encode()).digest()[:7], "big"))
    height, width = low.shape[-2:]
    _refuse_too_large(adapter, low)
    padded = image.pad_to_multiple(low.clone(), adapter.pad_multiple)
    enhanced = adapter.enhance_named(padded, dataset, ids)
    if not isinstance(enhanced, Tensor) or enhanced.shape != padded.shape:
        shape = tuple(enhanced.shape) if isinstance(enhanced, Tensor) else type(enhanced).__name__
        raise ValueError(f"{adapter.label} returned {shape} for a batch of {tuple(padded.shape)}")
    if not enhanced.is_floating_point():
        raise ValueError(f"{adapter.label} returned {enhanced.dtype}, expected float32 in [0, 1]")
    enhanced = enhanced[..., :height, :width].to(low)
    if not bool(enhanced.isfinite().all()):
        raise ValueError(f"{adapter.label} returned values that are not finite (NaN or infinity)")
    low_end, high_end = (float(end) for end in torch.aminmax(enhanced))
    if low_end < -RANGE_DUST or high_end > 1 + RANGE_DUST:
        raise ValueError(f"{adapter.label} returned range [{low_end:.4g}, {high_end:.4g}], expected [0, 1]")
    return enhanced.clamp(0, 1)


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
            f"{free / 2**30:.1f} GiB are free; pictures up to {fits:.1f} megapixels fit (--size WIDTHxHEIGHT)"
        )


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


def thumbnail_path(dataset: str, method: str, key: str, sample: str) -> str:
    """Where a small picture for the report lies below the run folder; `key` keeps stale ones apart."""
    return f"thumbnails/{slug(dataset)}/{slug(method)}-{key[:8]}/{slug(sample)}.webp"


def image_path(dataset: str, method: str, sample: str) -> str:
    """Where --save-images puts an enhanced picture below the run folder."""
    return f"images/{slug(dataset)}/{slug(method)}/{slug(sample)}.png"


def slug(name: str) -> str:
    """A file name for any text; two texts never share one."""
    plain = re.sub(r"[^A-Za-z0-9._=+-]", "_", name).strip(".") or "_"
    return plain[:80] if plain == name and len(name) <= 80 else f"{plain[:80]}-{sha256(name.encode()).hexdigest()[:8]}"


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


def _chunks(plan: Plan, store: Store, settings: RunSection, batch: int) -> Iterator[_Chunk]:
    """Chunks of each data set that lack something.

    Chunks are cut from the whole list, not from what is left, so that a resumed run forms the same batches.
    """
    pictures = store.pictures()
    present = {path for path, picture in pictures.items() if (store.folder / path).is_file()}
    for material in dict.fromkeys(job.material.name for job in plan.jobs):
        jobs = [job for job in plan.jobs if job.material.name == material]
        keys = [key for job in jobs for key in (*job.score_keys.values(), *job.task_keys.values())]
        done = {key: store.done(key) for key in keys}
        samples, digests = jobs[0].material.samples, jobs[0].material.digests
        for start in range(0, len(samples), batch):
            chunk = range(start, min(start + batch, len(samples)))
            names = [(samples[index].id, digests[index]) for index in chunk]
            lacking: list[_Lacking] = []
            for job in jobs:
                metrics, tasks = (
                    frozenset(name for name, key in keys.items() if not done[key].issuperset(names))
                    for keys in (job.score_keys, job.task_keys)
                )
                files = [
                    (samples[index].id, digests[index])
                    for index in chunk
                    for path, key in _wanted_files(job, settings, index)
                    if path not in present or (pictures[path].key, pictures[path].digest) != (key, digests[index])
                ]
                if metrics or tasks or (files and not set(files) <= _failed(store, job)):
                    lacking.append(_Lacking(job, metrics, tasks))
            if lacking:
                yield _Chunk(jobs[0].material, chunk, tuple(lacking), any(one.tasks for one in lacking))


def _failed(store: Store, job: Job) -> set[tuple[str, str]]:
    """(image, digest) of the pictures recorded as failed under every key: they have no picture to write."""
    failures = [store.failed(key) for key in (*job.score_keys.values(), *job.task_keys.values())]
    return set.intersection(*failures) if failures else set()


def _wanted_files(job: Job, settings: RunSection, index: int) -> list[tuple[str, str]]:
    """(path, key) of the picture files that a finished run holds for a job and a sample."""
    sample, dataset = job.material.samples[index], job.material.name
    wanted: list[tuple[str, str]] = []
    if index < settings.thumbnails:
        wanted.append((thumbnail_path(dataset, job.method.name, job.key, sample.id), job.key))
    if settings.save_images:
        wanted.append((image_path(dataset, job.method.name, sample.id), job.key))
    return wanted


def _ahead(
    pool: ThreadPoolExecutor,
    chunks: Sequence[_Chunk],
    protocol: Protocol,
    depth: int,
    trace: Trace,
    device: torch.device,
) -> Iterator[tuple[_Chunk, list[Decoded]]]:
    """Chunks with their decoded samples, `depth` chunks decoded ahead of the device."""
    pending: list[tuple[_Chunk, list[Future[Decoded]]]] = []
    try:
        for chunk in chunks:
            futures = [pool.submit(decode, chunk.material, place, protocol, chunk.truths) for place in chunk.places]
            pending.append((chunk, futures))
            if len(pending) > depth:
                yield _collect(*pending.pop(0), trace, device)
        while pending:
            yield _collect(*pending.pop(0), trace, device)
    finally:
        for _, futures in pending:
            for future in futures:
                future.cancel()


def _collect(
    chunk: _Chunk, futures: Sequence[Future[Decoded]], trace: Trace, device: torch.device
) -> tuple[_Chunk, list[Decoded]]:
    with trace.stage("wait for decoding", device):
        return chunk, [future.result() for future in futures]


def _work(
    chunk: _Chunk,
    decoded: Sequence[Decoded],
    plan: Plan,
    store: Store,
    settings: RunSection,
    device: torch.device,
    trace: Trace,
    scorer: Scorer,
    examiner: Examiner,
) -> Iterator[int]:
    """Enhance and score a chunk with each of its jobs; commits once per job, yields how many pictures failed."""
    groups = [
        (
            group,
            torch.stack([one.pair.low for one in group if one.pair]).to(device),
            _reference_planes(group, device),
        )
        for group in _same_size(decoded)
    ]
    unreadable = [one for one in decoded if one.pair is None]
    truths = examiner.kept(chunk, decoded)
    for job, metrics, tasks in chunk.jobs:
        scores = [_failure(job, one, metric, one.error or "") for one in unreadable for metric in sorted(metrics)]
        predictions = [_no_prediction(job, one, task, one.error or "") for one in unreadable for task in sorted(tasks)]
        pictures: list[Picture] = []
        enhancements: list[Enhancement] = []
        failed = {one.sample.id for one in unreadable}
        for group, low, reference in groups:
            start = time.perf_counter()
            with trace.stage(f"enhance: {job.method.name}", device):
                enhanced, errors = _enhance_each(job, group, low, settings.seed)
            seconds = (time.perf_counter() - start) / len(group)
            for position, error in errors.items():
                failed.add(group[position].sample.id)
                scores += [_failure(job, group[position], metric, error) for metric in sorted(metrics)]
                predictions += [_no_prediction(job, group[position], task, error) for task in sorted(tasks)]
            good = [position for position in range(len(group)) if position not in errors]
            if not good:
                continue
            kept = [group[position] for position in good]
            final = enhanced[good]
            if plan.protocol.rounding == "8bit":
                final = image.round_8bit(final)
            planes = Planes(final)
            matching = reference if len(good) == len(group) or reference is None else Planes(reference.rgb[good])
            for metric in (name for name in job.score_keys if name in metrics and name in scorer.metrics):
                start = time.perf_counter()
                with trace.stage(f"score: {metric}", device):
                    against = Planes(low[good]) if scorer.metrics[metric].needs_low else matching
                    outcomes = scorer.score(metric, planes, against)
                share = (time.perf_counter() - start) / len(kept)
                for one, outcome in zip(kept, outcomes, strict=True):
                    if outcome.error is not None:
                        failed.add(one.sample.id)
                    scores.append(
                        Score(
                            key=job.score_keys[metric],
                            image=one.sample.id,
                            digest=one.digest,
                            value=outcome.value,
                            error=outcome.error,
                            seconds=share,
                            caveat=outcome.caveat,
                        )
                    )
            for task in (name for name in job.task_keys if name in tasks):
                with trace.stage(f"task: {task}", device):
                    said = examiner.predict(job, task, kept, final)
                failed.update(one.image for one in said if one.error is not None)
                predictions += said
            with trace.stage("write pictures", device):
                for place, (one, picture) in enumerate(zip(kept, final, strict=True)):
                    pictures += _write_pictures(job, one, picture, plan.protocol, store, settings)
                    if one.index < settings.thumbnails and matching is not None:
                        thumbnail = store.folder / view_paths(job, one.index, plan.protocol)[job.method.name]
                        with explained(store.folder):
                            scorer.write_maps(thumbnail, picture[None], matching.rgb[place : place + 1], metrics)
            width, height = int(low.shape[-1]), int(low.shape[-2])
            with trace.stage("digest", device):
                contents = image.digests(final, plan.protocol.rounding)
            enhancements += [
                Enhancement(job.key, one.sample.id, one.digest, width, height, seconds, content)
                for one, content in zip(kept, contents, strict=True)
            ]
        with trace.stage("store", device):
            store.add(scores, pictures, enhancements, predictions, truths)
        trace.pictures += len(decoded)
        yield len(failed)


def _enhance_each(job: Job, group: Sequence[Decoded], low: Tensor, seed: int) -> tuple[Tensor, dict[int, str]]:
    """Enhance a batch; where it fails, each picture alone, so that one bad picture costs only itself."""
    adapter, ids = job.method.adapter, [one.sample.id for one in group]
    try:
        return enhance(adapter, low, job.material.name, ids, seed), {}
    except Exception as error:
        if len(group) == 1:
            return low, {0: one_line(error)}
    results = [_enhance_each(job, [one], low[index : index + 1], seed) for index, one in enumerate(group)]
    errors = {index: error for index, (_, failed) in enumerate(results) for error in failed.values()}
    return torch.cat([picture for picture, _ in results]), errors


def _write_pictures(
    job: Job, one: Decoded, picture: Tensor, protocol: Protocol, store: Store, settings: RunSection
) -> list[Picture]:
    """Thumbnail and, if wanted, PNG of an enhanced picture; once per sample also thumbnails of low and reference."""
    written: list[Picture] = []
    with explained(store.folder):
        for path, key in _wanted_files(job, settings, one.index):
            _write(store.folder / path, picture)
            written.append(Picture(path, key, one.digest))
        if one.index < settings.thumbnails and one.pair is not None:
            paths = view_paths(job, one.index, protocol)
            reference = one.pair.reference
            for name, view in (("low", one.pair.low), ("reference", reference)):
                if view is not None and not (store.folder / paths[name]).is_file():
                    _write(store.folder / paths[name], view)
                    write_view(store.folder / paths[name], view, reference if name == "low" else None)
            write_view(store.folder / paths[job.method.name], picture, reference)
    return written


def write_view(thumbnail: Path, picture: Tensor, reference: Tensor | None) -> None:
    """Beside a thumbnail: the whole picture, its difference to the reference and its histograms, for looking at."""
    files = view_files(thumbnail)
    files["full"].parent.mkdir(parents=True, exist_ok=True)
    _write_webp(files["full"], picture)
    levels = image.to_uint8(picture.cpu())
    if reference is not None:
        difference = (levels.int() - image.to_uint8(reference).int()).abs().float().mean(0).div(255)
        _write_webp(files["error"], difference.expand(3, -1, -1))
    luma = image.to_uint8((levels.float().permute(1, 2, 0) @ torch.tensor(LUMA_BT601)) / 255)
    planes = {"luma": luma, "red": levels[0], "green": levels[1], "blue": levels[2]}
    counts = {name: torch.bincount(plane.flatten().int(), minlength=256).tolist() for name, plane in planes.items()}
    _write_bytes(files["histogram"], json.dumps(counts, separators=(",", ":")).encode())


def view_files(thumbnail: Path) -> dict[str, Path]:
    """Where the whole picture, its error map and its histograms lie, by the place of its thumbnail."""
    folder = Path(*("views" if part == "thumbnails" else part for part in thumbnail.parts[:-1]))
    endings = {"full": ".webp", "error": ".error.webp", "histogram": ".json"}
    return {name: folder / f"{thumbnail.stem}{ending}" for name, ending in endings.items()}


def map_file(thumbnail: Path, metric: str) -> Path:
    """Where a metric's map lies, by the place of the picture's thumbnail."""
    full = view_files(thumbnail)["full"]
    return full.with_name(f"{full.stem}.map-{slug(metric)}.webp")


def _write_webp(path: Path, picture: Tensor) -> None:
    stream = io.BytesIO()
    image.encode_webp(picture, stream, VIEW_QUALITY)
    _write_bytes(path, stream.getvalue())


def view_paths(job: Job, index: int, protocol: Protocol) -> dict[str, str]:
    """Paths of a sample's thumbnails by 'low', 'reference' and the method's name."""
    dataset, sample = job.material.name, job.material.samples[index].id
    # Low and reference pictures depend on the data set, the sample's files and the size alone.
    key = digest_of(job.material.digest, job.material.digests[index], protocol.size)
    views = {name: thumbnail_path(dataset, name, key, sample) for name in ("low", "reference")}
    return {**views, job.method.name: thumbnail_path(dataset, job.method.name, job.key, sample)}


def _write(path: Path, picture: Tensor) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".png":
        image.write_png(path, picture)
    else:
        _write_bytes(path, image.thumbnail(picture, THUMBNAIL_SIDE))


def _write_bytes(path: Path, content: bytes) -> None:
    part = path.with_name(path.name + ".part")
    part.write_bytes(content)
    part.replace(path)


def _same_size(decoded: Sequence[Decoded]) -> list[list[Decoded]]:
    """Readable samples grouped by size, in order of first appearance."""
    groups: dict[tuple[int, ...], list[Decoded]] = {}
    for one in decoded:
        if one.pair is not None:
            groups.setdefault((*one.pair.low.shape, one.pair.reference is not None), []).append(one)
    return list(groups.values())


def _reference_planes(group: Sequence[Decoded], device: torch.device) -> Planes | None:
    """The group's references with their derived planes, shared by all methods of the chunk."""
    references = [one.pair.reference for one in group if one.pair is not None and one.pair.reference is not None]
    return Planes(torch.stack(references).to(device)) if references else None


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


def _synchronise(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
