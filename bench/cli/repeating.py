"""Commands that repeat a run and explain how two runs differ."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import RenderableType
from rich.text import Text

from bench import terminal

from ._shared import Device, Exit, Roots, Weights, app, asked, device_named, out, reported
from .running import execute

if TYPE_CHECKING:
    from bench.differences import Changed, Differences
    from bench.recorded import Run

RunFolder = Annotated[Path, typer.Argument(metavar="RUN", help="The folder that bench run --out wrote.")]
AsJson = Annotated[bool, typer.Option("--json", help="Every difference as JSON, picture by picture.")]
NAMED = 6
"""Methods and columns that are named in a line; more are counted."""


@app.command(
    epilog="Exit status: 0 same values, within noise · 1 other values · 2 cannot be repeated · 3 stopped midway"
)
def rerun(
    run_folder: RunFolder,
    out_folder: Annotated[
        Path | None, typer.Option("--out", help="For the new run; default: RUN-rerun.", metavar="DIR")
    ] = None,
    device: Device = None,
    root: Roots = None,
    weights: Weights = None,
    place: Annotated[
        list[str] | None,
        typer.Option(
            "--place",
            help="Where anything else lies that the run names: outputs:DIR, mine.py, detection, a parameter file.",
            metavar="NAME=PATH",
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Repeat a run from its manifest alone, and say what differs.

    Data, weights and parameters must be what they were, code and libraries need not: what differs of those is
    explained. The device is the run's own unless another is given. A rerun that was stopped goes on.
    """
    from bench import provenance, recorded
    from bench import rerun as repeating

    with reported():
        with asked():
            original = repeating.read(run_folder)
            folder = out_folder or run_folder.with_name(f"{run_folder.resolve().name}-rerun")
            again = repeating.repeat(original, folder, device, root or (), weights or (), place or ())
            surroundings = provenance.surroundings(device_named(again.config.run.device))
            repeating.claim(folder, original, surroundings)
        execute(again.config, build=again.build, facts=original.facts)
        with asked():
            found = _explain(recorded.read(run_folder), recorded.read(folder), as_json)
    if not found.values_agree:
        raise typer.Exit(Exit.FAILURES)


@app.command(epilog="Exit status: 0 same, values within noise · 1 different · 2 cannot be read")
def diff(
    first: Annotated[Path, typer.Argument(metavar="RUN_A", help="A run's folder.")],
    second: Annotated[Path, typer.Argument(metavar="RUN_B", help="Another run's.")],
    as_json: AsJson = False,
) -> None:
    """Explain every difference between two runs: what they are made of, their values, and which made which."""
    from bench import recorded

    with reported(), asked():
        found = _explain(recorded.read(first), recorded.read(second), as_json)
    if not found.same:
        raise typer.Exit(Exit.FAILURES)


def _explain(first: Run, second: Run, as_json: bool) -> Differences:
    """Print how two runs differ."""
    from bench import differences

    found = differences.between(first, second)
    if as_json:
        out.print(json.dumps(differences.as_json(found), indent=2), markup=False)
        return found
    for name, run in (("first", first), ("second", second)):
        out.print(_head(name, run))
    for part in (*_facts(found), *_values(found), *_gaps(found), Text(), *_verdict(found)):
        out.print(part)
    return found


def _head(name: str, run: Run) -> Text:
    """A run in a line, and how much else can have taken part in it."""
    made = str(run.manifest.get("created", "")).replace("T", " ").replace("+00:00", " UTC")
    line = Text.assemble(f"{name:<7}", (str(run.folder), "bold"), f"  {made}  ")
    line.append(str(run.manifest.get("command", "")), style="dim")
    for one in run.manifest.get("earlier", ()):
        other = ", ".join(name for name in one if name not in ("created", "command"))
        line.append(
            f"\n       begun {one['created']} with another {other}; what was recorded then is kept", style="yellow"
        )
    return line


def _facts(found: Differences) -> Iterator[RenderableType]:
    """A block for each section in which something differs."""
    for section in dict.fromkeys(fact.section for fact in found.facts):
        yield Text(f"\n{section}", style="bold")
        for fact in found.facts:
            if fact.section == section:
                what = f"{fact.name}: {fact.what}" if fact.what else fact.name
                yield Text.assemble(f"  {what}  ", (fact.change, "yellow"))


