"""The command line: the only place that prints or exits."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from enum import IntEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TextIO

import typer
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    SpinnerColumn,
    Task,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.text import Text

import bench
from bench import config as configuration
from bench import terminal
from bench.config import Config

if TYPE_CHECKING:
    from bench.training import Plan

out = terminal.console()
err = terminal.console(stderr=True)


class Exit(IntEnum):
    """What the exit status says."""

    OK = 0
    """Everything asked for is there (a metric without its files is a stated gap, not a failure)."""
    FAILURES = 1
    """Finished, but at least one picture failed; the table says which and why."""
    USAGE = 2
    """Cannot be done as asked: unknown name, misspelt key, absent data; nothing was computed."""
    STOPPED = 3
    """Stopped midway (no space left, folder in use); what was recorded stays and the same command goes on."""
    INTERRUPTED = 130
    """Ctrl-C; the same command goes on."""


EPILOG = (
    "Exit status: 0 done · 1 done, some pictures failed · 2 cannot be done as asked · 3 stopped midway · 130 Ctrl-C"
)

app = typer.Typer(
    help="Benchmark of low-light image enhancement: every number with its protocol.",
    epilog=EPILOG,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
data_app = typer.Typer(help="Data sets on this machine.", no_args_is_help=True)
weights_app = typer.Typer(help="Files that metrics and tasks need and this project may not ship.", no_args_is_help=True)
study_app = typer.Typer(help="A blind user study with a run's pictures.", no_args_is_help=True)
app.add_typer(data_app, name="data")
app.add_typer(weights_app, name="weights")
app.add_typer(study_app, name="study")

ConfigFile = Annotated[
    Path | None, typer.Option("--config", help="A bench.toml; default: the one in the working folder.", metavar="FILE")
]
Device = Annotated[str | None, typer.Option(help="auto, cpu, cuda or cuda:N.", metavar="DEVICE")]
Roots = Annotated[
    list[str] | None, typer.Option("--root", help="Where a data set lies; may be repeated.", metavar="NAME=PATH")
]
Weights = Annotated[
    list[str] | None, typer.Option("--weights", help="Weights for a method; may be repeated.", metavar="NAME=PATH")
]


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
    limit: Annotated[int | None, typer.Option(help="Only the first N pictures of each data set; 0: all.")] = None,
    batch: Annotated[int | None, typer.Option(help="Pictures per batch; 0: 1 on a CPU, 8 on a GPU.")] = None,
    workers: Annotated[int | None, typer.Option(help="Threads that decode ahead.")] = None,
    seed: Annotated[int | None, typer.Option(help="Seed of methods that sample, and of the bootstrap.")] = None,
    reports: Annotated[str | None, typer.Option(help="Comma-separated; `bench list reports` shows them.")] = None,
    save_images: Annotated[
        bool | None, typer.Option("--save-images/--no-save-images", help="Keep every enhanced picture as PNG.")
    ] = None,
    thumbnails: Annotated[int | None, typer.Option(help="Pictures per data set shown in report.html.")] = None,
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
        "limit": limit,
        "batch": batch,
        "workers": workers,
        "seed": seed,
        "reports": reports,
        "save_images": save_images,
        "thumbnails": thumbnails,
    }
    with reported():
        with asked():
            models = {
                "detection": {"model": detector, "size": detector_size},
                "saliency": {"model": saliency_model},
            }
            chosen = configuration.load(config, settings, root or (), weights or (), models)
        _run(chosen, retry_failed)


def _run(config: Config, retry_failed: bool) -> None:
    from bench import lineup, provenance, result, runner, selfcheck
    from bench.plan import plan
    from bench.store import Store

    with asked():
        chosen_device = _device(config.run.device)
        reports = result.build_reports(config.run.reports)
    with Store(config.run.out) as store:
        with asked(), err.status("reading the data sets"):
            members = lineup.lineup(config, store.sha256)
        planned = plan(members, config.run.protocol, chosen_device.type, config.run.seed)
        manifest = provenance.manifest(planned, config, chosen_device, provenance.command_line())
        with err.status("checking the metrics against published values"):
            manifest["selfcheck"] = selfcheck.remembered_summary(
                config.parameters, selfcheck.find_data(), chosen_device
            )
        if manifest["selfcheck"]["off"]:
            err.print("[yellow]note:[/yellow] a metric is off its published values; `bench selfcheck` says which")
        result.keep(store, planned, manifest, config.run.thumbnails)
        if retry_failed:
            for key in (key for job in planned.jobs for key in (*job.score_keys.values(), *job.task_keys.values())):
                store.forget_failures(key)
        trace = runner.Trace()
        with _bar("pictures/s") as bar:
            task = bar.add_task("planning", total=None)
            for step in runner.run(planned, store, config.run, chosen_device, trace):
                failed = f" [red]{step.failed} failed[/red]" if step.failed else ""
                bar.update(
                    task, total=step.total, completed=step.done, description=(step.dataset or "up to date") + failed
                )
        if trace.broken or trace.broken_models:
            planned = planned.without(trace.broken, trace.broken_models)
            result.keep(store, planned, manifest, config.run.thumbnails)
        with err.status("summing up"):
            finished = result.load(store)
            written = result.write(finished, reports)
    out.print(terminal.render(finished.table))
    out.print(f"[dim]written to[/dim] {config.run.out}[dim]: {', '.join(path.name for path in written)}[/dim]")
    if any(terminal.failures(finished.table)):
        err.print("[red]some pictures failed[/red]; records.csv and report.html name each with its reason")
        raise typer.Exit(Exit.FAILURES)


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
            chosen_device = _device(chosen.run.device)
            scored = scoring.plan_folder(enhanced, reference, chosen)
        with _bar("pictures/s") as bar:
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
            chosen_device = _device(chosen.run.device)
            built = enhancing.build(method, chosen, chosen_device)
        failed = 0
        with _bar("pictures/s") as bar:
            steps = enhancing.enhance_files(built, work, chosen.run.seed, chosen_device)
            for done in bar.track(steps, total=len(work), description=method):
                if done.error is not None:
                    failed += 1
                    err.print(Text(f"{done.source}: {done.error}", style="red"))
        out.print(f"{len(work) - failed} of {len(work)} pictures written to {target}")
        if failed:
            raise typer.Exit(Exit.FAILURES)


@app.command()
def train(
    method: Annotated[str, typer.Argument(metavar="METHOD", help="A method with a training recipe.")],
    dataset: Annotated[
        str, typer.Option(help="Comma-separated, e.g. lol,folder:DIR; a divided set gives its training split.")
    ],
    out_folder: Annotated[
        Path | None,
        typer.Option("--out", help="For checkpoint, log and weights; default training/METHOD.", metavar="DIR"),
    ] = None,
    steps: Annotated[int | None, typer.Option(help="Optimiser steps; default: the paper's.", min=1)] = None,
    epochs: Annotated[int | None, typer.Option(help="Instead of --steps: passes over the data.", min=1)] = None,
    changes: Annotated[
        list[str] | None,
        typer.Option("--set", help="Another value for a setting of the recipe, e.g. crop=128.", metavar="NAME=VALUE"),
    ] = None,
    held_out: Annotated[
        int | None, typer.Option(help="Pairs kept for validation; default: a sixteenth, 32 at most.", min=0)
    ] = None,
    precision: Annotated[
        str | None, typer.Option(help="float32 or bfloat16 (mixed); default: bfloat16 on a GPU, else float32.")
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on from the folder's checkpoint.")] = False,
    start: Annotated[
        Path | None, typer.Option(help="Begin with these weights of the same method.", metavar="FILE")
    ] = None,
    enhanced_by: Annotated[
        str | None,
        typer.Option(help="For detector: learn from this method's output instead of daylight.", metavar="METHOD"),
    ] = None,
    seed: Annotated[int | None, typer.Option(help="Seed of initialisation and of every draw.")] = None,
    device: Device = None,
    root: Roots = None,
    weights: Weights = None,
    config: ConfigFile = None,
) -> None:
    """Train a method by its recipe; killed and resumed it ends in the same weights as an unbroken training.

    METHOD may also be `detector` (by ultralytics, on any set with boxes) or `saliency` (on any set with masks).
    """
    from bench import apprentice

    with reported(), asked():
        chosen = configuration.load(config, {"device": device, "seed": seed}, root or (), weights or ())
        if steps and epochs:
            raise ValueError("--steps and --epochs both say how long to train; give one of them")
        task = apprentice.task_trained_as(method)
        if task is not None and not hasattr(task[1], "recipe"):
            words = [*(changes or ()), *([f"epochs={epochs}"] if epochs else ())]
            if steps or resume or precision:
                raise ValueError(
                    f"bench train {method} takes --epochs and --set; --steps, --resume, --precision are for methods"
                )
            _train_by_library(task, dataset, words, start, out_folder, held_out, enhanced_by, chosen)
            return
        if enhanced_by:
            raise ValueError(f"--enhanced-by is for `bench train detector`, not for {method}")
        words = [*(changes or ()), *([f"steps={steps}"] if steps else ())]
        plan = _training_plan(method, dataset, words, epochs, held_out, precision, start, chosen)
        _train(plan, out_folder or Path("training") / Path(plan.weights_file).stem, resume, chosen)


def _train_by_library(
    task: tuple[str, Any],
    datasets: str,
    words: Sequence[str],
    start: Path | None,
    folder: Path | None,
    held_out: int | None,
    enhanced_by: str | None,
    config: Config,
) -> None:
    from bench import apprentice, lineup, provenance

    name, kind = task
    schooling = apprentice.Schooling(
        task=name,
        datasets=[lineup.build_training_set(one, config) for one in datasets.split(",") if one],
        method=lineup.build_method(enhanced_by, config, provenance.sha256_of_files) if enhanced_by else None,
        held_out=held_out,
        seed=config.run.seed,
    )
    place = folder or Path("training") / kind.trained_as
    device, commit = _device(config.run.device), provenance.revision()[0] or "unknown"
    written = apprentice.train(schooling, kind, words, start, place, device, commit)
    out.print(f"weights: {written}")
    use = f"finetuned:{written.parent}" if enhanced_by else str(written)
    out.print(f"use them with --{kind.trained_as} {use}")


def _training_plan(
    method: str,
    datasets: str,
    changes: Sequence[str],
    epochs: int | None,
    held_out: int | None,
    precision: str | None,
    start: Path | None,
    config: Config,
) -> Plan:
    import torch

    from bench import apprentice, lineup, plugins, training
    from bench.contracts import Adapter
    from bench.plugins import Spec

    spec = Spec.parse(method)
    task = apprentice.task_trained_as(spec.name)
    recipe = training.recipe_of(method, task[1] if task else plugins.load(Adapter, spec))
    sources = [lineup.build_training_set(name, config) for name in datasets.split(",") if name]
    settings = recipe.defaults.replaced(changes)
    if epochs:
        settings = settings.replaced([f"steps={training.steps_of(recipe, settings, sources, epochs)}"])
    precisions = {"float32": torch.float32, "bfloat16": torch.bfloat16}
    chosen = precision or ("bfloat16" if _device(config.run.device).type == "cuda" else "float32")
    if chosen not in precisions:
        raise ValueError(f"--precision {chosen}: expected {' or '.join(precisions)}")
    name = f"{spec.name}:{spec.option}" if spec.option else spec.name
    return training.Plan(name, recipe, settings, sources, config.run.seed, held_out, precisions[chosen], start)


def _train(plan: Plan, folder: Path, resume: bool, config: Config) -> None:
    from bench import apprentice, provenance, training

    notes = {"commit": provenance.revision()[0] or "unknown"}
    with _bar("steps/s") as bar:
        task = bar.add_task(f"{plan.method}: reading", total=plan.settings.steps)
        weights: Path | None = None
        for step in training.train(plan, folder, _device(config.run.device), resume, notes=notes):
            losses = " ".join(f"{name} {value:.4f}" for name, value in step.losses.items())
            bar.update(task, completed=step.step, description=f"{plan.method}: {losses}")
            if step.validation_psnr is not None:
                bar.console.print(
                    f"step {step.step}: {step.validation_psnr:.2f} dB on the held-out pairs", highlight=False
                )
            weights = step.weights
    out.print(f"weights: {weights}\nlog:     {folder / training.LOG}")
    flag = "--saliency-model " if apprentice.task_trained_as(plan.method) else f"--weights {plan.method}="
    out.print(f"use them with {flag}{weights}")


@app.command()
def speed(
    methods: Annotated[list[str], typer.Argument(metavar="METHOD...", help="Names, as in bench run --methods.")],
    size: Annotated[str, typer.Option(help="Of the pictures.", metavar="WIDTHxHEIGHT")] = "384x384",
    pictures: Annotated[int, typer.Option(help="How many are timed.", min=1)] = 100,
    precision: Annotated[str, typer.Option(help="float32 or bfloat16 (mixed) for networks.")] = "float32",
    threads: Annotated[int | None, typer.Option(help="Of the CPU; default: what torch takes.", min=1)] = None,
    out_file: Annotated[
        Path, typer.Option("--out", help="The figures with all they depend on.", metavar="FILE.json")
    ] = Path("runs/speed.json"),
    device: Device = None,
    weights: Weights = None,
    config: ConfigFile = None,
) -> None:
    """Measure parameters, operations, latency and memory of methods; stored with size, device and precision.

    Exit status 1: a method could not be measured; the line below the table says why.
    """
    import torch

    from bench import efficiency

    with reported():
        with asked():
            chosen = configuration.load(config, {"device": device}, weights=weights or ())
            chosen_device = _device(chosen.run.device)
            setting = efficiency.Setting(chosen_device, size, pictures, precision, threads or torch.get_num_threads())
            found = efficiency.candidates([name for word in methods for name in word.split(",") if name], chosen)
        costs = []
        for candidate in found:
            # One line and no moving bar: what draws on the screen takes time from what is timed.
            err.print(Text(f"measuring {candidate.label}", style="dim"))
            costs.append(efficiency.measure(candidate, setting))
            efficiency.write(out_file, setting, costs)
        out.print(terminal.rows(*efficiency.table(costs)))
        out.print(Text(efficiency.protocol(setting), style="dim"))
        out.print(f"[dim]written to[/dim] {out_file}")
    incomplete = [cost for cost in costs if cost.reason]
    for cost in incomplete:
        err.print(Text(f"{cost.label}: {cost.reason}", style="red"))
    if incomplete:
        raise typer.Exit(Exit.FAILURES)


@app.command(name="list")
def list_(
    kind: Annotated[str, typer.Argument(metavar="methods|datasets|metrics|tasks|reports|figures|tables")],
) -> None:
    """Show what there is, one line each."""
    from bench import listing

    with reported(), asked():
        header, lines = listing.listing(kind)
        out.print(terminal.rows(header, lines))


@data_app.command()
def status(root: Roots = None, config: ConfigFile = None) -> None:
    """Which data sets are on this machine, where each is expected, how to get it."""
    from bench import listing

    with reported(), asked():
        header, lines = listing.data_status(configuration.load(config, roots=root or ()))
        out.print(terminal.rows(header, lines))


@data_app.command()
def pack(
    dataset: Annotated[str, typer.Argument(metavar="DATASET", help="To learn from, e.g. lol.")],
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="A new folder; use it as folder:DIR.")],
    megabytes: Annotated[int, typer.Option(help="Largest size of the folder.", min=1)] = 60,
    limit: Annotated[int | None, typer.Option(help="Take so many pictures, spread evenly.", min=1)] = None,
    root: Roots = None,
    config: ConfigFile = None,
) -> None:
    """Write a training set as WebP at the best quality that fits, to take it to a machine with a GPU."""
    from bench import lineup, packing

    with reported(), asked():
        source = lineup.build_training_set(dataset, configuration.load(config, roots=root or ()))
        samples = source.samples()
        count = min(limit or len(samples), len(samples))
        chosen = [samples[(2 * place + 1) * len(samples) // (2 * count)] for place in range(count)]
        quality = packing.choose_quality(source, chosen, megabytes * 10**6)
        with _bar("pictures/s") as bar:
            written = packing.pack(source, chosen, folder, quality)
            size = sum(one.size for one in bar.track(written, total=count, description=f"{source.label}: packing"))
    kept = "without loss" if quality == packing.LOSSLESS else f"at WebP quality {quality}"
    out.print(f"{count} pictures {kept}, {size / 1e6:.1f} MB in {folder}; train with --dataset folder:{folder}")


@weights_app.command(name="status")
def weights_status(config: ConfigFile = None) -> None:
    """Each file's place, digest, licence and who needs it."""
    from bench import listing

    with reported(), asked():
        header, lines = listing.weights_status(configuration.load(config))
        out.print(terminal.rows(header, lines))
        if any(line[2] == "absent" for line in lines):
            ways = "bench weights fetch, BENCH_PARAMETERS=FOLDER, or [parameters] in bench.toml"
            out.print(f"Absent files: {ways}. Until then the metrics that need them are empty columns.", markup=False)


