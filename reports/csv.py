"""The table as CSV: one row per method, data set and metric, at full precision."""

from __future__ import annotations

import csv
from io import StringIO

from bench.contracts import Report, Result

from ._sheet import one_line, plain, printable

HEADER = (
    *("method", "dataset", "protocol", "metric"),
    *("mean", "n", "failed", "ci_low", "ci_high", "infinite", "rank", "mark", "reason"),
    *("gain", "gain_low", "gain_high", "group"),
)


class Csv(Report):
    """Means, counts, intervals, ranks and reasons for further work with other tools."""

    filename = "summary.csv"
    label = "every mean with n, failures and interval, as CSV"

    def render(self, result: Result) -> str:
        """Header and one row per cell; an empty field means that there is no such value.

        A last column `leaked` says how many pictures were seen in training; without any it is not there.
        """
        file = StringIO()
        rows = csv.writer(file, lineterminator="\n")
        leaks = bool(result.table.leaks)
        rows.writerow([*HEADER, *(["leaked"] * leaks)])
        for column in result.table.columns:
            for row in result.table.rows:
                cell = result.table.cell(row, column)
                rows.writerow(
                    [
                        row.method,
                        column.dataset,
                        column.protocol,
                        column.metric,
                        plain(cell.mean),
                        cell.n,
                        cell.failed,
                        plain(cell.ci_low),
                        plain(cell.ci_high),
                        cell.infinite,
                        "" if cell.rank is None else cell.rank,
                        cell.mark,
                        one_line(cell.reason or ""),
                        plain(cell.gain),
                        plain(cell.gain_low),
                        plain(cell.gain_high),
                        column.group,
                        *([cell.leaked] * leaks),
                    ]
                )
        return printable(file.getvalue())
