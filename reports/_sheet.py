"""A result cut into sheets, each one data set under one protocol, with formatted numbers and lettered notes."""

from __future__ import annotations

import json
import re
from array import array
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.contracts import (
    LEAK,
    LEAK_MEANS,
    REFIT,
    Agreement,
    Cell,
    Column,
    Comparison,
    Leak,
    MethodRow,
    Ranking,
    Record,
    Result,
    Table,
)

DASH = "–"
"""Stands where a number is missing; a note says why."""
TIE = "≈"
BEST_MEANS = (
    "best, separated from every other method by a paired test over pictures (Wilcoxon signed-rank for means, bootstrap "
    "of the difference for scores of all pictures together; two-sided, Holm-corrected over the methods, α = 0.05)"
)
TIE_MEANS = "best, or not separated from it by that test"
INTERVAL_MEANS = (
    "95 % bootstrap interval over pictures (BCa for means, percentiles for scores of all pictures together)"
)
GAIN_MEANS = "difference to the row without enhancement, with its 95 % bootstrap interval over the same pictures"


@dataclass(frozen=True, slots=True)
class Entry:
    """A cell as it is printed."""

    row: MethodRow
    column: Column
    cell: Cell
    mean: str
    """The mean with the metric's decimals, '' where there is none."""
    interval: tuple[str, str] | None
    gain: str
    """Difference to the row without enhancement with its sign and interval, '' where there is none."""
    note: str
    """Letter of the note that explains the cell, '' where nothing needs explaining."""
    remark: str
    """Text of that note."""


@dataclass(frozen=True, slots=True)
class Line:
    """A method's printed cells."""

    row: MethodRow
    title: str
    entries: tuple[Entry, ...]


@dataclass(frozen=True, slots=True)
class Sheet:
    """One printed table."""

    slug: str
    """Unique and safe in ids and labels, e.g. 'lol-native-8bit'."""
    dataset: str
    title: str
    protocol: str
    group: str
    """What a further sheet of the same data set and protocol shows, '' for the main one."""
    pictures: int
    n: int
    """How many values the mean of a cell without a note stands on."""
    columns: tuple[Column, ...]
    lines: tuple[Line, ...]
    notes: tuple[tuple[str, str], ...]
    """Letter and text, in order of appearance; '†', '‡', '§' and '¶' before what holds for several cells."""
    rankings: tuple[Ranking, ...] = ()
    """Of its columns over pictures, in their order."""
    pairwise: tuple[tuple[Column, tuple[Comparison, ...]], ...] = ()
    """Its columns that have a value per picture, each with its pairs of methods."""

    @property
    def of_task(self) -> bool:
        """Whether it shows scores of a downstream task, where what is gained over the input is the question."""
        return "+" in self.protocol


@dataclass(frozen=True, slots=True)
class Failure:
    """One picture that one method has no value for, with the metrics concerned."""

    dataset: str
    protocol: str
    image: str
    method: str
    metrics: tuple[str, ...]
    reason: str


