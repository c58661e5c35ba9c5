"""Columns of a paper's table as printed texts with lettered notes."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from bench.contracts import PaperCell, PaperColumn, PaperPart, PaperRow, PaperTable

from .._sheet import DASH, TIE, number, one_line, signed

PLACES_MEAN = (
    "Bold, underlined, italic: best, second and third of the run's methods in this table, each separated from those "
    "behind it by the run's paired tests over pictures (Holm-corrected, α = 0.05), where there are none by intervals "
    f"that do not overlap. {TIE}1, {TIE}2, {TIE}3: not separated from the best, the second, the third. Printed values "
    "carry no marks: the papers give no spread"
)
OWN_MEANS = "Ours: this run, in the paper's unit; Δ: ours less the printed value"
GAP_MEANS = f"{DASH}: no value; its letter, or else that of its row or column, says why"


@dataclass(frozen=True, slots=True)
class Head:
    """A column's heading."""

    column: PaperColumn
    title: str
    """Metric, unit and arrow."""
    note: str
    """Letters of notes, '' for none."""


@dataclass(frozen=True, slots=True)
class Shown:
    """A cell as it is printed."""

    cell: PaperCell
    printed: str
    printed_note: str
    own: str
    tie: str
    """'≈2' of a value that shares the second place, '' otherwise."""
    own_note: str
    difference: str

    @property
    def place(self) -> int:
        """1, 2 or 3 for a value that stands alone there, 0 otherwise."""
        return 0 if self.cell.tied else self.cell.place


@dataclass(frozen=True, slots=True)
class Line:
    """A row's texts."""

    row: PaperRow
    note: str
    cells: tuple[Shown, ...]


@dataclass(frozen=True, slots=True)
class Grid:
    """What one printed table shows."""

    heads: tuple[Head, ...]
    groups: tuple[tuple[str, int], ...]
    """Data sets above the heads, each with its number of columns."""
    lines: tuple[Line, ...]
    notes: tuple[tuple[str, str], ...]
    """Letter and text, in order of appearance."""


def grid(part: PaperPart, wanted: Sequence[int] | None = None) -> Grid:
    """The wanted columns of a part, all by default, with letters of their own."""
    places = range(len(part.columns)) if wanted is None else wanted
    letters: dict[str, str] = {}

    def note(texts: Sequence[str]) -> str:
        found = {letters.setdefault(one_line(text), _letter(len(letters))) for text in texts}
        return ",".join(sorted(found, key=lambda letter: (len(letter), letter)))

    heads = [
        Head(part.columns[place], _heading(part.columns[place]), note(part.columns[place].notes)) for place in places
    ]
    merged = {place: _merged([(row.title, row.cells[place]) for row in part.rows]) for place in places}
    lines = []
    for row in part.rows:
        of_row = note(row.notes)
        shown = []
        for place in places:
            cell, decimals = row.cells[place], part.columns[place].decimals
            shown.append(
                Shown(
                    cell=cell,
                    printed=cell.printed or DASH,
                    printed_note=note([merged[place].get(text, text) for text in cell.printed_notes]),
                    own=number(cell.own, decimals) or DASH,
                    tie=f"{TIE}{cell.place}" if cell.tied else "",
                    own_note=note(cell.own_notes),
                    difference=signed(cell.difference, decimals),
                )
            )
        lines.append(Line(row, of_row, tuple(shown)))
    groups: list[tuple[str, int]] = []
    for head in heads:
        if groups and groups[-1][0] == head.column.dataset:
            groups[-1] = (groups[-1][0], groups[-1][1] + 1)
        else:
            groups.append((head.column.dataset, 1))
    return Grid(tuple(heads), tuple(groups), tuple(lines), tuple((letter, text) for text, letter in letters.items()))


def caption(table: PaperTable, part: PaperPart) -> str:
    """What a part shows, e.g. 'DRGN, Table 2: Comparison on synthetic pairs; LOL1000'."""
    return f"{table.paper.partition(' (')[0]}, {part.printed}: {table.title}; {part.title}"


def protocols(part: PaperPart) -> str:
    """The paper's protocols of a part, as a sentence's part."""
    return " and ".join(dict.fromkeys(column.protocol for column in part.columns))


def _heading(column: PaperColumn) -> str:
    unit = f" ({column.unit})" if column.unit else ""
    return f"{column.metric}{unit} {'↑' if column.higher_is_better else '↓'}"


def _merged(cells: Sequence[tuple[str, PaperCell]]) -> Mapping[str, str]:
    """One text for notes of a column that differ in a single number only, naming each method's."""
    alike: defaultdict[str, dict[str, str]] = defaultdict(dict)
    for title, cell in cells:
        for text in cell.printed_notes:
            numbers = re.findall(r"\d+\.\d+", text)
            if len(numbers) == 1:
                alike[text.replace(numbers[0], "#")].setdefault(text, f"{numbers[0]} ({title})")
    return {
        text: form.replace("#", ", ".join(found.values()))
        for form, found in alike.items()
        if len(found) > 1
        for text in found
    }


def _letter(index: int) -> str:
    """a, b … z, aa, ab …"""
    return (_letter(index // 26 - 1) if index >= 26 else "") + chr(ord("a") + index % 26)