@weights_app.command()
def fetch(
    names: Annotated[list[str] | None, typer.Argument(metavar="[FILE]...", help="Default: every file.")] = None,
) -> None:
    """Download files from their publishers into the user's cache; each is checked against its SHA-256."""
    from bench import listing, parameters

    failed = False
    with reported():
        with asked():
            files = listing.fetchable(names or ())
        for file in files:
            try:
                with err.status(f"fetching {file.name}"):
                    place = parameters.fetch(file)
            except parameters.ParameterError as error:
                failed = True
                err.print(Text.assemble(("error: ", "bold red"), str(error)))
            else:
                out.print(f"{place}  [dim]licence: {file.licence}[/dim]")
    if failed:
        raise typer.Exit(Exit.FAILURES)


@weights_app.command()
def verify(config: ConfigFile = None) -> None:
    """Exit 1 if a file is absent or is not the one that is meant."""
    from bench import listing

    with reported(), asked():
        header, lines = listing.weights_status(configuration.load(config))
        wrong = [line for line in lines if line[2] != "verified"]
        out.print(terminal.rows(header, wrong) if wrong else f"all {len(lines)} files are there and as published")
    if wrong:
        raise typer.Exit(Exit.FAILURES)


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


@app.command()
def doctor(config: ConfigFile = None) -> None:
    """Versions, device, parameters and data sets: what a run on this machine can and cannot do."""
    from bench import listing

    with reported(), asked():
        for header, lines in listing.doctor(configuration.load(config)):
            out.print(terminal.rows(header, lines))