def sheets(result: Result) -> list[Sheet]:
    """The table cut by data set and protocol, in table order."""
    table = result.table
    pictures: defaultdict[tuple[str, str], set[str]] = defaultdict(set)
    for record in result.records:
        pictures[record.dataset, record.protocol].add(record.image)
    titles = method_titles(table.rows)
    found, slugs = [], Counter[str]()
    for dataset, of_dataset in table.datasets():
        for protocol, group in dict.fromkeys((column.protocol, column.group) for column in of_dataset):
            columns = tuple(one for one in of_dataset if (one.protocol, one.group) == (protocol, group))
            cells = [table.cell(row, column) for row in table.rows for column in columns]
            counted = max((cell.n + cell.failed + cell.infinite for cell in cells), default=0)
            usual = max((cell.n for cell in cells), default=0)
            letters: dict[str, str] = {}
            lines = []
            for row in table.rows:
                entries = tuple(_entry(row, column, table.cell(row, column), usual, letters) for column in columns)
                lines.append(Line(row, titles[row.method], entries))
            slug = re.sub(r"[^a-z0-9]+", "-", f"{dataset}-{protocol}-{group}".lower()).strip("-") or "data"
            slugs[slug] += 1
            found.append(
                Sheet(
                    slug=slug if slugs[slug] == 1 else f"{slug}-{slugs[slug]}",
                    dataset=dataset,
                    title=columns[0].dataset_label + (f": {group}" if group else ""),
                    protocol=protocol,
                    group=group,
                    pictures=max(len(pictures[dataset, protocol]), counted),
                    n=usual,
                    columns=columns,
                    lines=tuple(lines),
                    notes=(
                        *((letter, text) for text, letter in letters.items()),
                        *(("†", text) for text in _caveats(columns, lines)),
                        *(("‡", text) for text in _refits(columns)),
                        *(("§", agreement_in_words(one)) for one in table.agreements if one.refit in columns),
                        *((LEAK, text) for text in _leaks(table.leaks, columns, titles)),
                    ),
                    rankings=tuple(
                        one for one in table.rankings if one.over == "pictures" and one.columns[0] in columns
                    ),
                    pairwise=tuple(
                        (column, pairs)
                        for column in columns
                        if (pairs := tuple(one for one in table.pairwise if one.column == column))
                    ),
                )
            )
    return found


def _entry(row: MethodRow, column: Column, cell: Cell, usual: int, letters: dict[str, str]) -> Entry:
    remark = ""
    if cell.mean is None:
        remark = cell.reason or "no value, and no reason was stored"
        if cell.failed:
            remark = f"failed on all {cell.failed} pictures: {remark}"
    elif cell.reason or cell.n != usual:
        remark = "; ".join(part for part in (f"n = {cell.n}", one_line(cell.reason or "")) if part)
    remark = one_line(remark)
    note = letters.setdefault(remark, _letter(len(letters))) if remark else ""
    known = cell.mean is not None and cell.ci_low is not None and cell.ci_high is not None
    return Entry(
        row=row,
        column=column,
        cell=cell,
        mean=number(cell.mean, column.decimals),
        interval=(number(cell.ci_low, column.decimals), number(cell.ci_high, column.decimals)) if known else None,
        gain=_gain(cell, column),
        note=note,
        remark=remark,
    )


def _gain(cell: Cell, column: Column) -> str:
    if cell.gain is None:
        return ""
    ends = (cell.gain_low, cell.gain_high)
    interval = f" [{', '.join(signed(end, column.decimals) for end in ends)}]" if None not in ends else ""
    return signed(cell.gain, column.decimals) + interval


def signed(value: float | None, decimals: int) -> str:
    """Fixed decimals with a sign, '0' without one; '' for None."""
    text = number(value, decimals)
    return text if not text or float(text) <= 0 else f"+{text}"


def agreement_in_words(agreement: Agreement) -> str:
    """How far a refit metric follows the published one, as a note."""
    return (
        f"{agreement.refit.metric_label} against {agreement.published.metric_label}: Spearman's rank correlation "
        f"{agreement.spearman:.3f} over {agreement.n} pictures x methods"
    )


def _caveats(columns: Sequence[Column], lines: Sequence[Line]) -> list[str]:
    """What each caveat means and how many values of each method carry it."""
    texts = []
    for caveat in dict.fromkeys(column.caveat for column in columns if column.caveat):
        counts = []
        for place, column in enumerate(columns):
            cells = [(line.title, line.entries[place].cell) for line in lines]
            carried = [f"{title} {cell.caveats} of {cell.n}" for title, cell in cells if cell.caveats]
            if column.caveat == caveat and carried:
                counts.append(f"{column.metric_label}: {', '.join(carried)}")
        if counts:
            texts.append(one_line(f"{caveat} ({'; '.join(counts)})"))
    return texts


def _refits(columns: Sequence[Column]) -> list[str]:
    """One note for all refit metrics."""
    labels = [column.metric_label for column in columns if column.metric.endswith(REFIT)]
    said = "parameters fitted by this project, not the published ones; not comparable with published values"
    return [f"{', '.join(labels)}: {said}"] if labels else []


