"""Commands that show what was recorded, and what there is."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer
from rich.text import Text

from bench import config as configuration
from bench import terminal

from ._shared import EPILOG, ConfigFile, app, asked, out, reported


@app.command(epilog=EPILOG)
def report(
    run_folder: Annotated[Path, typer.Argument(metavar="RUN", help="The folder that bench run --out wrote.")],
    reports: Annotated[str | None, typer.Option(help="Comma-separated; default: those of bench.toml.")] = None,
    confidence: Annotated[
        float | None,
        typer.Option(
            help="Score stored detections again: least confidence for precision, recall and IoU.", min=0, max=1
        ),
    ] = None,
    table: Annotated[
        str | None,
        typer.Option(
            help="The papers' tables instead, ours beside the printed values: drgn/2, drgn/1,3,4, jcrnet or all.",
            metavar="NAME,...",
        ),
    ] = None,
    bind: Annotated[
        list[str] | None,
        typer.Option(help="For --table: what a paper calls NAME is OURS in this run.", metavar="NAME=OURS"),
    ] = None,
    speed: Annotated[
        Path | None, typer.Option(help="For --table: costs, as bench speed wrote them.", metavar="FILE.json")
    ] = None,
    config: ConfigFile = None,
) -> None:
    """Write a run's tables and page again from its records and print the table; neither method nor model is run."""
    from bench import result
    from bench.store import Store

    with reported():
        if table is not None:
            _paper_tables(run_folder, table, reports, bind or (), speed, confidence)
            return
        with asked():
            if bind or speed:
                raise ValueError("--bind and --speed are for --table NAME; `bench list tables` shows the names")
            chosen = configuration.load(config, {"reports": reports})
            wanted = result.build_reports(chosen.run.reports)
            store = Store(run_folder, readonly=True)
        with store:
            finished = result.load(store, confidence)
            written = result.write(finished, wanted)
        out.print(terminal.render(finished.table))
        out.print(f"[dim]written to[/dim] {run_folder}[dim]: {', '.join(path.name for path in written)}[/dim]")


def _paper_tables(
    folder: Path, names: str, formats: str | None, bind: Sequence[str], speed: Path | None, confidence: float | None
) -> None:
    from bench import beside, papers, result
    from bench.store import Store

    with asked():
        chosen = beside.formats(formats)
        library = papers.load()
        wanted = papers.requested(names, library)
        store = Store(folder, readonly=True)
    with store:
        finished = result.load(store, confidence)
    with asked():
        tables = beside.tables(finished, wanted, library, bind, speed)
        written = beside.write(tables, chosen, folder)
    for one in tables:
        for part in one.parts:
            out.print(Text.assemble((f"{one.name}  {part.title}", "bold"), f"  paper's {part.columns[0].protocol}"))
            out.print(terminal.rows(*beside.lines(part)))
        for remark in beside.remarks(one):
            out.print(Text(remark, style="dim"))
    out.print("[dim]#1 #2 #3: best, second, third of this run, separated; ≈2: not separated from the second[/dim]")
    out.print(f"[dim]written to[/dim] {folder / beside.FOLDER}[dim]: {', '.join(path.name for path in written)}[/dim]")


@app.command(epilog=EPILOG)
def figure(
    kind: Annotated[str, typer.Argument(metavar="KIND", help="`bench list figures` shows them.")],
    run_folder: Annotated[Path, typer.Argument(metavar="RUN", help="The folder that bench run --out wrote.")],
    out_file: Annotated[
        Path | None,
        typer.Option("--out", help="Default: RUN/figures/KIND.pdf.", metavar="FILE.pdf|.png|.svg"),
    ] = None,
    images: Annotated[
        str | None, typer.Option(help="Comma-separated ids; default: the first kept, for errors the worst.")
    ] = None,
    methods: Annotated[str | None, typer.Option(help="Comma-separated, in this order; default: all.")] = None,
    dataset: Annotated[
        str | None, typer.Option(help="Default: the first that can be drawn; for distributions all.")
    ] = None,
    metric: Annotated[str | None, typer.Option(help="Comma-separated; printed below pictures, or drawn.")] = None,
    task: Annotated[str | None, typer.Option(help="For detections: detection or saliency.")] = None,
    box: Annotated[
        list[str] | None,
        typer.Option(help="For grid: part to enlarge, in pixels; may be repeated.", metavar="[ID:]x,y,w,h"),
    ] = None,
    width: Annotated[float, typer.Option(help="In inches: 7.16 over two columns, 3.5 in one.", min=1, max=40)] = 7.16,
    columns: Annotated[int | None, typer.Option(help="Pictures or panels side by side.", min=1)] = None,
    peak: Annotated[int | None, typer.Option(help="For errors: level of the brightest colour.", min=1, max=255)] = None,
    confidence: Annotated[
        float | None, typer.Option(help="For detections: least one drawn; default 0.25.", min=0, max=1)
    ] = None,
) -> None:
    """Draw a finished run for print: fonts embedded, colours for every eye, the same bytes every time."""
    from bench import drawing
    from bench.contracts import Wanted

    with reported(), asked():
        wanted = Wanted(
            dataset=dataset or "",
            methods=drawing.words(methods),
            images=drawing.words(images),
            metrics=drawing.words(metric),
            task=task or "",
            boxes=tuple(drawing.parse_box(text) for text in box or ()),
            columns=columns,
            width=width,
            peak=peak,
            confidence=confidence,
        )
        written = drawing.write(run_folder, kind, wanted, out_file)
        out.print(f"[dim]written to[/dim] {written}")


@app.command(name="list")
def list_(
    kind: Annotated[str, typer.Argument(metavar="methods|datasets|metrics|tasks|reports|figures|tables")],
) -> None:
    """Show what there is, one line each."""
    from bench import listing

    with reported(), asked():
        header, lines = listing.listing(kind)
        out.print(terminal.rows(header, lines))
