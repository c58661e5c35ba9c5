"""Line-up in, list of jobs out; pure: touches neither disk nor device."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from bench.contracts import Column, MethodRow, Protocol
from bench.lineup import Examination, Lineup, Material, Measure, Method, digest_of


@dataclass(frozen=True)
class Job:
    """One method on one data set: enhance each picture once, score it with every metric."""

    method: Method
    material: Material
    key: str
    """Content key of the enhanced pictures: method, data set, protocol, device kind, seed."""
    score_keys: Mapping[str, str]
    """Content key of the records by metric; one metric changed makes only its own records stale."""
    task_keys: Mapping[str, str]
    """Content key of the predictions by task; only of tasks that have a model for the method."""


@dataclass(frozen=True)
class Exam:
    """A task on a data set; its columns are known once predictions are scored."""

    examination: Examination
    material: Material
    protocol: str
    """Name of the pictures' protocol and what the task adds to it."""
    truth_key: str
    """Content key of the truths that predictions are scored against."""
    missing: Mapping[str, str]
    """Why a method has no model, by method."""


@dataclass(frozen=True)
class Plan:
    """All jobs of a run and the table they fill."""

    jobs: tuple[Job, ...]
    protocol: Protocol
    rows: tuple[MethodRow, ...]
    columns: tuple[Column, ...]
    measures: tuple[Measure, ...]
    missing: Mapping[tuple[str, str], str]
    """Why a whole column is empty, by (data set, metric)."""
    exams: tuple[Exam, ...] = ()

    def without(self, metrics: Mapping[str, str], models: Mapping[tuple[str, str, str], str]) -> Plan:
        """The plan with reasons for metrics that could not be loaded, and for models by (data set, task, method)."""
        missing = {(one.dataset, one.metric): metrics[one.metric] for one in self.columns if one.metric in metrics}
        exams = []
        for exam in self.exams:
            place = exam.material.name, exam.examination.name
            reasons = {method: why for (*where, method), why in models.items() if tuple(where) == place}
            exams.append(replace(exam, missing={**exam.missing, **reasons}))
        return replace(self, missing={**self.missing, **missing}, exams=tuple(exams))


def plan(lineup: Lineup, protocol: Protocol, device_kind: str, seed: int) -> Plan:
    """Every method on every data set under one protocol."""
    columns: list[Column] = []
    missing: dict[tuple[str, str], str] = {}
    jobs: list[Job] = []
    for material in lineup.materials:
        measures = [m for m in lineup.measures if _applies(m, material, auto=lineup.auto_metrics)]
        columns += [_column(material, measure, protocol) for measure in measures]
        for measure in measures:
            reason = _reason(measure, material)
            if reason is not None:
                missing[material.name, measure.name] = reason
        for method in lineup.methods:
            key = digest_of(method.digest, material.digest, protocol.name, device_kind, str(seed))
            score_keys = {
                measure.name: digest_of(key, measure.digest)
                for measure in measures
                if (material.name, measure.name) not in missing
            }
            task_keys = {
                one.name: digest_of(key, one.digest, one.models[material.name, method.name], material.truth_digest)
                for one in lineup.examinations
                if (material.name, method.name) in one.models
            }
            jobs.append(Job(method, material, key, score_keys, task_keys))
    rows = tuple(
        MethodRow(method=method.name, label=_label(method), kind=method.adapter.kind) for method in lineup.methods
    )
    return Plan(
        jobs=tuple(jobs),
        protocol=protocol,
        rows=rows,
        columns=tuple(columns),
        measures=lineup.measures,
        missing=missing,
        exams=tuple(
            _exam(examination, material, protocol)
            for material in lineup.materials
            for examination in lineup.examinations
            if examination.name in material.dataset.tasks
        ),
    )


def _exam(examination: Examination, material: Material, protocol: Protocol) -> Exam:
    dataset = material.dataset
    return Exam(
        examination=examination,
        material=material,
        protocol=f"{protocol.name}+{examination.task.protocol(dataset)}",
        truth_key=digest_of(material.digest, material.truth_digest, examination.name, *dataset.classes),
        missing={method: why for (name, method), why in examination.missing.items() if name == material.name},
    )


def _applies(measure: Measure, material: Material, *, auto: bool) -> bool:
    """Left to the harness, a set without references has no columns of metrics that need one."""
    return material.dataset.paired or not measure.metric.needs_reference or not auto


def _reason(measure: Measure, material: Material) -> str | None:
    if measure.metric.needs_reference and not material.dataset.paired:
        return f"needs a reference; {material.dataset.label} has none"
    return measure.missing


def _label(method: Method) -> str:
    """The method's, and what makes this row another one: its option, a precision, a compiler."""
    option, label = method.adapter.option, method.adapter.label
    own = [
        option if option not in label else "",
        method.precision if method.precision != "float32" else "",
        "compiled" if method.compile else "",
    ]
    told = ", ".join(word for word in own if word)
    return f"{label} ({told})" if told else label


def _column(material: Material, measure: Measure, protocol: Protocol) -> Column:
    metric = measure.metric
    return Column(
        dataset=material.name,
        dataset_label=material.dataset.label,
        protocol=protocol.name,
        metric=measure.name,
        metric_label=metric.label if measure.option in metric.label else f"{metric.label} ({measure.option})",
        higher_is_better=metric.higher_is_better,
        unit=metric.unit,
        decimals=metric.decimals,
        definition=metric.definition,
        caveat=metric.caveat,
        noise=metric.noise,
    )
