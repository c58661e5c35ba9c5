"""Which data set, methods, pictures and metrics of a run a figure shows; the user's words answered by name."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from bench.contracts import Column, MethodRow, Result, View, Wanted

LOW, REFERENCE = "low", "reference"
"""Names under which the two pictures of a sample stand among the methods."""


def datasets(result: Result) -> list[str]:
    """All data sets of a run, in the order of its tables."""
    names = [column.dataset for column in result.table.columns]
    return list(dict.fromkeys([*names, *(dataset for dataset, _, _ in result.views)]))


def dataset_label(result: Result, dataset: str) -> str:
    """The data set's name in tables, without the task that the label of a task's column adds."""
    labels = [column.dataset_label for column in result.table.columns if column.dataset == dataset]
    return min(labels, key=len, default=dataset)


def choose_dataset(result: Result, wanted: Wanted, suitable: Iterable[str], lacking: str) -> str:
    """The data set asked for, or the run's first suitable one; ValueError says what the others lack."""
    known, able = datasets(result), set(suitable)
    if wanted.dataset and wanted.dataset not in known:
        raise LookupError(f"no data set of this run is called {wanted.dataset!r}{near(wanted.dataset, known)}")
    candidates = [wanted.dataset] if wanted.dataset else known
    for name in candidates:
        if name in able:
            return name
    raise ValueError(f"{' and '.join(candidates) or 'the run'}: {lacking}")


def choose_methods(result: Result, wanted: Wanted) -> list[MethodRow]:
    """The methods asked for, in that order, or all."""
    rows = {row.method: row for row in result.table.rows}
    for name in wanted.methods:
        if name not in rows:
            raise LookupError(f"no method of this run is called {name!r}{near(name, rows)}")
    return [rows[name] for name in wanted.methods or rows]


def choose_columns(result: Result, dataset: str, names: Sequence[str]) -> list[Column]:
    """The columns of a data set by their metrics' names; the empty list where none is named."""
    columns: dict[str, Column] = {}
    for column in result.table.columns:
        if column.dataset == dataset:
            columns.setdefault(column.metric, column)
    for name in names:
        if name not in columns:
            raise LookupError(f"no metric of this run on {dataset} is called {name!r}{near(name, columns)}")
    return [columns[name] for name in names]


class Scored(NamedTuple):
    """A metric on a data set with the scores of its pictures."""

    column: Column
    values: Mapping[str, Mapping[str, float]]
    """By method and picture."""


def values_of(result: Result) -> dict[tuple[str, str, str], dict[str, dict[str, float]]]:
    """Every score of a single picture by data set, protocol and metric, then by method and picture."""
    found: dict[tuple[str, str, str], dict[str, dict[str, float]]] = {}
    for record in result.records:
        if record.value is not None:
            place = record.dataset, record.protocol, record.metric
            found.setdefault(place, {}).setdefault(record.method, {})[record.image] = record.value
    return found


def scored_columns(result: Result, dataset: str, names: Sequence[str]) -> list[Scored]:
    """Columns by name as `choose_columns` finds them, each with its scores; ValueError says why one has none."""
    values = values_of(result) if names else {}
    found = []
    for column in choose_columns(result, dataset, names):
        place = column.dataset, column.protocol, column.metric
        if place not in values:
            reason = why_empty(result, [column], NO_SINGLE)
            raise ValueError(f"{column.metric_label} on {dataset} has no value per picture: {reason}")
        found.append(Scored(column, values[place]))
    return found


NO_SINGLE = "it is no score of single pictures"


def why_empty(result: Result, columns: Sequence[Column], otherwise: str) -> str:
    """The first reason that the table gives for columns without values."""
    reasons = (result.table.cell(row, column).reason for column in columns for row in result.table.rows)
    return next((reason for reason in reasons if reason), otherwise)


def choose_images(result: Result, dataset: str, wanted: Sequence[str]) -> list[str]:
    """The pictures asked for; all that were kept where none is named."""
    kept = kept_images(result, dataset)
    scored = dict.fromkeys(record.image for record in result.records if record.dataset == dataset)
    for name in wanted:
        if name in scored and name not in kept:
            raise ValueError(
                f"picture {name!r} of {dataset} was not kept for looking at; kept are {', '.join(kept)}. "
                f"`bench run` with a larger --thumbnails keeps more"
            )
        if name not in kept:
            known = dict.fromkeys([*scored, *kept])
            raise LookupError(f"no picture of {dataset} is called {name!r}{near(name, known)}")
    return list(wanted or kept)


def kept_images(result: Result, dataset: str) -> list[str]:
    """Ids of the pictures kept for looking at, in the run's order."""
    return list(dict.fromkeys(image for name, image, _ in result.views if name == dataset))


def with_pictures(result: Result) -> set[str]:
    """Data sets of which pictures were kept."""
    return {dataset for dataset, _, _ in result.views}


NO_PICTURES = "no picture was kept for looking at; give the `bench run` command again with --thumbnails 8"


def seen(result: Result, dataset: str, image: str, name: str) -> View:
    """What was kept of a picture under a method, 'low' or 'reference'; an empty View where nothing was."""
    return result.views.get((dataset, image, name), View())


def near(name: str, known: Iterable[str]) -> str:
    """The end of an error text: the nearest known name, or the first of all of them."""
    known = list(known)
    close = difflib.get_close_matches(name, known, n=1)
    if close:
        return f"; did you mean {close[0]!r}?"
    more = f" and {len(known) - 12} more" if len(known) > 12 else ""
    return f"; there are {', '.join(known[:12]) or 'none'}{more}"