def _leaks(leaks: Sequence[Leak], columns: Sequence[Column], titles: Mapping[str, str]) -> list[str]:
    """One note for everything that was seen in training."""
    here = [leak for leak in leaks if any(leak.concerns(leak.methods[0], column) for column in columns)]
    return [one_line(f"{LEAK_MEANS}. {'; '.join(leak.said(titles) for leak in here)}")] if here else []


def leak_mark(entry: Entry) -> str:
    """The note's mark for a value on pictures that were seen in training, '' for other values."""
    return LEAK if entry.cell.leaked else ""


def _letter(index: int) -> str:
    """a, b … z, aa, ab …"""
    letters = ""
    index += 1
    while index:
        index, rest = divmod(index - 1, 26)
        letters = chr(ord("a") + rest) + letters
    return letters


def number(value: float | None, decimals: int) -> str:
    """Fixed decimals, no negative zero, '' for None."""
    if value is None:
        return ""
    text = f"{value:.{decimals}f}"
    return text.lstrip("-") if float(text) == 0 else text


def arrow(column: Column) -> str:
    """Where better values lie."""
    return "↑" if column.higher_is_better else "↓"


def refit_mark(column: Column) -> str:
    """The note's mark for the head of a refit metric's column, '' for other columns."""
    return "‡" if column.metric.endswith(REFIT) else ""


def method_titles(rows: Sequence[MethodRow]) -> dict[str, str]:
    """Label of each method; methods that share a label are told apart by what the user wrote."""
    shared = Counter(row.label for row in rows)
    return {
        row.method: row.label if shared[row.label] == 1 or row.label == row.method else f"{row.label} ({row.method})"
        for row in rows
    }


def protocol_in_words(protocol: str) -> str:
    """'native-8bit' as a sentence's part; a name of another form is returned as it is."""
    protocol, plus, task = protocol.partition("+")
    if plus:
        return f"{protocol_in_words(protocol)}; then {task_in_words(task)}"
    size, _, rounding = protocol.rpartition("-")
    sizes = "native size" if size == "native" else f"resized to {size} pixels (Pillow bicubic) before enhancement"
    values = {"8bit": "scored as a saved 8-bit PNG holds them", "none": "scored as the method's unrounded floats"}
    if rounding not in values or not re.fullmatch(r"native|\d+x\d+", size):
        return protocol
    return f"pictures at {sizes}, {values[rounding]}" if size == "native" else f"pictures {sizes}, {values[rounding]}"


def task_in_words(protocol: str) -> str:
    """'pretrained-yolov8n-640x480' as a sentence's part."""
    kind, _, rest = protocol.partition("-")
    model, _, size = rest.rpartition("-")
    kinds = {
        "pretrained": "one detector for all methods, not tuned to any of them",
        "finetuned": "a detector for each method, retrained on its pictures",
        "saliency": "one saliency network for all methods",
        "joint": "a detector for each method, trained together with it (as declared)",
    }
    return f"{kinds.get(kind, kind)} ({model or 'no model'}, {size})" if size else protocol


def definitions(columns: Sequence[Column]) -> list[Column]:
    """One column for each metric and definition, in order of appearance."""
    return list({(column.metric, column.definition): column for column in reversed(columns)}.values())[::-1]


def failures(result: Result) -> list[Failure]:
    """Every picture without value, metrics that failed for one reason taken together, in table order."""
    grouped: defaultdict[tuple[str, str, str, str, str], list[str]] = defaultdict(list)
    missing = [one for one in result.records if one.error is not None or one.value is None or one.value != one.value]
    for record in in_table_order(result.table, missing):
        reason = one_line(record.error or ("the value is not a number" if record.value is not None else "no value"))
        grouped[record.dataset, record.protocol, record.method, record.image, reason].append(record.metric)
    return [
        Failure(dataset, protocol, image, method, tuple(metrics), reason)
        for (dataset, protocol, method, image, reason), metrics in grouped.items()
    ]


