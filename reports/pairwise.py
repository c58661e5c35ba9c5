"""Pairs of methods as CSV: wins, ties, losses, tests and effect sizes of each column, at full precision."""

from __future__ import annotations

import csv
from io import StringIO

from bench.contracts import Report, Result

from ._sheet import plain, printable

HEADER = (
    *("dataset", "protocol", "metric", "first", "second", "n", "wins", "ties", "losses"),
    *("test", "p", "p_holm", "rank_biserial", "shift"),
)


class Pairwise(Report):
    """Every pair of methods in each column that has a value per picture."""

    filename = "pairwise.csv"
    label = "wins, ties, losses, tests and effect sizes of each pair of methods, as CSV"

    def render(self, result: Result) -> str:
        """Header and one row per column and pair; wins are those of the first, shift is the first less the second."""
        file = StringIO()
        rows = csv.writer(file, lineterminator="\n")
        rows.writerow(HEADER)
        for one in result.table.pairwise:
            column = one.column
            rows.writerow(
                [
                    *(column.dataset, column.protocol, column.metric, one.first, one.second),
                    *(one.n, one.wins, one.ties, one.losses),
                    *(one.test, plain(one.p), plain(one.p_holm), plain(one.effect), plain(one.shift)),
                ]
            )
        return printable(file.getvalue())
