"""Config in, the run's plug-ins out, each built and digested; every mistake is found before the first picture."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import TypeVar

from bench import image, parameters, planes, plugins
from bench.config import Config, TaskSection
from bench.contracts import REFIT, Adapter, Dataset, Metric, Sample, Task
from bench.plugins import Spec

STANDARD_METRICS = ("psnr", "ssim", "fsim", "lpips", "niqe", "brisque", "sseq")
"""What `metrics = "auto"` stands for; on sets without references those of them that need none."""

NO_ENHANCEMENT = "input"
"""The row that every run holds: the pictures as they are."""

NONE = "none"
"""What `--metrics` and `--tasks` take for: none at all."""

Sha256 = Callable[[Iterable[Path]], list[str]]
Built = TypeVar("Built", "Method", "Material", "Measure")


class LineupError(ValueError):
    """One or more words of the user name nothing usable; the text lists them all."""


@dataclass(frozen=True)
class Method:
    """A method ready to enhance."""

    name: str
    adapter: Adapter
    digest: str
    """Over its source, its option and the files it depends on."""
    files: Mapping[str, str]
    """SHA-256 of those files by name."""
    code: str
    """Over its source alone."""
    precision: str = "float32"
    """What its network computes in."""
    compile: bool = False
    """Whether torch.compile rewrites its network."""


@dataclass(frozen=True)
class Material:
    """A data set with its samples."""

    name: str
    dataset: Dataset
    samples: tuple[Sample, ...]
    digests: tuple[str, ...]
    """SHA-256 over each sample's files."""
    digest: str
    """Over the data set's source and option; the pictures have their own digests."""
    truth_digest: str
    """Over the files that say what is in the pictures."""
    code: str
    """Over its source alone."""


@dataclass(frozen=True)
class Measure:
    """A metric, and where its files are."""

    name: str
    metric: type[Metric]
    option: str
    files: Mapping[str, Path]
    missing: str | None
    """Why the metric cannot be computed on this machine, None where it can."""
    digest: str
    """Over its source, its option, its definition and its files."""
    code: str
    """Over its source alone."""
    parameters: Mapping[str, str]
    """SHA-256 of its files by name, as far as they are on this machine."""


@dataclass(frozen=True)
class Examination:
    """A downstream task, and which models look at whose pictures."""

    name: str
    task: Task
    digest: str
    """Over its source, option and size."""
    models: Mapping[tuple[str, str], str]
    """Digest of the model by (data set, method)."""
    missing: Mapping[tuple[str, str], str]
    """Why there is no model, by (data set, method)."""
    code: str
    """Over its source alone."""


@dataclass(frozen=True)
class Lineup:
    """Everything that takes part in a run."""

    methods: tuple[Method, ...]
    materials: tuple[Material, ...]
    measures: tuple[Measure, ...]
    auto_metrics: bool
    """Whether the metrics were left to the harness."""
    examinations: tuple[Examination, ...]


def lineup(
    config: Config,
    sha256_of: Sha256,
    metrics: Iterable[str] | None = None,
    *,
    read: bool = True,
) -> Lineup:
    """Build what `[run]` names; raises LineupError with every mistake at once.

    A repeated run says in `metrics` what `auto` stood for. With `read` off, no picture is digested: a worker does so
    for those that it is given.
    """
    problems = _unknown_sections(config)

    def build_all(build: Callable[[str, Config, Sha256], Built], names: Iterable[str]) -> tuple[Built, ...]:
        built: list[Built] = []
        for name in dict.fromkeys(names):
            try:
                made = build(config.places.get(name, name), config, sha256_of)
                built.append(made if made.name == name else replace(made, name=name))
            except (LookupError, ValueError, OSError, TypeError, ImportError, SyntaxError) as error:
                problems.append(str(error) or repr(error))
        return tuple(built)

    run = config.run
    names = run.methods if NO_ENHANCEMENT in run.methods else (NO_ENHANCEMENT, *run.methods)
    made = Lineup(
        methods=build_all(build_method, names),
        materials=build_all(partial(_material, read=read), run.datasets),
        measures=build_all(build_measure, metric_names(config) if metrics is None else metrics),
        auto_metrics="auto" in run.metrics,
        examinations=(),
    )
    try:
        made = replace(made, examinations=_examinations(made, config, sha256_of))
    except (LookupError, ValueError, OSError, TypeError, ImportError) as error:
        problems.append(str(error))
    if problems:
        raise LineupError("\n".join(dict.fromkeys(problems)))
    return made


