"""Line-up in, list of jobs out; pure: touches neither disk nor device."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from bench.contracts import Column, MethodRow, Protocol
from bench.lineup import Lineup, Material, Measure, Method, digest_of


@dataclass(frozen=True)
class Job:
    """One method on one data set: enhance each picture once, score it with every metric."""

    method: Method
    material: Material
    key: str
    """Content key of the enhanced pictures: method, data set, protocol, device kind, seed."""
    score_keys: Mapping[str, str]
    """Content key of the records by metric; one metric changed makes only its own records stale."""


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
            jobs.append(Job(method=method, material=material, key=key, score_keys=score_keys))
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
    )


def _applies(measure: Measure, material: Material, *, auto: bool) -> bool:
    """Left to the harness, a set without references has no columns of metrics that need one."""
    return material.dataset.paired or not measure.metric.needs_reference or not auto


def _reason(measure: Measure, material: Material) -> str | None:
    if measure.metric.needs_reference and not material.dataset.paired:
        return f"needs a reference; {material.dataset.label} has none"
    return measure.missing


def _label(method: Method) -> str:
    option = method.adapter.option
    return (
        f"{method.adapter.label} ({option})" if option and option not in method.adapter.label else method.adapter.label
    )


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
    )
