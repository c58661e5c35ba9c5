"""A paper's table as CSV: one row per method, data set and metric."""

from __future__ import annotations

import csv
from collections.abc import Iterable
from io import StringIO

from bench.contracts import PaperCell, PaperColumn, PaperPart, PaperRow, PaperTable, TableFormat

from .._sheet import one_line, plain, printable

HEADER = (
    *("table", "printed_in", "dataset", "method", "metric", "unit", "higher_is_better"),
    *("printed", "ours", "difference", "ci_low", "ci_high", "n", "place", "tied"),
    *("our_method", "our_dataset", "our_metric", "our_protocol", "paper_protocol"),
    *("printed_note", "notes"),
)


class Csv(TableFormat):
    """For further work with other tools: ours unrounded, in the paper's unit."""

    ending = "csv"
    label = "one row per value, ours unrounded, as CSV"

    def render(self, table: PaperTable) -> str:
        """Header and one row per cell; an empty field means that there is no such value."""
        file = StringIO()
        rows = csv.writer(file, lineterminator="\n")
        rows.writerow(HEADER)
        for part in table.parts:
            for row in part.rows:
                for column, cell in zip(part.columns, row.cells, strict=True):
                    rows.writerow(_fields(table, part, row, column, cell))
        return printable(file.getvalue())


def _fields(table: PaperTable, part: PaperPart, row: PaperRow, column: PaperColumn, cell: PaperCell) -> list[str | int]:
    tied = "yes" if cell.tied else "no"
    return [
        *(table.name, part.printed, column.dataset, row.title, column.metric, column.unit),
        "yes" if column.higher_is_better else "no",
        *(cell.printed, plain(cell.own), plain(cell.difference), plain(cell.low), plain(cell.high)),
        *(cell.n or "", cell.place or "", tied if cell.place else ""),
        row.method,
        _joined(own.dataset for own in column.own),
        _joined(own.metric for own in column.own),
        _joined(own.protocol for own in column.own),
        column.protocol,
        one_line("; ".join(cell.printed_notes)),
        one_line("; ".join((*cell.own_notes, *row.notes, *column.notes, *part.notes))),
    ]


def _joined(names: Iterable[str]) -> str:
    """One name, or those of the sets that the paper averages."""
    return " + ".join(dict.fromkeys(names))
