"""Mean ranks as CSV: one row per ranking and method, at full precision."""

from __future__ import annotations

import csv
from io import StringIO

from bench.contracts import Report, Result

from ._ranks import letters
from ._sheet import plain, printable

HEADER = (
    *("over", "datasets", "protocol", "metric", "n", "method", "mean_rank", "letters"),
    *("critical_difference", "friedman_chi2", "friedman_p", "iman_davenport_f", "iman_davenport_p"),
)


class Ranks(Report):
    """Mean ranks over pictures and over data sets, with the tests that go with them."""

    filename = "ranks.csv"
    label = "mean ranks, critical difference and Friedman's test, as CSV"

    def render(self, result: Result) -> str:
        """Header and one row per ranking and method; an empty field means that there is no such value.

        Methods that share a letter are not separated by the critical difference; one that is left out has no rank.
        """
        file = StringIO()
        rows = csv.writer(file, lineterminator="\n")
        rows.writerow(HEADER)
        for ranking in result.table.rankings:
            column, shared = ranking.columns[0], letters(ranking)
            for row in result.table.rows:
                rows.writerow(
                    [
                        ranking.over,
                        " ".join(one.dataset for one in ranking.columns),
                        column.protocol,
                        column.metric,
                        ranking.n,
                        row.method,
                        plain(ranking.rank(row.method)),
                        shared.get(row.method, ""),
                        plain(ranking.critical_difference),
                        plain(ranking.chi2),
                        plain(ranking.p),
                        plain(ranking.f),
                        plain(ranking.f_p),
                    ]
                )
        return printable(file.getvalue())