@app.command()
def selfcheck(device: Device = None, config: ConfigFile = None) -> None:
    """Recompute published values without network; exit 1 if one is off. BENCH_SHARED_DATA names the pictures."""
    from bench import selfcheck as checking

    with reported():
        with asked():
            chosen = configuration.load(config, {"device": device})
            chosen_device = _device(chosen.run.device)
        with err.status("recomputing published values"):
            checks = list(checking.rows(chosen.parameters, checking.find_data(), chosen_device))
        out.print(terminal.rows(*checking.table(checks)))
        counts = checking.summary(checks)
        out.print(f"{counts['ok']} as published, {counts['off']} off, {counts['skipped']} skipped")
    if counts["off"]:
        raise typer.Exit(Exit.FAILURES)


@app.callback(invoke_without_command=True)
def _top(version: Annotated[bool, typer.Option("--version", help="Print the version and leave.")] = False) -> None:
    if version:
        out.print(bench.__version__)
        raise typer.Exit


def main() -> None:
    """Entry point of the `bench` command."""
    app()


@contextmanager
def reported() -> Iterator[None]:
    """Turn what stops a command midway into one clear line and an exit status; a defect of ours keeps its traceback."""
    from bench.store import StoreError

    try:
        with warnings.catch_warnings():
            warnings.showwarning = _show_warning
            yield
    except StoreError as error:
        _stop(str(error), Exit.STOPPED)
    except KeyboardInterrupt:
        _stop("interrupted; everything recorded so far is kept, the same command goes on", Exit.INTERRUPTED)