def _values(found: Differences) -> Iterator[RenderableType]:
    """A line for each column that moved beyond noise, and what can have moved it."""
    if not found.moved:
        return
    yield Text("\nvalues", style="bold")
    header = ("method", "data set", "metric", "pictures", "mean", "largest", "picture", "before", "after", "cause")
    yield terminal.rows(header, [_line(one) for one in found.moved])
    for because in dict.fromkeys(one.because for one in found.moved):
        whose = dict.fromkeys(
            f"{one.method} {one.column.metric_label}" for one in found.moved if one.because == because
        )
        yield Text(f"  {_shortened(list(whose))}:")
        for reason in because or ("nothing that both runs recorded",):
            yield Text(f"    {reason}", style="yellow")


def _line(one: Changed) -> list[str]:
    """A row of the table of values."""
    change, unit = one.change, f" {one.column.unit}" if one.column.unit else ""
    counts = {
        "failed": change.failed,
        "no longer failed": change.recovered,
        "gone": change.only_before,
        "new": change.only_after,
    }
    moved = "as a whole" if one.pooled else f"{len(change.beyond)} of {change.n}"
    pictures = ", ".join([moved, *(f"{len(images)} {word}" for word, images in counts.items() if images)])
    causes = ", ".join(
        f"{cause} {count}" if len(change.causes) > 1 else cause for cause, count in change.causes.items()
    )
    mean = "" if change.mean is None else f"{change.mean:+.3g}{unit}"
    largest = change.largest
    name = [one.method, one.column.dataset_label, one.column.metric_label, pictures, mean]
    if largest is None:
        return [*name, "", "", "", "", causes]
    picture = "" if one.pooled else largest.image
    return [*name, f"{largest.difference:+.3g}{unit}", picture, *_apart(largest.before, largest.after), causes]


def _apart(before: float, after: float) -> tuple[str, str]:
    """Two numbers with as many digits as tell them apart."""
    return next(
        (texts for digits in range(6, 18) if (texts := (f"{before:.{digits}g}", f"{after:.{digits}g}"))[0] != texts[1]),
        (str(before), str(after)),
    )


def _gaps(found: Differences) -> Iterator[RenderableType]:
    """Columns that only one run has values in, with the other's reason."""
    if not found.gaps:
        return
    yield Text("\ncolumns without values in one of the runs", style="bold")
    for place in dict.fromkeys((gap.dataset, gap.metric, gap.lost, gap.reason) for gap in found.gaps):
        dataset, metric, lost, reason = place
        methods = [gap.method for gap in found.gaps if (gap.dataset, gap.metric, gap.lost, gap.reason) == place]
        run = "second" if lost else "first"
        yield Text(f"  {metric} on {dataset}, none in the {run} run ({_shortened(methods)}): {reason}")


def _verdict(found: Differences) -> Iterator[RenderableType]:
    """What it comes to."""
    noisy = [one for one in found.values if one.change.same]
    counts = {
        "identical": found.compared - len(found.values),
        "within noise": len(noisy),
        "different": len(found.moved),
    }
    said = ", ".join(f"{count} {word}" for word, count in counts.items() if count)
    style = "green" if found.values_agree else "red"
    yield Text(f"{found.compared} cells (method x column) compared" + (f": {said}" if said else ""), style=style)
    for one in noisy:
        most = max(abs(moved.difference) for moved in one.change.moved)
        yield Text(
            f"  {one.method} {one.column.metric_label}: {len(one.change.moved)} of {one.change.n} pictures moved, "
            f"by {most:.1e} at most; noise is {one.change.noise:.1e}",
            style="dim",
        )
    for run, names in found.unrecorded.items():
        if names:
            yield Text(f"not recorded by the {run} run, so not compared: {', '.join(names)}", style="yellow")
    if found.same:
        yield Text("the two runs are the same", style="green")


def _shortened(names: Sequence[str]) -> str:
    more = len(names) - NAMED
    return ", ".join(names[:NAMED]) + (f" and {more} more" if more > 0 else "")
