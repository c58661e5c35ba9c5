"""The tables as Markdown, for a README, an issue or a pull request."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence

from bench.contracts import Column, Comparison, Ranking, Report, Result

from ._ranks import (
    LETTERS_MEAN,
    PAIRWISE_MEANS,
    TALLY_MEANS,
    both_ways,
    is_best,
    letters,
    means,
    over_datasets,
    p_value,
    tallied,
    tally,
)
from ._sheet import (
    BEST_MEANS,
    DASH,
    GAIN_MEANS,
    INTERVAL_MEANS,
    TIE,
    TIE_MEANS,
    Entry,
    Sheet,
    arrow,
    capital,
    definitions,
    facts,
    leak_mark,
    method_titles,
    one_line,
    printable,
    protocol_in_words,
    refit_mark,
    sheets,
)


class Markdown(Report):
    """One table for each data set in GitHub's Markdown, readable as plain text too."""

    filename = "tables.md"
    label = "one table per data set, as Markdown"

    def render(self, result: Result) -> str:
        """Facts of the run, the tables with their notes, the metrics' definitions."""
        parts = ["# Results"]
        about = [f"{name} {escape(value)}" for name, value in facts(result.manifest) if name != "command"]
        if about:
            parts.append(" · ".join(about))
        cut = sheets(result)
        parts += [_table(sheet) for sheet in cut]
        titles = method_titles(result.table.rows)
        for protocol, rankings in over_datasets(result.table).items():
            said = f"{capital(means(rankings))}. Protocol {_code(protocol)}."
            parts += ["## Ranks over data sets", said, _ranks(rankings, titles)]
        pairwise = result.table.pairwise
        if pairwise:
            said = f"{capital(TALLY_MEANS)}. Counted: {escape('; '.join(tallied(pairwise)))}."
            parts += ["## Pairs of methods", said, _tally(tally(pairwise), titles)]
        if cut:
            legend = [
                f"- **bold**: {BEST_MEANS}",
                f"- {TIE}: {TIE_MEANS}",
                f"- [low, high]: {INTERVAL_MEANS}",
                f"- ↑ higher is better, ↓ lower is better; {DASH} no value",
            ]
            if any(ranking.critical_difference is not None for ranking in result.table.rankings):
                legend.append(f"- ranks: {LETTERS_MEAN}")
            if any(sheet.pairwise for sheet in cut):
                legend.append(f"- pairs: {PAIRWISE_MEANS}")
            parts.append("## How to read the tables\n\n" + "\n".join(legend))
            metrics = [
                f"- **{escape(column.metric_label)}** (`{column.metric.replace('`', '')}`): {escape(column.definition)}"
                for column in definitions(result.table.columns)
            ]
            parts.append("## Metrics\n\n" + "\n".join(metrics))
        return printable("\n\n".join(parts) + "\n")


def _table(sheet: Sheet) -> str:
    count = f"{sheet.pictures} picture" + ("s" if sheet.pictures != 1 else "")
    stands = f"; n = {sheet.n} in every cell without a note" if sheet.n else ""
    caption = f"{count}; protocol {_code(sheet.protocol)}: {escape(protocol_in_words(sheet.protocol))}{stands}."
    notes = "\n".join(f"- <sup>{letter}</sup> {escape(text)}" for letter, text in sheet.notes)
    parts = [f"## {escape(sheet.title)}", caption, _grid(sheet, _entry), notes]
    if sheet.of_task and any(entry.gain for line in sheet.lines for entry in line.entries):
        parts += [f"{capital(GAIN_MEANS)}:", _grid(sheet, _gain)]
    titles = {line.row.method: line.title for line in sheet.lines}
    if sheet.rankings:
        parts += [f"{capital(means(sheet.rankings))}:", _ranks(sheet.rankings, titles)]
    if sheet.pairwise:
        pairs = "\n\n".join(_pairs(column, of_column, titles) for column, of_column in sheet.pairwise)
        parts.append(f"<details><summary>Wins/ties/losses of each pair of methods</summary>\n\n{pairs}\n\n</details>")
    return "\n\n".join(part for part in parts if part)


def _grid(sheet: Sheet, shown: Callable[[Entry], str]) -> str:
    head = ["Method"]
    for column in sheet.columns:
        unit = f" ({escape(column.unit)})" if column.unit else ""
        mark = f"<sup>{refit_mark(column)}</sup>" if refit_mark(column) else ""
        head.append(f"{escape(column.metric_label)}{unit}{mark} {arrow(column)}")
    return _aligned(head, [[escape(line.title), *(shown(entry) for entry in line.entries)] for line in sheet.lines])