@contextmanager
def asked() -> Iterator[None]:
    """Around the lines that read the user's words: what they raise is an answer to the user, not a defect."""
    try:
        yield
    except (LookupError, ValueError, OSError, TypeError, ImportError) as error:
        if os.environ.get("BENCH_DEBUG"):
            raise
        _stop(str(error) or repr(error), Exit.USAGE)


def _show_warning(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: TextIO | None = None,
    line: str | None = None,
) -> None:
    """Show a plug-in's warning as a line for the user; those of libraries about themselves stay out of sight."""
    if category is UserWarning:
        err.print(Text.assemble(("note: ", "yellow"), str(message)))


def _stop(message: str, status: Exit) -> None:
    for line in message.splitlines():
        err.print(Text.assemble(("error: ", "bold red"), line))
    raise typer.Exit(status)


def _device(name: str) -> Any:
    """The torch device that a word stands for; raises ValueError where it is not on this machine."""
    import torch

    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    device = torch.device(name)
    if device.type == "cuda" and not torch.cuda.is_available():
        raise ValueError(f"--device {name}: this machine has no CUDA device that torch {torch.__version__} can use")
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise ValueError(f"--device {name}: this machine has {torch.cuda.device_count()} CUDA device(s)")
    return device


class _Speed(ProgressColumn):
    """Things per second, over the whole run so far."""

    def __init__(self, unit: str) -> None:
        super().__init__()
        self.unit = unit

    def render(self, task: Task) -> Text:
        """The speed, a dash before there is one."""
        speed = task.finished_speed or task.speed
        return Text(f"{speed:.1f} {self.unit}" if speed else f"- {self.unit}", style="dim")


def _bar(unit: str) -> Progress:
    return Progress(
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        _Speed(unit),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        console=err,
        transient=not err.is_terminal,
    )


__all__: Sequence[str] = ("Exit", "app", "main")

if __name__ == "__main__":
    main()
