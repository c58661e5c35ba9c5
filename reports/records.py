"""Every record as CSV: one row per picture, method and metric, unrounded."""

from __future__ import annotations

import csv
from io import StringIO

from bench.contracts import Report, Result

from ._sheet import in_table_order, one_line, plain, printable


class Records(Report):
    """What every mean stands on, for readers who want to average, test or plot by themselves.

    Seconds stay in the store: without them two runs on one machine write the same bytes.
    """

    filename = "records.csv"
    label = "every single value and every error, as CSV"

    def render(self, result: Result) -> str:
        """Header and exactly one row per record, in the table's order; infinity is spelled 'inf'."""
        file = StringIO()
        rows = csv.writer(file, lineterminator="\n")
        rows.writerow(["method", "dataset", "image", "metric", "value", "error", "protocol", "caveat"])
        for record in in_table_order(result):
            rows.writerow(
                [
                    record.method,
                    record.dataset,
                    record.image,
                    record.metric,
                    plain(record.value),
                    one_line(record.error or ""),
                    record.protocol,
                    plain(record.caveat),
                ]
            )
        return printable(file.getvalue())
