"""The run as one self-contained page: tables, intervals, charts, pictures, failures, definitions, manifest."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from functools import cache
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined, Template
from markupsafe import Markup

from bench.contracts import MAP_PEAK, Record, Report, Result

from . import _page_charts as charts
from ._page_pictures import SHOWN, Scored, extremes, galleries, gallery_of
from ._page_viewer import BANDWIDTH, CONFIDENCE, viewer_block
from ._sheet import (
    BEST_MEANS,
    DASH,
    GAIN_MEANS,
    INTERVAL_MEANS,
    TIE,
    TIE_MEANS,
    Sheet,
    arrow,
    definitions,
    facts,
    failures,
    leak_mark,
    manifest_json,
    method_titles,
    plain,
    printable,
    protocol_in_words,
    refit_mark,
    sheets,
)


class Html(Report):
    """One page that opens from disk, prints, works without network and without mouse.

    Thumbnails are inside it; whole pictures are loaded from beside it when a picture is opened.
    """

    filename = "report.html"
    label = "tables, charts, pictures, failures and manifest, as one web page"

    def render(self, result: Result) -> str:
        """Fill html.j2, which stands beside this file with the style and the scripts it includes."""
        cut = sheets(result)
        titles = method_titles(result.table.rows)
        scored, values, median = Scored(result), charts.by_method(result.records), charts.medians(result.seconds)
        shown = galleries(cut, result, scored)
        pieces = _template().generate(
            facts=facts(result.manifest),
            rows=result.table.rows,
            titles=titles,
            metrics=definitions(result.table.columns),
            sheets=cut,
            plots={sheet.slug: charts.plots(sheet) for sheet in cut},
            spreads={sheet.slug: charts.spreads(sheet, values) for sheet in cut},
            profiles={sheet.slug: charts.profile(sheet) for sheet in cut},
            diagrams={sheet.slug: charts.diagrams(sheet.rankings, titles) for sheet in cut},
            over_datasets=charts.diagrams([one for one in result.table.rankings if one.over != "pictures"], titles),
            speeds={sheet.slug: charts.speeds(sheet, median) for sheet in cut},
            extremes={sheet.slug: extremes(sheet, scored, gallery_of(sheet, shown)) for sheet in cut},
            gallery_of={sheet.slug: gallery_of(sheet, shown) for sheet in cut},
            galleries=shown,
            viewer=Markup(viewer_block(shown.values(), result)),
            failures=failures(result),
            dataset_titles={sheet.dataset: sheet.title for sheet in cut},
            metric_labels={(one.dataset, one.metric): one.metric_label for one in result.table.columns},
            metric_counts=_metric_counts(result.records),
            absent=_absent(cut),
            manifest=manifest_json(result.manifest),
            device=dict(facts(result.manifest)).get("device", ""),
            arrow=arrow,
            refit_mark=refit_mark,
            leak_mark=leak_mark,
            plain=plain,
            protocol_in_words=protocol_in_words,
            charts=charts,
            DASH=DASH,
            TIE=TIE,
            BEST_MEANS=BEST_MEANS,
            TIE_MEANS=TIE_MEANS,
            INTERVAL_MEANS=INTERVAL_MEANS,
            GAIN_MEANS=GAIN_MEANS,
            MAP_PEAK=MAP_PEAK,
            map_metrics=sorted({metric for view in result.views.values() for metric in view.maps}),
            SHOWN=SHOWN,
            BANDWIDTH=BANDWIDTH,
            CONFIDENCE=CONFIDENCE,
        )
        return "".join(map(printable, pieces))


@cache
def _template() -> Template:
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    return environment.get_template("html.j2")


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
