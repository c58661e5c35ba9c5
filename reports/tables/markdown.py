"""A paper's table as Markdown, for a README, an issue or a pull request."""

from __future__ import annotations

from bench.contracts import PaperPart, PaperTable, TableFormat

from .._sheet import facts, printable
from ..markdown import escape
from ._grid import GAP_MEANS, OWN_MEANS, PLACES_MEAN, Shown, caption, grid, protocols

_MARKS = {0: "{}", 1: "**{}**", 2: "<u>{}</u>", 3: "*{}*"}


class Markdown(TableFormat):
    """One table for each group of columns in GitHub's Markdown, readable as plain text too."""

    ending = "md"
    label = "GitHub's Markdown"

    def render(self, table: PaperTable) -> str:
        """Facts of the run, the tables with their notes, how to read them."""
        about = [f"{name} {escape(value)}" for name, value in facts(table.manifest) if name != "command"]
        parts = [f"# {escape(table.paper)}: {escape(table.title)}", " · ".join(about)]
        parts += [_part(table, part) for part in table.parts]
        parts.append("\n".join(f"- {escape(text)}" for text in (OWN_MEANS, PLACES_MEAN, GAP_MEANS)))
        return printable("\n\n".join(part for part in parts if part) + "\n")


def _part(table: PaperTable, part: PaperPart) -> str:
    shown = grid(part)
    several = len(shown.groups) > 1
    head = ["Method"]
    for one in shown.heads:
        name = f"{one.column.dataset}: {one.title}" if several else one.title
        head += [f"{escape(name)}{_sup(one.note)} paper", "ours", "Δ"]
    body = [head, ["---", *["---:"] * (len(head) - 1)]]
    for line in shown.lines:
        title = escape(line.row.title) if line.row.in_paper else f"*{escape(line.row.title)}*"
        texts = [title + _sup(line.note)]
        for cell in line.cells:
            texts += [cell.printed + _sup(cell.printed_note), _own(cell), cell.difference]
        body.append(texts)
    widths = [max(len(row[place]) for row in body) for place in range(len(head))]
    rows = [
        "| " + " | ".join(text.rjust(width) if place else text.ljust(width)
                          for place, (text, width) in enumerate(zip(row, widths, strict=True))) + " |"
        for row in body
    ]  # fmt: skip
    notes = [f"- <sup>{letter}</sup> {escape(text)}" for letter, text in shown.notes]
    notes += [f"- {escape(text)}" for text in part.notes]
    if any(not line.row.in_paper for line in shown.lines):
        notes.append("- *method in italics*: a method of the run that the paper's table does not have")
    return "\n\n".join(
        [
            f"## {escape(caption(table, part))}",
            f"The paper's protocol: {escape(protocols(part))}.",
            "\n".join(rows),
            "\n".join(notes),
        ]
    ).rstrip()


def _own(cell: Shown) -> str:
    return _MARKS[cell.place].format(cell.own) + _sup(",".join(filter(None, (cell.tie, cell.own_note))))


def _sup(text: str) -> str:
    return f"<sup>{text}</sup>" if text else ""
