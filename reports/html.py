"""The run as one self-contained page: tables, intervals, pictures, failures, definitions, manifest."""

from __future__ import annotations

import math
from base64 import b64encode
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from bench.contracts import Column, Record, Report, Result

from ._sheet import (
    BEST_MEANS,
    DASH,
    GAIN_MEANS,
    INTERVAL_MEANS,
    TIE,
    TIE_MEANS,
    Line,
    Sheet,
    arrow,
    definitions,
    facts,
    failures,
    manifest_json,
    method_titles,
    natural,
    number,
    one_line,
    plain,
    printable,
    protocol_in_words,
    sheets,
)

_MIME = {".png": "image/png", ".jpg": "image/jpeg", ".jpeg": "image/jpeg", ".webp": "image/webp", ".gif": "image/gif"}
_BESIDES = ("low", "reference")
"""Thumbnails that are no method's output."""


@dataclass(frozen=True, slots=True)
class Dot:
    """A method's mean and interval on a plot, in the plot's pixels."""

    method: str
    title: str
    label: str
    """The title, shortened to the room at the left."""
    y: float
    x: float | None
    low: float | None
    high: float | None
    mark: str
    says: str


@dataclass(frozen=True, slots=True)
class Plot:
    """Means and intervals of one column."""

    column: Column
    height: float
    dots: tuple[Dot, ...]
    ticks: tuple[tuple[float, str], ...]
    """Place and text."""


@dataclass(frozen=True, slots=True)
class Value:
    """One metric of one picture."""

    label: str
    text: str
    flag: str
    """'best' or 'worst' among the methods on this picture, or ''."""
    error: str


@dataclass(frozen=True, slots=True)
class Tile:
    """One thumbnail with the values beneath it."""

    method: str
    title: str
    source: str
    """Data URI, '' where no picture was kept."""
    values: tuple[Value, ...]
    failed: str
    """The reason, where the picture has no value at all for one reason."""
    always: bool
    """Low and reference stay when methods are filtered."""


@dataclass(frozen=True, slots=True)
class Picture:
    """A gallery's row."""

    id: str
    tiles: tuple[Tile, ...]
    difficulty: tuple[str, ...]
    """Mean over methods of each metric, turned so that more is harder; 'none' without values."""


class Html(Report):
    """One page without any other file: opens from disk, prints, works without network and without mouse."""

    filename = "report.html"
    label = "tables, pictures, failures and manifest, as one web page"

    def render(self, result: Result) -> str:
        """Fill html.j2, which stands beside this file."""
        environment = Environment(
            loader=FileSystemLoader(Path(__file__).parent),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
            keep_trailing_newline=True,
        )
        cut = sheets(result)
        titles = method_titles(result.table.rows)
        filled = environment.get_template("html.j2").render(
            facts=facts(result.manifest),
            rows=result.table.rows,
            titles=titles,
            metrics=definitions(result.table.columns),
            sheets=cut,
            plots={sheet.slug: _plots(sheet) for sheet in cut},
            galleries={sheet.slug: [] if sheet.of_task else _gallery(sheet, result) for sheet in cut},
            failures=failures(result),
            dataset_titles={sheet.dataset: sheet.title for sheet in cut},
            metric_labels={(one.dataset, one.metric): one.metric_label for one in result.table.columns},
            metric_counts=_metric_counts(result.records),
            absent=_absent(cut),
            manifest=manifest_json(result.manifest),
            arrow=arrow,
            plain=plain,
            protocol_in_words=protocol_in_words,
            DASH=DASH,
            TIE=TIE,
            BEST_MEANS=BEST_MEANS,
            TIE_MEANS=TIE_MEANS,
            INTERVAL_MEANS=INTERVAL_MEANS,
            GAIN_MEANS=GAIN_MEANS,
            PLOT_WIDTH=_WIDTH,
            PLOT_LEFT=_LEFT,
            PLOT_RIGHT=_RIGHT,
            PLOT_TOP=_TOP,
        )
        return printable(filled)


_WIDTH, _LEFT, _RIGHT, _TOP, _STEP, _BOTTOM = 300.0, 96.0, 288.0, 8.0, 19.0, 22.0
"""Pixels of a plot: width, both ends of its axis, room above, between and below the methods."""


def _plots(sheet: Sheet) -> list[Plot]:
    found = [_plot(column, place, sheet.lines) for place, column in enumerate(sheet.columns)]
    return [plot for plot in found if any(dot.x is not None for dot in plot.dots)]


def _plot(column: Column, place: int, lines: Sequence[Line]) -> Plot:
    cells = [line.entries[place].cell for line in lines]
    ends = [end for cell in cells for end in (cell.mean, cell.ci_low, cell.ci_high) if end is not None]
    ticks = _ticks(min(ends), max(ends)) if ends else [0.0, 1.0]
    low, high = min([*ends, ticks[0]]), max([*ends, ticks[-1]])

    def x(value: float | None) -> float | None:
        return None if value is None else round(_LEFT + (_RIGHT - _LEFT) * (value - low) / (high - low), 1)

    dots = []
    for at, (line, cell) in enumerate(zip(lines, cells, strict=True)):
        entry = line.entries[place]
        interval = f" [{', '.join(entry.interval)}]" if entry.interval else ""
        dots.append(
            Dot(
                method=line.row.method,
                title=line.title,
                label=line.title if len(line.title) <= 15 else line.title[:14].rstrip() + "…",
                y=_TOP + _STEP * (at + 0.5),
                x=x(cell.mean),
                low=x(cell.ci_low),
                high=x(cell.ci_high),
                mark=cell.mark,
                says=f"{line.title}: {entry.mean}{interval}, n = {cell.n}"
                if entry.mean
                else f"{line.title}: {entry.remark}",
            )
        )
    decimals = max(0, -math.floor(math.log10(ticks[1] - ticks[0]) + 1e-9)) if len(ticks) > 1 else column.decimals
    if len(ticks) > 1 and round((ticks[1] - ticks[0]) * 10**decimals, 6) % 1:
        decimals += 1  # a step of 2.5
    return Plot(
        column=column,
        height=_TOP + _STEP * len(lines) + _BOTTOM,
        dots=tuple(dots),
        ticks=tuple((x(tick) or 0.0, number(tick, decimals)) for tick in ticks),
    )


