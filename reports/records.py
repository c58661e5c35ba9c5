"""Every record as CSV: one row per picture, method and metric, unrounded."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping, Sequence
from io import StringIO

from bench.contracts import Leak, Record, Report, Result

from ._sheet import in_table_order, one_line, plain, printable


class Records(Report):
    """What every mean stands on, for readers who want to average, test or plot by themselves.

    Seconds stay in the store: without them two runs on one machine write the same bytes.
    """

    filename = "records.csv"
    label = "every single value and every error, as CSV"

    def render(self, result: Result) -> str:
        """Header and exactly one row per record, in the table's order; infinity is spelled 'inf'.

        A last column `leaked` says 'exact' or 'near' for a picture that was seen in training; without any it is not
        there.
        """
        return "".join(self.pieces(result))

    def pieces(self, result: Result) -> Iterator[str]:
        """The same, line by line."""
        leaks = bool(result.table.leaks)
        seen = _seen(result.table.leaks)
        header = ["method", "dataset", "image", "metric", "value", "error", "protocol", "caveat"]
        yield _line([*header, *(["leaked"] * leaks)])
        for record in in_table_order(result.table, result.records):
            yield _line(
                [
                    record.method,
                    record.dataset,
                    record.image,
                    record.metric,
                    plain(record.value),
                    one_line(record.error or ""),
                    record.protocol,
                    plain(record.caveat),
                    *([_kind(record, seen)] * leaks),
                ]
            )


def _line(fields: Sequence[str]) -> str:
    file = StringIO()
    csv.writer(file, lineterminator="\n").writerow(fields)
    return printable(file.getvalue())


def _seen(leaks: Sequence[Leak]) -> dict[tuple[str, str, str, str], bool]:
    """Whether a picture was seen as it is, by method, data set, protocol ('' for any) and picture."""
    found: dict[tuple[str, str, str, str], bool] = {}
    for leak in leaks:
        for method in leak.methods:
            for copy in leak.copies:
                key = method, leak.dataset, leak.protocol, copy.image
                found[key] = found.get(key, False) or copy.exact
    return found


def _kind(record: Record, seen: Mapping[tuple[str, str, str, str], bool]) -> str:
    places = [(record.method, record.dataset, protocol, record.image) for protocol in ("", record.protocol)]
    exact = [seen[place] for place in places if place in seen]
    return ("exact" if any(exact) else "near") if exact else ""
