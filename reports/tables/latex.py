r"""A paper's table as LaTeX that another paper can \input, in one column or two."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import accumulate, pairwise

from bench.contracts import PaperPart, PaperTable, TableFormat

from .._sheet import facts, printable
from ..latex import escape
from ._grid import GAP_MEANS, OWN_MEANS, PLACES_MEAN, Grid, Shown, caption, grid, protocols

WIDEST = 3
"""Metrics side by side, three columns each: more would shrink below a readable size in an article's text width."""

_MARKS = {0: "{}", 1: r"\textbf{{{}}}", 2: r"\underline{{{}}}", 3: r"\textit{{{}}}"}


class Latex(TableFormat):
    r"""One booktabs table for every three metrics; the file has no preamble and is read by \input."""

    ending = "tex"
    label = "LaTeX with booktabs"

    def render(self, table: PaperTable) -> str:
        """A comment with the run's facts and the packages needed, then the tables."""
        lines = [
            f"% {_comment(table.paper)}: {_comment(table.title)}. Read this file with \\input; the preamble needs",
            "%   \\usepackage{booktabs,graphicx}",
            "% Tables span both columns of a two-column paper, and shrink only where they would not fit.",
        ]
        lines += [f"% {name}: {_comment(value)}" for name, value in facts(table.manifest)]
        said: set[str] = set()
        first = ""
        for number, (part, columns) in enumerate(_pieces(table), 1):
            label = f"tab:{table.name.replace('/', '-')}" + (f"-{number}" if number > 1 else "")
            lines += ["", *_float(table, part, columns, label, first, said)]
            first = first or label
        return printable("\n".join(lines) + "\n")


def _pieces(table: PaperTable) -> Iterator[tuple[PaperPart, list[int]]]:
    """Parts with the columns that stand side by side: as few pieces as fit, of about the same width."""
    for part in table.parts:
        count = -(-len(part.columns) // WIDEST)
        ends = [round(len(part.columns) * piece / count + 1e-9) for piece in range(count + 1)]
        for start, end in pairwise(ends):
            yield part, list(range(start, end))


def _float(
    table: PaperTable, part: PaperPart, columns: Sequence[int], label: str, first: str, said: set[str]
) -> list[str]:
    shown = grid(part, columns)
    boxes = [_boxes(shown, place) for place in range(len(shown.heads))]
    lines = [
        r"\begin{table*}[t]",
        r"\centering",
        rf"\caption{{{escape(caption(table, part))}}}",
        rf"\label{{{label}}}",
        r"\smallskip",
        r"\footnotesize",
        r"\setlength{\tabcolsep}{4pt}",
        r"\resizebox{\ifdim\width>\linewidth\linewidth\else\width\fi}{!}{%",
        rf"\begin{{tabular}}{{@{{}}l*{{{3 * len(shown.heads)}}}{{r}}@{{}}}}",
        r"\toprule",
        *_headings(shown, boxes),
        r"\midrule",
    ]
    for place, line in enumerate(shown.lines):
        if place and shown.lines[place - 1].row.in_paper != line.row.in_paper:
            lines.append(r"\midrule")
        cells = [text for cell, box in zip(line.cells, boxes, strict=True) for text in _cell(cell, box)]
        lines.append(" & ".join([escape(line.row.title) + _sup(line.note), *cells]) + r" \\")
    lines += [
        r"\bottomrule",
        r"\end{tabular}}",
        r"\par\smallskip",
        r"\parbox{\linewidth}{\scriptsize\raggedright\sloppy",
        *(f"{text}\\par" for text in _notes(part, shown, first, said)),
        "}",
        r"\end{table*}",
    ]
    return lines


def _headings(shown: Grid, boxes: Sequence[tuple[int, int]]) -> Iterator[str]:
    """Data sets where there are several, metrics, and what stands under each metric."""
    if len(shown.groups) > 1:
        yield from _spanning("", [(escape(name), 3 * count) for name, count in shown.groups])
    yield from _spanning("Method", [(escape(head.title) + _sup(head.note), 3) for head in shown.heads])
    below = (f"paper{_box('', printed)} & ours{_box('', own)} & $\\Delta$" for printed, own in boxes)
    yield " & ".join(["", *below]) + r" \\"


def _spanning(first: str, titles: Sequence[tuple[str, int]]) -> Iterator[str]:
    """A line of titles over so many columns each, and the rules below them."""
    yield " & ".join([first, *(rf"\multicolumn{{{count}}}{{c}}{{{title}}}" for title, count in titles)]) + r" \\"
    ends = list(accumulate((count for _, count in titles), initial=1))
    yield "".join(rf"\cmidrule(lr){{{start + 1}-{end}}}" for start, end in pairwise(ends))


def _notes(part: PaperPart, shown: Grid, first: str, said: set[str]) -> Iterator[str]:
    """Paragraphs below the table; what holds for all is said below the first one, definitions once."""
    yield f"The paper's protocol: {escape(protocols(part))}."
    if first:
        yield f"Columns and marks as in Table~\\ref{{{first}}}."
    else:
        yield " ".join(f"{escape(text)}." for text in (OWN_MEANS, PLACES_MEAN, GAP_MEANS))
    if any(not line.row.in_paper for line in shown.lines):
        yield "Below the last rule: methods of the run that the paper's table does not have."
    for letter, text in shown.notes:
        yield rf"\textsuperscript{{{letter}}}\,{escape(text)}."
    for text in part.notes:
        if text not in said:
            yield f"{escape(text[:1].upper() + text[1:])}{'' if text.endswith('.') else '.'}"
    said.update(part.notes)


def _cell(cell: Shown, boxes: tuple[int, int]) -> Iterator[str]:
    yield _number(cell.printed) + _box(cell.printed_note, boxes[0])
    yield _MARKS[cell.place].format(_number(cell.own)) + _box(_own_mark(cell), boxes[1])
    yield _number(cell.difference)


def _own_mark(cell: Shown) -> str:
    return ",".join(filter(None, (cell.tie, cell.own_note)))


def _boxes(shown: Grid, place: int) -> tuple[int, int]:
    """Letters in the longest mark behind printed and own values of a column."""
    cells = [line.cells[place] for line in shown.lines]
    return max(len(cell.printed_note) for cell in cells), max(len(_own_mark(cell)) for cell in cells)


def _box(mark: str, letters: int) -> str:
    """A mark in a box as wide as the column's longest, so that it pushes no number out of line with the others."""
    return rf"\makebox[{3.4 * letters + 1.5:.1f}pt][l]{{{_sup(mark)}}}" if letters else ""


def _sup(text: str) -> str:
    return rf"\textsuperscript{{{escape(text)}}}" if text else ""


def _number(text: str) -> str:
    return escape(text).replace("-", "$-$") if text[:1] in "+-" else escape(text)


def _comment(text: str) -> str:
    """Text behind a percent sign: one line of ASCII, so that no encoding can break it."""
    return " ".join(text.split()).encode("ascii", "backslashreplace").decode("ascii")
