"""Commands that keep a run as a baseline and check later runs against it."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.text import Text

from bench import config as configuration
from bench import terminal

from ._shared import ConfigFile, Exit, app, asked, baseline_app, err, out, reported

if TYPE_CHECKING:
    from bench.baseline import Baseline
    from bench.gate import Limits, Verdict

EPILOG = "Exit status: 0 no regression · 1 regression · 2 cannot be compared; says why"
Run = Annotated[Path, typer.Argument(metavar="RUN", help="The folder that bench run --out wrote.")]


@baseline_app.command()
def save(
    run_folder: Run,
    file: Annotated[Path, typer.Argument(metavar="FILE.json", help="To keep beside the code, under review.")],
) -> None:
    """Write what a finished run reached, for `bench check`: values per picture, speed, what it all depends on."""
    from bench import baseline
    from bench.store import Store

    with reported():
        with asked():
            store = Store(run_folder, readonly=True)
        with store:
            saved = baseline.of_run(store)
        with asked():
            baseline.write(saved, file)
    pictures = sum(len(images) for images in saved.images.values())
    out.print(
        f"{len(saved.methods)} methods, {pictures} pictures, {len(saved.series)} cells, "
        f"{file.stat().st_size / 1000:.0f} kB: {file}",
        highlight=False,
    )


@app.command(epilog=EPILOG)
def check(
    run_folder: Run,
    baseline_file: Annotated[
        Path, typer.Option("--baseline", help="As bench baseline save wrote it, or another run.", metavar="FILE|RUN")
    ],
    tolerance: Annotated[
        list[str] | None,
        typer.Option(help="Smaller mean changes are no regression; default: the metric's noise.", metavar="METRIC=X"),
    ] = None,
    slower: Annotated[
        float | None, typer.Option(help="Times as slow that is a regression; 0: not compared.", min=0)
    ] = None,
    any_change: Annotated[
        bool, typer.Option("--any-change", help="Fail on any change of values beyond the noise, for better too.")
    ] = False,
    markdown: Annotated[Path | None, typer.Option(help="For a pull request.", metavar="FILE.md")] = None,
    junit: Annotated[Path | None, typer.Option(help="For a CI's test report.", metavar="FILE.xml")] = None,
    github: Annotated[
        bool | None, typer.Option("--github/--no-github", help="Annotations; default: inside GitHub Actions.")
    ] = None,
    config: ConfigFile = None,
) -> None:
    """Compare a run with a baseline picture by picture: what got worse, failed, went missing or slowed down."""
    from bench import baseline, gate, verdict
    from bench.store import Store

    with reported():
        with asked():
            saved = baseline.read(baseline_file)
            limits = _limits(saved, configuration.load(config), tolerance or (), slower)
            store = Store(run_folder, readonly=True)
        with store:
            found = baseline.of_run(store)
        outcome = gate.check(saved, found, limits)
        title = f"bench check {run_folder.name}"
        with asked():
            for file, text in ((markdown, verdict.markdown), (junit, verdict.junit)):
                if file is not None:
                    file.parent.mkdir(parents=True, exist_ok=True)
                    file.write_text(text(outcome, title), encoding="utf-8")
    _show(outcome)
    if github or (github is None and os.environ.get("GITHUB_ACTIONS") == "true"):
        for line in verdict.workflow_commands(outcome, title):
            print(line)
    if outcome.incomparable:
        raise typer.Exit(Exit.USAGE)
    moved = any(one.status not in (gate.Status.NEW, gate.Status.FASTER) for one in outcome.findings)
    if not outcome.passed or (any_change and moved):
        raise typer.Exit(Exit.FAILURES)


def _limits(saved: Baseline, config: configuration.Config, words: Sequence[str], slower: float | None) -> Limits:
    from bench import plugins
    from bench.contracts import Metric
    from bench.gate import Limits

    tolerance = dict(config.gate.tolerance)
    for word in words:
        name, equals, number = word.partition("=")
        try:
            tolerance[name] = float(number)
        except ValueError:
            equals = ""
        if not (name and equals and tolerance[name] >= 0):
            raise ValueError(f"--tolerance {word}: expected METRIC=X with X not below 0, such as psnr=0.05")
    known = {*plugins.names(Metric), *(str(column["metric"]) for column in saved.columns)}
    for name in tolerance:
        if name not in known:
            raise ValueError(f"the tolerance of {name!r} is of no metric{plugins.near(name, known)}")
    return Limits(tolerance, config.gate.slower if slower is None else slower)


def _show(outcome: Verdict) -> None:
    from bench import verdict

    if outcome.findings:
        out.print(terminal.rows(verdict.HEADER, verdict.lines(outcome)))
    for reason in outcome.incomparable:
        err.print(Text(reason, style="red"))
    for note in outcome.notes:
        out.print(Text(f"differs: {note}", style="dim"))
    out.print(Text(verdict.headline(outcome), style="green" if outcome.passed else "bold red"))
