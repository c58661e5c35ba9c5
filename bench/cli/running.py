"""Commands that enhance and score pictures."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import ExitStack, closing
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.text import Text

from bench import config as configuration
from bench import terminal
from bench.config import Config

from ._shared import (
    EPILOG,
    ConfigFile,
    Device,
    Exit,
    Roots,
    Weights,
    app,
    asked,
    device_named,
    err,
    out,
    progress_bar,
    reported,
)

if TYPE_CHECKING:
    from bench.contracts import Result
    from bench.lineup import Lineup, Sha256


@app.command(epilog=EPILOG)
def run(
    methods: Annotated[str | None, typer.Option(help="Comma-separated, e.g. input,clahe,gamma:2.2,mine.py.")] = None,
    datasets: Annotated[str | None, typer.Option(help="Comma-separated, e.g. demo,lol,folder:DIR.")] = None,
    metrics: Annotated[str | None, typer.Option(help="Comma-separated, or auto: all that apply.")] = None,
    tasks: Annotated[
        str | None, typer.Option(help="detection, saliency, none, or auto: all that a set has a truth for.")
    ] = None,
    detector: Annotated[
        str | None,
        typer.Option(help="For detection: .pt, .onnx, .engine, or finetuned:DIR with one per method.", metavar="FILE"),
    ] = None,
    detector_size: Annotated[
        str | None, typer.Option(help="Of the pictures it sees; default 640x480.", metavar="WIDTHxHEIGHT")
    ] = None,
    saliency_model: Annotated[
        str | None, typer.Option(help="For saliency: .onnx, TorchScript, or maps:DIR made elsewhere.", metavar="FILE")
    ] = None,
    out_folder: Annotated[
        Path | None, typer.Option("--out", help="The run's folder; the same folder resumes.", metavar="DIR")
    ] = None,
    device: Device = None,
    size: Annotated[str | None, typer.Option(help="native, or resize first, e.g. 384x384.")] = None,
    rounding: Annotated[str | None, typer.Option(help="8bit: score what a saved PNG holds; none: floats.")] = None,
    tile: Annotated[
        int | None, typer.Option(help="Networks see larger pictures in tiles of this side; 0: whole.")
    ] = None,
    limit: Annotated[int | None, typer.Option(help="Only the first N pictures of each data set; 0: all.")] = None,
    batch: Annotated[int | None, typer.Option(help="Pictures per batch; 0: 1 on a CPU, 8 on a GPU.")] = None,
    workers: Annotated[int | None, typer.Option(help="Threads that decode ahead.")] = None,
    jobs: Annotated[int | None, typer.Option(help="Processes that work side by side on this machine.")] = None,
    engine: Annotated[
        str | None,
        typer.Option(help="local, dask-local, or a cluster: dask://HOST:PORT, ray://HOST:PORT.", metavar="NAME"),
    ] = None,
    profile: Annotated[
        bool, typer.Option("--profile", help="Print where the time went; write OUT/trace.json for a trace viewer.")
    ] = False,
    seed: Annotated[int | None, typer.Option(help="Seed of methods that sample, and of the bootstrap.")] = None,
    reports: Annotated[str | None, typer.Option(help="Comma-separated; `bench list reports` shows them.")] = None,
    save_images: Annotated[
        bool | None, typer.Option("--save-images/--no-save-images", help="Keep every enhanced picture as PNG.")
    ] = None,
    thumbnails: Annotated[int | None, typer.Option(help="Pictures per data set shown in report.html.")] = None,
    strict: Annotated[
        bool | None,
        typer.Option(
            "--strict/--no-strict", help="Refuse pictures that a method or a task's model has seen in training."
        ),
    ] = None,
    retry_failed: Annotated[bool, typer.Option("--retry-failed", help="Try recorded failures again.")] = False,
    root: Roots = None,
    weights: Weights = None,
    config: ConfigFile = None,
) -> None:
    """Enhance data sets with methods, score every picture, write and print the tables.

    Everything is recorded as it comes: killed at any point, the same command goes on where it stopped. Flags replace
    keys of [run] in bench.toml.
    """
    settings = {
        "methods": methods,
        "datasets": datasets,
        "metrics": metrics,
        "tasks": tasks,
        "out": out_folder,
        "device": device,
        "size": size,
        "rounding": rounding,
        "tile": tile,
        "limit": limit,
        "batch": batch,
        "workers": workers,
        "jobs": jobs,
        "engine": engine,
        "seed": seed,
        "reports": reports,
        "save_images": save_images,
        "thumbnails": thumbnails,
        "strict": strict,
    }
    with reported():
        with asked():
            models = {
                "detection": {"model": detector, "size": detector_size},
                "saliency": {"model": saliency_model},
            }
            chosen = configuration.load(config, settings, root or (), weights or (), models)
        finished, written = execute(chosen, retry_failed, profile=profile)
    out.print(terminal.render(finished.table))
    out.print(f"[dim]written to[/dim] {chosen.run.out}[dim]: {', '.join(path.name for path in written)}[/dim]")
    if any(terminal.failures(finished.table)):
        err.print("[red]some pictures failed[/red]; records.csv and report.html name each with its reason")
        raise typer.Exit(Exit.FAILURES)


def execute(
    config: Config,
    retry_failed: bool = False,
    build: Callable[[Config, Sha256], Lineup] | None = None,
    facts: Mapping[str, Any] | None = None,
    *,
    profile: bool = False,
) -> tuple[Result, list[Path]]:
    """Do what `[run]` says with a progress bar; the result and the files written.

    `build` takes the place of `lineup.lineup`; `facts` stand in the manifest besides its own.
    """
    from bench import engine, leakage, lineup, profiling, provenance, result, runner, selfcheck, shards
    from bench.plan import plan
    from bench.store import Store

    with asked():
        chosen_device = device_named(config.run.device)
        reports = result.build_reports(config.run.reports)
    with Store(config.run.out) as store:
        with asked(), err.status("reading the data sets"):
            members = (build or lineup.lineup)(config, store.sha256)
        planned = plan(members, config.run.protocol, chosen_device.type, config.run.seed)
        with asked(), err.status("looking for pictures that were seen in training"):
            seen = leakage.find(planned, store)
            if config.run.strict:
                seen.refuse()
        for line in seen.warnings():
            err.print(Text.assemble(("note: ", "yellow"), line))
        manifest = provenance.manifest(planned, config, chosen_device, provenance.command_line()) | dict(facts or {})
        manifest["leakage"] = seen.facts()
        keys = [key for job in planned.jobs for key in (*job.score_keys.values(), *job.task_keys.values())]
        if any(store.done(key) for key in keys):
            manifest["earlier"] = provenance.earlier(store.noted(result.MANIFEST) or {}, manifest)
        with err.status("checking the metrics against published values"):
            manifest["selfcheck"] = selfcheck.remembered_summary(
                config.parameters, selfcheck.find_data(), chosen_device
            )
        if manifest["selfcheck"]["off"]:
            err.print("[yellow]note:[/yellow] a metric is off its published values; `bench selfcheck` says which")
        result.keep(store, planned, manifest, config.run.thumbnails, seen.leaks)
        if retry_failed:
            for key in keys:
                store.forget_failures(key)
        trace = runner.Trace(profile=profile)
        with ExitStack() as stack:
            with asked():
                hands = stack.enter_context(engine.opened(config.run.engine, config.run.jobs))
            order = None if hands is None else shards.order(planned, config, chosen_device, hands.threads)
            bar = stack.enter_context(progress_bar("pictures/s"))
            task = bar.add_task("planning", total=None)
            # Closed before the engine is: a run that ends early takes back what it has handed out.
            steps = runner.run(planned, store, config.run, chosen_device, trace, hands, order)
            for step in stack.enter_context(closing(steps)):
                failed = f" [red]{step.failed} failed[/red]" if step.failed else ""
                bar.update(
                    task, total=step.total, completed=step.done, description=(step.dataset or "up to date") + failed
                )
        if trace.broken or trace.broken_models:
            planned = planned.without(trace.broken, trace.broken_models)
            result.keep(store, planned, manifest, config.run.thumbnails, seen.leaks)
        with err.status("summing up"):
            finished = result.load(store)
            written = result.write(finished, reports)
    if profile:
        written.append(profiling.write(trace, config.run.out))
        out.print(terminal.rows(*profiling.table(trace)))
    return finished, written


@app.command(epilog=EPILOG)
def score(
    enhanced: Annotated[Path, typer.Option(help="Folder of pictures to score.", metavar="DIR")],
    reference: Annotated[
        Path | None, typer.Option(help="Folder of references, paired by file stem.", metavar="DIR")
    ] = None,
    metrics: Annotated[str, typer.Option(help="Comma-separated, or auto: all that apply.")] = "auto",
    table: Annotated[
        Path | None, typer.Option("--out", help="Also write image,metric,value,error.", metavar="FILE.csv")
    ] = None,
    device: Device = None,
    config: ConfigFile = None,
) -> None:
    """Score any folder of pictures, with or without references."""
    from bench import scoring

    with reported():
        with asked():
            chosen = configuration.load(config, {"device": device, "metrics": metrics})
            chosen_device = device_named(chosen.run.device)
            scored = scoring.plan_folder(enhanced, reference, chosen)
        with progress_bar("pictures/s") as bar:
            values = list(
                bar.track(
                    scoring.score_folder(scored, chosen_device),
                    total=len(scored.pictures),
                    description=enhanced.name,
                )
            )
        finished = scoring.tabulate(scored, values)
        if table is not None:
            scoring.write_csv(values, table)
        out.print(terminal.render(finished))
        if table is not None:
            out.print(f"[dim]written to[/dim] {table}")
        if any(terminal.failures(finished)):
            for record in (record for rows in values for record in rows if record.error):
                err.print(Text(f"{record.image}: {record.metric}: {record.error}", style="red"))
            raise typer.Exit(Exit.FAILURES)


@app.command(epilog=EPILOG)
def enhance(
    method: Annotated[str, typer.Argument(metavar="METHOD", help="A method's name, or the path of its .py file.")],
    source: Annotated[Path, typer.Argument(metavar="IN", help="A picture, or a folder of pictures.")],
    target: Annotated[Path, typer.Argument(metavar="OUT", help="The PNG to write, or a folder for PNGs.")],
    device: Device = None,
    seed: Annotated[int | None, typer.Option(help="Seed of methods that sample.")] = None,
    weights: Weights = None,
    config: ConfigFile = None,
) -> None:
    """Enhance a picture or a folder of pictures, each at its own size, to PNG."""
    from bench import enhancing

    with reported():
        with asked():
            chosen = configuration.load(config, {"device": device, "seed": seed}, weights=weights or ())
            work = enhancing.pair_up(source, target)
            chosen_device = device_named(chosen.run.device)
            built = enhancing.build(method, chosen, chosen_device)
        failed = 0
        with progress_bar("pictures/s") as bar:
            steps = enhancing.enhance_files(built, work, chosen.run.seed, chosen_device)
            for done in bar.track(steps, total=len(work), description=method):
                if done.error is not None:
                    failed += 1
                    err.print(Text(f"{done.source}: {done.error}", style="red"))
        out.print(f"{len(work) - failed} of {len(work)} pictures written to {target}")
        if failed:
            raise typer.Exit(Exit.FAILURES)
