"""Table in, terminal text out: one table per data set, as wide as the terminal, with the reasons below."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rich import box
from rich.console import Console, Group, RenderableType
from rich.table import Table as Grid
from rich.text import Text

from bench.contracts import LEAK, LEAK_MEANS, Cell, Column, Table

ARROWS = {True: "↑", False: "↓"}


def console(*, stderr: bool = False) -> Console:
    """A console that does not fold tables into 80 columns when its output goes to a file."""
    made = Console(stderr=stderr, highlight=False, soft_wrap=True)
    return made if made.is_terminal else Console(stderr=stderr, highlight=False, soft_wrap=True, width=160)


def render(table: Table) -> RenderableType:
    """Every data set's table, best values bold, and below them what is missing and why."""
    parts: list[RenderableType] = []
    notes: dict[str, str] = {}
    marks: set[str] = set()
    for _, of_dataset in table.datasets():
        for protocol in dict.fromkeys(column.protocol for column in of_dataset):
            columns = [one for one in of_dataset if one.protocol == protocol and not one.group]
            parts += [_grid(table, columns, notes, marks), Text()]
            if "+" in protocol and any(table.cell(row, columns[0]).gain is not None for row in table.rows):
                parts += [_gains(table, columns), Text()]
    further = dict.fromkeys(column.group.partition(",")[0] for column in table.columns if column.group)
    if further:
        parts.append(Text(f"further tables in report.html and tables.md: {', '.join(further)}", style="dim"))
    legend = [
        text
        for mark, text in (
            ("best", "bold: best, separated from every other method (paired test over pictures, Holm, 5 %)"),
            ("tie", "≈: best, or not separated from the best"),
        )
        if mark in marks
    ]
    if legend:
        parts.append(Text("; ".join(legend), style="dim"))
    parts += [Text.assemble(("† ", "bold"), (text, "yellow")) for text in _caveats(table)]
    for one in table.agreements:
        pair = f"{one.refit.metric_label} against {one.published.metric_label} on {one.refit.dataset_label}"
        parts.append(Text.assemble(("§ ", "bold"), (f"{pair}: Spearman {one.spearman:.3f}, n = {one.n}", "yellow")))
    if table.leaks:
        parts.append(Text.assemble((f"{LEAK} ", "bold red"), (LEAK_MEANS, "red")))
        parts += [Text(f"  {text}", style="red") for text in _leaks(table)]
    parts += [Text.assemble((f"{sign} ", "bold"), (reason, "yellow")) for reason, sign in notes.items()]
    return Group(*parts)


def rows(header: Sequence[str], lines: Sequence[Sequence[str]]) -> Grid:
    """A plain table of texts."""
    grid = Grid(box=box.SIMPLE_HEAD, header_style="bold", pad_edge=False)
    for index, name in enumerate(header):
        grid.add_column(name, no_wrap=index == 0, overflow="fold")
    for line in lines:
        grid.add_row(*(Text(text) for text in line))
    return grid


def _grid(table: Table, columns: Sequence[Column], notes: dict[str, str], marks: set[str]) -> Grid:
    first = columns[0]
    title = Text.assemble((first.dataset_label, "bold"), f"  {first.protocol}")
    grid = Grid(box=box.SIMPLE_HEAD, header_style="bold", title=title, title_justify="left", title_style="")
    grid.add_column("method", no_wrap=True)
    for column in columns:
        unit = f" {column.unit}" if column.unit else ""
        header = f"{column.metric_label}{unit} {ARROWS[column.higher_is_better]}"
        grid.add_column(header, justify="right", no_wrap=True)
    grid.add_column("n", justify="right", style="dim")
    grid.add_column("failed", justify="right")
    for row in table.rows:
        cells = [table.cell(row, column) for column in columns]
        marks.update(cell.mark for cell in cells)
        texts = [_cell(cell, column, notes) for cell, column in zip(cells, columns, strict=True)]
        counts = sorted({cell.n for cell in cells if cell.mean is not None}) or [0]
        failed = max(cell.failed for cell in cells)
        n = str(counts[0]) if len(counts) == 1 else f"{counts[0]}-{counts[-1]}"
        grid.add_row(Text(row.label), *texts, n, Text(str(failed), style="red bold" if failed else "dim"))
    return grid


def _gains(table: Table, columns: Sequence[Column]) -> Grid:
    """What every method gains over the pictures as they are."""
    grid = Grid(box=box.SIMPLE_HEAD, header_style="bold", title_justify="left", title_style="dim")
    grid.title = "difference to the row without enhancement; * the 95 % bootstrap interval leaves out 0"
    grid.add_column("method", no_wrap=True)
    for column in columns:
        grid.add_column(f"{column.metric_label} {ARROWS[column.higher_is_better]}", justify="right", no_wrap=True)
    for row in table.rows:
        cells = [table.cell(row, column) for column in columns]
        if any(cell.gain is not None for cell in cells):
            grid.add_row(Text(row.label), *map(_gain, cells, columns))
    return grid


def _gain(cell: Cell, column: Column) -> Text:
    if cell.gain is None:
        return Text("-")
    text = f"{cell.gain:+.{column.decimals}f}"
    known = cell.gain_low is not None and cell.gain_high is not None
    if not known or (cell.gain_low or 0) <= 0 <= (cell.gain_high or 0):
        return Text(f"{text} ")
    return Text(f"{text}*", style="green" if (cell.gain > 0) == column.higher_is_better else "red")


def _cell(cell: Cell, column: Column, notes: dict[str, str]) -> Text:
    sign = "" if cell.reason is None else notes.setdefault(cell.reason, f"[{len(notes) + 1}]")
    if cell.mean is None:
        return Text.assemble("- ", (sign, "yellow"))
    value = f"{cell.mean:.{column.decimals}f}"
    mark = {"tie": "≈"}.get(cell.mark, "")
    leak = LEAK if cell.leaked else ""
    return Text.assemble(
        mark, (value, "bold" if cell.mark else ""), (leak, "bold red"), (f" {sign}" if sign else "", "yellow")
    )


def _caveats(table: Table) -> Iterator[str]:
    """What each caveat means, and how many values carry it."""
    for caveat in dict.fromkeys(column.caveat for column in table.columns if column.caveat):
        cells = [cell for (_, column), cell in table.cells.items() if column.caveat == caveat]
        carried = sum(cell.caveats for cell in cells)
        if carried:
            yield f"{carried} of {sum(cell.n for cell in cells)} values: {caveat}"


def _leaks(table: Table) -> Iterator[str]:
    """Which pictures of which data set were seen by whom."""
    titles = {row.method: row.label for row in table.rows}
    for leak in table.leaks:
        labels = [column.dataset_label for column in table.columns if leak.concerns(leak.methods[0], column)]
        yield f"{labels[0] if labels else leak.dataset}: {leak.said(titles)}"


def failures(table: Table) -> Iterator[Cell]:
    """Cells in which pictures failed."""
    return (cell for cell in table.cells.values() if cell.failed)