def metric_names(config: Config) -> list[str]:
    """The metrics of `[run]`, with what 'auto' stands for on this machine.

    A standard metric whose files are absent gives way to the set that this project fitted, where there is one; that is
    a metric of its own name (`niqe_refit`), so the two never share a column.
    """
    known = plugins.names(Metric)

    def standard(name: str) -> str:
        files = plugins.load(Metric, Spec.parse(name)).files
        absent = any(row.place is None for row in parameters.status(files, config.parameters))
        return f"{name}{REFIT}" if absent and f"{name}{REFIT}" in known else name

    expanded = {"auto": lambda: [standard(name) for name in STANDARD_METRICS], NONE: list[str]}
    return [name for word in config.run.metrics for name in (expanded[word]() if word in expanded else [word])]


def build_method(name: str, config: Config, sha256_of: Sha256) -> Method:
    """Load a method with its weights; raises LookupError, ValueError or OSError naming what is wrong."""
    spec = Spec.parse(name)
    adapter_class = plugins.load(Adapter, spec)
    weights = config.weights(spec)
    shipped = adapter_class.weights_name(spec.option)
    if weights is None and shipped is not None:
        weights = Path(inspect.getfile(adapter_class)).parent / "weights" / shipped
    adapter = adapter_class(spec.option, weights)
    digests = sha256_of(adapter.files)
    code = plugins.source_digest(adapter_class)
    section = config.method(spec)
    other = [word for word in (section.precision, "compiled" if section.compile else "") if word not in ("", "float32")]
    return Method(
        name=name,
        adapter=adapter,
        digest=digest_of(code, spec.option, *digests, *other),
        files={path.name: digest for path, digest in zip(adapter.files, digests, strict=True)},
        code=code,
        precision=section.precision,
        compile=section.compile,
    )


def build_dataset(name: str, config: Config) -> Dataset:
    """Load a data set with its root; whether the root holds it shows when samples are listed."""
    spec = Spec.parse(name)
    return plugins.load(Dataset, spec)(spec.option, config.root(spec))


def build_training_set(name: str, config: Config) -> Dataset:
    """Load a data set to learn from: the bare name of a divided set means its training split.

    Raises ValueError for another split of it: what is trained on pictures that results are reported on is worthless.
    """
    dataset = build_dataset(name, config)
    split = dataset.training_split
    if split and not dataset.option:
        return build_dataset(f"{name}:{split}", config)
    if split and dataset.option != split:
        raise ValueError(
            f"{name} is for results, not for training; its training split is {Spec.parse(name).name}:{split}"
        )
    return dataset


def build_measure(name: str, config: Config, sha256_of: Sha256) -> Measure:
    """Find a metric and its files; a file that is not there is a stated reason, not an error."""
    spec = Spec.parse(name)
    metric = plugins.load(Metric, spec)
    if spec.option and not metric.options:
        raise ValueError(f"{name}: the metric {spec.name!r} takes no option; variants are metrics of their own")
    metric = metric.variant(spec.option)
    files: dict[str, Path] = {}
    missing: str | None = None
    for file in metric.files:
        try:
            files[file.name] = parameters.find(file, config.parameters)
        except parameters.MissingFileError:
            # Short and without folders of this machine: it ends up in footnotes of published tables.
            missing = f"needs {file.name}, which is not on this machine (bench weights fetch, or BENCH_PARAMETERS)"
        except parameters.ParameterError as error:
            missing = str(error)
    source = plugins.source_digest(metric), file_digest(planes)
    digests = sha256_of(files.values())
    return Measure(
        name=name,
        metric=metric,
        option=spec.option,
        files=files,
        missing=missing,
        # The definition of another library's metric names that library's version.
        digest=digest_of(*source, spec.option, metric.definition, *digests),
        code=digest_of(*source),
        parameters=dict(zip(files, digests, strict=True)),
    )


