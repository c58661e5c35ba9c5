"""Commands that train methods and measure what they cost."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.text import Text

from bench import config as configuration
from bench import terminal
from bench.config import Config

from ._shared import (
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
    from bench.training import Plan


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
    device, commit = device_named(config.run.device), provenance.revision()[0] or "unknown"
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
    chosen = precision or ("bfloat16" if device_named(config.run.device).type == "cuda" else "float32")
    if chosen not in precisions:
        raise ValueError(f"--precision {chosen}: expected {' or '.join(precisions)}")
    name = f"{spec.name}:{spec.option}" if spec.option else spec.name
    return training.Plan(name, recipe, settings, sources, config.run.seed, held_out, precisions[chosen], start)


def _train(plan: Plan, folder: Path, resume: bool, config: Config) -> None:
    from bench import apprentice, provenance, training

    notes = {"commit": provenance.revision()[0] or "unknown"}
    with progress_bar("steps/s") as bar:
        task = bar.add_task(f"{plan.method}: reading", total=plan.settings.steps)
        weights: Path | None = None
        for step in training.train(plan, folder, device_named(config.run.device), resume, notes=notes):
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
            chosen_device = device_named(chosen.run.device)
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
