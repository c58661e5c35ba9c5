"""The tables as Markdown, for a README, an issue or a pull request."""

from __future__ import annotations

import re
from collections.abc import Callable

from bench.contracts import Report, Result

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
    definitions,
    facts,
    one_line,
    printable,
    protocol_in_words,
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
        if cut:
            legend = [
                f"- **bold**: {BEST_MEANS}",
                f"- {TIE}: {TIE_MEANS}",
                f"- [low, high]: {INTERVAL_MEANS}",
                f"- ↑ higher is better, ↓ lower is better; {DASH} no value",
            ]
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
    caption = (
        f"{count}; protocol `{sheet.protocol.replace('`', '')}`: {escape(protocol_in_words(sheet.protocol))}{stands}."
    )
    notes = "\n".join(f"- <sup>{letter}</sup> {escape(text)}" for letter, text in sheet.notes)
    parts = [f"## {escape(sheet.title)}", caption, _grid(sheet, _entry), notes]
    if sheet.of_task and any(entry.gain for line in sheet.lines for entry in line.entries):
        parts += [f"{GAIN_MEANS[0].upper()}{GAIN_MEANS[1:]}:", _grid(sheet, _gain)]
    return "\n\n".join(part for part in parts if part)


def _grid(sheet: Sheet, shown: Callable[[Entry], str]) -> str:
    head = ["Method"]
    for column in sheet.columns:
        unit = f" ({escape(column.unit)})" if column.unit else ""
        head.append(f"{escape(column.metric_label)}{unit} {arrow(column)}")
    body = [[escape(line.title), *(shown(entry) for entry in line.entries)] for line in sheet.lines]
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
    note = f"<sup>{entry.note}</sup>" if entry.note else ""
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