def in_table_order(table: Table, records: Sequence[Record]) -> Iterator[Record]:
    """Records by data set, protocol, method and metric as the table has them, then by picture in natural order."""
    columns = {(one.dataset, one.protocol, one.metric): place for place, one in enumerate(table.columns)}
    sets: dict[tuple[str, str], int] = {}
    for column in table.columns:
        sets.setdefault((column.dataset, column.protocol), len(sets))
    methods = {row.method: place for place, row in enumerate(table.rows)}

    def place(cell: tuple[str, str, str, str]) -> tuple[Any, ...]:
        dataset, protocol, method, metric = cell
        return (
            *(sets.get((dataset, protocol), len(sets)), dataset, protocol),
            *(methods.get(method, len(methods)), method),
            *(columns.get((dataset, protocol, metric), len(columns)), metric),
        )

    # Places are sorted, not records: of millions only one is there at a time.
    cells: dict[tuple[str, str, str, str], int] = {}
    images: dict[str, int] = {}
    of_cell, of_image = array("q"), array("q")
    for one in records:
        of_cell.append(cells.setdefault((one.dataset, one.protocol, one.method, one.metric), len(cells)))
        of_image.append(images.setdefault(one.image, len(images)))
    by_cell, by_image = _ranks(sorted(cells, key=place), cells), _ranks(sorted(images, key=natural), images)
    for at in np.lexsort((by_image[np.asarray(of_image)], by_cell[np.asarray(of_cell)])):
        yield records[int(at)]


def _ranks(ordered: Sequence[Any], numbers: Mapping[Any, int]) -> NDArray[np.int64]:
    """Place in the order, by number."""
    found = np.empty(len(ordered), dtype=np.int64)
    found[[numbers[name] for name in ordered]] = np.arange(len(ordered))
    return found


@lru_cache(maxsize=100_000)
def natural(name: str) -> tuple[list[tuple[int, str]], str]:
    """Sort key that puts '9' before '10'."""
    parts = re.split(r"(\d+)", name)
    return [(int(part), "") if index % 2 else (0, part) for index, part in enumerate(parts)], name


def capital(text: str) -> str:
    """A sentence's part as its beginning."""
    return text[:1].upper() + text[1:]


def one_line(text: str) -> str:
    """Line breaks and other runs of white space as single spaces, so that an error stays in its row."""
    return " ".join(text.split())


def printable(text: str) -> str:
    """Text that every UTF-8 file may hold: a file name's broken bytes and control characters become U+FFFD."""
    return re.sub("[\x00-\x08\x0b-\x1f\x7f\ud800-\udfff]", "\N{REPLACEMENT CHARACTER}", text)


def plain(value: float | None) -> str:
    """A value at full precision: the shortest text that reads back as the same float; '' for None."""
    return "" if value is None else repr(float(value))


def facts(manifest: Mapping[str, Any]) -> list[tuple[str, str]]:
    """What the manifest says about the run in single values, named for readers; absent keys are left out."""
    commit = str(manifest.get("commit") or "")[:12]
    if commit and manifest.get("dirty"):
        commit += " with uncommitted changes"
    named = [("version", _text(manifest.get("version"))), ("commit", commit)]
    named.append(("created", _text(manifest.get("created")).replace("T", " ").replace("+00:00", " UTC")))
    protocol = manifest.get("protocol")
    named.append(
        ("protocol", _text(protocol["name"] if isinstance(protocol, Mapping) and "name" in protocol else protocol))
    )
    keys = {"device": "device", "seed": "seed"}
    keys |= {"PyTorch": "torch", "Python": "python", "command": "command"}
    named += [(name, _text(manifest[key])) for name, key in keys.items() if key in manifest]
    return [(name, one_line(text)) for name, text in named if text]


def _text(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, str):
        return value
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {_text(value[key])}" for key in value)
    if isinstance(value, (list, tuple)):
        return " ".join(_text(each) for each in value)
    return str(value)


def manifest_json(manifest: Mapping[str, Any]) -> str:
    """The manifest as indented JSON with sorted keys."""
    return json.dumps(manifest, indent=2, sort_keys=True, ensure_ascii=False, default=str)