def _ticks(low: float, high: float) -> list[float]:
    """About four round numbers that cover [low, high]."""
    if high - low <= 1e-9 * max(abs(low), abs(high)):  # equal but for rounding: no step could tell them apart
        room = abs(low) * 0.1 or 1.0
        low, high = low - room, high + room
    raw = (high - low) / 4
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(factor * power for factor in (1, 2, 2.5, 5, 10) if factor * power >= raw * (1 - 1e-9))
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [index * step for index in range(first, last + 1)]


def _gallery(sheet: Sheet, result: Result) -> list[Picture]:
    """Every picture of the sheet's data set of which a thumbnail was kept."""
    kept = {(image, method) for dataset, image, method in result.thumbnails if dataset == sheet.dataset}
    records: defaultdict[str, dict[tuple[str, str], Record]] = defaultdict(dict)
    for record in result.records:
        if (record.dataset, record.protocol) == (sheet.dataset, sheet.protocol):
            records[record.image][record.method, record.metric] = record
    images = sorted({image for image, _ in kept}, key=natural)
    return [_picture(image, sheet, result.thumbnails, records[image]) for image in images]


def _picture(
    image: str,
    sheet: Sheet,
    thumbnails: Mapping[tuple[str, str, str], Path],
    records: Mapping[tuple[str, str], Record],
) -> Picture:
    flags: dict[tuple[str, str], str] = {}
    difficulty = []
    shown = []
    for column in sheet.columns:
        sign = 1.0 if column.higher_is_better else -1.0
        values = {
            line.row.method: sign * value
            for line in sheet.lines
            if (record := records.get((line.row.method, column.metric))) is not None
            and (value := record.value) is not None
            and value == value
        }
        finite = [value for value in values.values() if math.isfinite(value)]
        difficulty.append(plain(-math.fsum(finite) / len(finite)) if finite else "none")
        if any((line.row.method, column.metric) in records for line in sheet.lines):
            shown.append(column)
        if len(set(values.values())) > 1:
            best, worst = max(values.values()), min(values.values())
            flags |= {(method, column.metric): "best" for method, value in values.items() if value == best}
            flags |= {(method, column.metric): "worst" for method, value in values.items() if value == worst}

    def tile(method: str, title: str) -> Tile:
        values = []
        for column in shown:
            record = records.get((method, column.metric))
            if record is None:
                continue
            error = one_line(record.error or "") or ("no value" if record.value is None else "")
            text = DASH if error or record.value is None else number(record.value, column.decimals)
            values.append(Value(column.metric_label, text, flags.get((method, column.metric), ""), error))
        errors = {value.error for value in values}
        alike = errors.pop() if len(errors) == 1 else ""
        source = _data_uri(thumbnails.get((sheet.dataset, image, method)))
        if not source and method == unenhanced:
            source = _data_uri(thumbnails.get((sheet.dataset, image, "low")))
        always = method in (unenhanced, *_BESIDES)
        return Tile(method, title, source, () if alike else tuple(values), alike, always)

    # The row without enhancement is the low picture: shown once, first, with its values.
    unenhanced = next((line.row.method for line in sheet.lines if line.row.kind == "none"), "")
    tiles = [tile(line.row.method, line.title) for line in sheet.lines if line.row.method != unenhanced]
    first = [f"Low ({line.title})" for line in sheet.lines if line.row.method == unenhanced]
    tiles.insert(0, tile(unenhanced or "low", first[0] if first else "Low"))
    if any((dataset, name) == (sheet.dataset, "reference") for dataset, _, name in thumbnails):
        tiles.append(tile("reference", "Reference"))
    return Picture(image, tuple(tiles), tuple(difficulty))


def _data_uri(file: Path | None) -> str:
    """The file's bytes inside an address; '' for a picture that is not there or is of no kind browsers show."""
    if file is None or file.suffix.lower() not in _MIME or not file.is_file():
        return ""
    return f"data:{_MIME[file.suffix.lower()]};base64,{b64encode(file.read_bytes()).decode('ascii')}"


def _metric_counts(records: Sequence[Record]) -> dict[tuple[str, str, str], int]:
    """How many metrics scored each method on each data set under each protocol."""
    metrics: defaultdict[tuple[str, str, str], set[str]] = defaultdict(set)
    for record in records:
        metrics[record.dataset, record.protocol, record.method].add(record.metric)
    return {key: len(found) for key, found in metrics.items()}


def _absent(cut: Sequence[Sheet]) -> list[tuple[str, str, str, str]]:
    """Data set, metrics, methods and reason of cells that were never computed."""
    found: list[tuple[str, str, str, str]] = []
    for sheet in cut:
        methods: defaultdict[tuple[str, str], list[str]] = defaultdict(list)
        for line in sheet.lines:
            for entry in line.entries:
                if entry.cell.mean is None and not entry.cell.failed:
                    methods[entry.column.metric_label, entry.remark].append(line.title)
        labels: defaultdict[tuple[str, str], list[str]] = defaultdict(list)
        for (label, reason), who in methods.items():
            labels["all methods" if len(who) == len(sheet.lines) else ", ".join(who), reason].append(label)
        found += [(sheet.title, ", ".join(which), who, reason) for (who, reason), which in labels.items()]
    return found
