"""Stored predictions and truths of a task in, its columns and scores out; neither model nor data set is needed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from bench import plugins
from bench.contracts import Arrays, Column, Measured, Record, Task
from bench.plugins import Spec
from bench.store import KeptTruth, Prediction, Store
from bench.summary import Pool

Name = tuple[str, str]
"""A picture's id and the digest of its files."""


@dataclass
class Marked:
    """A task's part of a table."""

    columns: list[Column] = field(default_factory=list)
    records: list[Record] = field(default_factory=list)
    """Of the scores that are means over pictures."""
    pools: dict[tuple[str, Column], Pool] = field(default_factory=dict)
    """The other scores."""
    missing: dict[tuple[str, Column], str] = field(default_factory=dict)


def examine(
    store: Store,
    exam: Mapping[str, Any],
    keys: Mapping[str, str | None],
    names: Sequence[Name],
    confidence: float | None = None,
) -> Marked:
    """Score every method's predictions for one data set; `exam` is the plan's note, `keys` the methods' keys."""
    kind = plugins.load(Task, Spec.parse(exam["task"]))
    truths = store.truths(exam["truth_key"])
    known = [name for name in names if name in truths]
    marked = Marked()
    for method, key in keys.items():
        predictions = store.predictions(key) if key else {}
        if not predictions:
            continue
        answers = [_arrays(predictions.get(name)) for name in known]
        kept = [truths[name] for name in known]
        scores = kind.measure([one.arrays for one in kept], answers, exam["classes"], _groups(kept), confidence)
        for measured in scores:
            _enter(marked, _column(exam, measured), method, measured, names, known, predictions)
    if not marked.columns:
        marked.columns.append(_headline(exam, kind))
    for column in marked.columns:
        for method in keys:
            marked.missing.setdefault((method, column), exam["missing"].get(method, "not scored"))
    return marked


def _enter(
    marked: Marked,
    column: Column,
    method: str,
    measured: Measured,
    names: Sequence[Name],
    known: Sequence[Name],
    predictions: Mapping[Name, Prediction],
) -> None:
    """One method's score into the column that it belongs to."""
    same = [one for one in marked.columns if (one.metric, one.group) == (column.metric, column.group)]
    if same:
        column = same[0]
    else:
        marked.columns.append(column)
    errors = {name: predictions[name].error for name in names if name in predictions and predictions[name].error}
    if measured.values is None:
        present = np.array([float(_arrays(predictions.get(name)) is not None) for name in known])
        marked.pools[method, column] = Pool(measured, present, tuple(str(why) for why in errors.values()))
        if not column.group:
            marked.records += [_record(column, method, name, None, why) for name, why in errors.items()]
        return
    for name, value in zip(known, measured.values.tolist(), strict=True):
        if name in predictions and name not in errors:
            marked.records.append(_record(column, method, name, value, None))
    marked.records += [_record(column, method, name, None, why) for name, why in errors.items()]


def _record(column: Column, method: str, name: Name, value: float | None, error: str | None) -> Record:
    return Record(method, column.dataset, column.protocol, name[0], column.metric, value, error)


def _arrays(prediction: Prediction | None) -> Arrays | None:
    return None if prediction is None else prediction.arrays


def _groups(truths: Sequence[KeptTruth]) -> dict[str, list[str]]:
    """The value of every kind of group for every picture."""
    kinds = dict.fromkeys(kind for truth in truths for kind in truth.groups)
    return {kind: [truth.groups.get(kind, "unknown") for truth in truths] for kind in kinds}


def _label(exam: Mapping[str, Any]) -> str:
    """The data set's, and which task was done on it."""
    return f"{exam['label']}, {exam['task']}"


def _column(exam: Mapping[str, Any], measured: Measured) -> Column:
    return Column(
        dataset=exam["dataset"],
        dataset_label=_label(exam),
        protocol=exam["protocol"],
        metric=measured.name,
        metric_label=measured.label,
        higher_is_better=measured.higher_is_better,
        unit=measured.unit,
        decimals=measured.decimals,
        definition=measured.definition,
        group=measured.group,
    )


def _headline(exam: Mapping[str, Any], kind: type[Task]) -> Column:
    """The column that stands for a task nobody could look at."""
    name, label = kind.headline
    return Column(exam["dataset"], _label(exam), exam["protocol"], name, label, True, "", 4, kind.source)