def _ranks(rankings: Sequence[Ranking], titles: Mapping[str, str]) -> str:
    """Methods x metrics, then on what the ranks stand and what separates them."""
    head = ["Method", *(_metric(ranking.columns[0]) for ranking in rankings)]
    body = [[escape(title), *(_rank(ranking, method) for ranking in rankings)] for method, title in titles.items()]
    body.append([f"*{capital(rankings[0].over)}*", *(str(ranking.n) for ranking in rankings)])
    if any(ranking.critical_difference is not None for ranking in rankings):
        differences = [ranking.critical_difference for ranking in rankings]
        body.append(["*Critical difference*", *(DASH if one is None else f"{one:.2f}" for one in differences)])
    if any(ranking.p is not None for ranking in rankings):
        body.append(["*Friedman's p*", *(p_value(ranking.p).replace("<", "&lt;") or DASH for ranking in rankings)])
    return _aligned(head, body)


def _rank(ranking: Ranking, method: str) -> str:
    mean = ranking.rank(method)
    if mean is None:
        return DASH
    text = f"**{mean:.2f}**" if is_best(ranking, method) else f"{mean:.2f}"
    return f"{text} <sup>{letters(ranking)[method]}</sup>" if letters(ranking)[method] else text


def _pairs(column: Column, comparisons: Sequence[Comparison], titles: Mapping[str, str]) -> str:
    """Methods x methods, seen from the row."""
    pairs = both_ways(comparisons)
    shown = [method for method in titles if any(method in pair for pair in pairs)]
    body = []
    for method in shown:
        cells = []
        for other in shown:
            counts, effect, separated = pairs.get((method, other), ("", "", False))
            cells.append(f"{'**' * separated}{counts}{'**' * separated} <sub>{effect}</sub>" if counts else DASH)
        body.append([escape(titles[method]), *cells])
    return _aligned([_metric(column), *(escape(titles[method]) for method in shown)], body)


def _tally(counts: Mapping[tuple[str, str], str], titles: Mapping[str, str]) -> str:
    shown = [method for method in titles if any(method in pair for pair in counts)]
    body = [[escape(titles[one]), *(counts.get((one, other), DASH) for other in shown)] for one in shown]
    return _aligned(["Method", *(escape(titles[method]) for method in shown)], body)


def _metric(column: Column) -> str:
    return f"{escape(column.metric_label)} {arrow(column)}"


def _code(text: str) -> str:
    return f"`{text.replace('`', '')}`"


def _aligned(head: Sequence[str], body: Sequence[Sequence[str]]) -> str:
    """A table whose columns line up in plain text too; the first is flush left."""
    widths = [max(len(row[place]) for row in [head, *body]) for place in range(len(head))]
    rules = ["-" * widths[0], *("-" * (width - 1) + ":" for width in widths[1:])]
    lines = [
        "| "
        + " | ".join(
            text.ljust(width) if not place else text.rjust(width)
            for place, (text, width) in enumerate(zip(row, widths, strict=True))
        )
        + " |"
        for row in [head, rules, *body]
    ]
    return "\n".join(lines)


def _gain(entry: Entry) -> str:
    return entry.gain or DASH


def _entry(entry: Entry) -> str:
    note = entry.note
    if entry.mean and leak_mark(entry):
        note = f"{note},{leak_mark(entry)}" if note else leak_mark(entry)
    note = f"<sup>{note}</sup>" if note else ""
    if not entry.mean:
        return f"{DASH}{note}"
    mean = f"**{entry.mean}**" if entry.cell.mark == "best" else entry.mean
    mark = f" {TIE}" if entry.cell.mark == "tie" else ""
    interval = f" <sub>[{', '.join(entry.interval)}]</sub>" if entry.interval else ""
    return f"{mean}{mark}{note}{interval}"


def escape(text: str) -> str:
    r"""Text as Markdown that shows exactly this text: no emphasis, link, table bar, HTML, formula or mention.

    A bar stays a bar only as \| inside a table; GitHub reads $ as a formula and @ as a person.
    """
    text = re.sub(r"([\\`*_{}\[\]|~^$]|#(?=\w))", r"\\\1", one_line(text))
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;").replace("@", "&#64;")
