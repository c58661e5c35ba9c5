"""Commands of the user study."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.text import Text

from bench import terminal

from ._shared import Exit, asked, err, out, reported, study_app


@study_app.command(name="pack")
def study_pack(
    run_folder: Annotated[Path, typer.Argument(metavar="RUN", help="The folder that bench run --out wrote.")],
    images: Annotated[int, typer.Option(help="Pictures of each method, drawn from those the run kept.", min=1)] = 10,
    scale: Annotated[
        str, typer.Option(help="drgn: naturalness and colour from 1 to 5; jcrnet: overall from 1 to 10.")
    ] = "drgn",
    methods: Annotated[str | None, typer.Option(help="Comma-separated; default: all but the unenhanced input.")] = None,
    raters: Annotated[int | None, typer.Option(help="Number the raters 1 to N instead of names.", min=1)] = None,
    show_low: Annotated[bool, typer.Option("--show-low", help="A key shows the low-light picture.")] = False,
    seed: Annotated[int, typer.Option(help="Of the choice of pictures, the codes and the bootstrap.", min=0)] = 0,
    out_folder: Annotated[Path, typer.Option("--out", help="For the page and its key.", metavar="DIR")] = Path("study"),
) -> None:
    """Write a page for raters that hides which method made which picture, and the key that you keep."""
    from bench import study

    names = tuple(name for name in (methods or "").split(",") if name)
    with reported(), asked():
        design = study.Design(scale, images, seed, names, raters, show_low)
        packed = study.pack(run_folder, out_folder, design)
    count, of = len(packed.key.pictures), len(packed.key.methods)
    out.print(f"{count} pictures ({of} methods x {images}), {packed.size / 1e6:.1f} MB, study {packed.key.study}")
    out.print(f"for the raters: {packed.page}\nfor you alone:  {packed.key_file}")


@study_app.command(name="score")
def study_score(
    files: Annotated[list[Path], typer.Argument(metavar="FILE...", help="What the raters sent back.")],
    key_file: Annotated[Path, typer.Option("--key", help="The key that bench study pack wrote.", metavar="KEY.json")],
    out_folder: Annotated[
        Path | None, typer.Option("--out", help="For tables and plot; default: results beside the key.", metavar="DIR")
    ] = None,
) -> None:
    """Check the raters' files, tell whose pictures they scored, sum up; exit 1 if something does not count."""
    from bench import provenance, study

    folder = out_folder or key_file.parent / "results"
    with reported(), asked():
        outcome = study.score(files, study.read_key(key_file))
        written = study.write(outcome, folder, provenance.command_line())
    out.print(terminal.render(outcome.table))
    out.print(terminal.rows(*study.overview(outcome)))
    if outcome.absent:
        err.print(Text(f"no file that counts from rater {', '.join(outcome.absent)}", style="yellow"))
    out.print(f"[dim]written to[/dim] {folder}[dim]: {', '.join(path.name for path in written)}[/dim]")
    for problem in outcome.problems:
        err.print(Text(str(problem), style="red"))
    if outcome.problems:
        raise typer.Exit(Exit.FAILURES)