def _examinations(members: Lineup, config: Config, sha256_of: Sha256) -> tuple[Examination, ...]:
    """The tasks of `[run]`; left to the harness, those that a data set has a truth for."""
    offered = list(dict.fromkeys(name for material in members.materials for name in material.dataset.tasks))
    words = [name for word in config.run.tasks for name in (offered if word == "auto" else [word]) if name != NONE]
    made = []
    for word in dict.fromkeys(words):
        spec = Spec.parse(word)
        kind = plugins.load(Task, spec)
        if members.materials and spec.name not in offered:
            asked = ", ".join(material.name for material in members.materials)
            raise ValueError(f"--tasks {word}: none of the data sets ({asked}) has a truth for {spec.name}")
        made.append(_examination(spec, kind, members, config, sha256_of))
    return tuple(made)


def _examination(spec: Spec, kind: type[Task], members: Lineup, config: Config, sha256_of: Sha256) -> Examination:
    """A task with the models that look at each method's pictures of each data set that it applies to."""
    section = config.tasks.get(spec.name, TaskSection())
    found = {row.name: row.place for row in parameters.status(kind.files, config.parameters) if row.place is not None}
    task = kind(spec.option or section.model, section.size, found)
    models: dict[tuple[str, str], str] = {}
    missing: dict[tuple[str, str], str] = {}
    for material in members.materials:
        if spec.name not in material.dataset.tasks:
            continue
        for method in members.methods:
            try:
                models[material.name, method.name] = digest_of(*sha256_of(task.model(material.dataset, method.name)))
            except LookupError as error:
                missing[material.name, method.name] = str(error)
    code = plugins.source_digest(kind)
    digest = digest_of(code, task.option, task.size_given)
    return Examination(spec.name, task, digest, models, missing, code)


def digest_of(*parts: str) -> str:
    """One SHA-256 over several texts, unambiguous about where each ends."""
    return sha256("\0".join(f"{len(part)}:{part}" for part in parts).encode()).hexdigest()


def file_digest(module: object) -> str:
    """SHA-256 of a core module's source."""
    return sha256(Path(str(getattr(module, "__file__", ""))).read_bytes()).hexdigest()


def _material(name: str, config: Config, sha256_of: Sha256, *, read: bool = True) -> Material:
    dataset = build_dataset(name, config)
    samples = dataset.samples()
    truths = dict.fromkeys(file for sample in samples for file in sample.truth) if read else ()
    samples = samples[: config.run.limit] if config.run.limit else samples
    source = plugins.source_digest(type(dataset)), file_digest(image)
    return Material(
        name=name,
        dataset=dataset,
        samples=tuple(samples),
        digests=_digests(samples, sha256_of) if read else ("",) * len(samples),
        digest=digest_of(*source, dataset.option),
        truth_digest=digest_of(*sha256_of(truths)),
        code=digest_of(*source),
    )


def _digests(samples: Sequence[Sample], sha256_of: Sha256) -> tuple[str, ...]:
    """SHA-256 over each sample's files, which are asked for all at once: over a network they come side by side."""
    found = iter(sha256_of(file for sample in samples for file in sample.files))
    return tuple(digest_of(*(next(found) for _ in sample.files)) for sample in samples)


def _unknown_sections(config: Config) -> list[str]:
    """[datasets.NAME] and [methods.NAME] that name no plug-in: a misspelt name would silently do nothing."""
    rooms = (
        ("datasets", Dataset, config.datasets),
        ("methods", Adapter, config.methods),
        ("tasks", Task, config.tasks),
    )
    return [
        f"[{table}.{name}]: no such name{plugins.near(name, known)}"
        for table, kind, sections in rooms
        for known in [plugins.names(kind)]
        for name in sections
        if name.partition(":")[0] not in known
    ]
