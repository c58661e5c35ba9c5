"""What every command shares: the app, the two consoles, exit statuses, common options, errors in the user's words."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from enum import IntEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TextIO

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

from bench import terminal

if TYPE_CHECKING:
    import torch

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
baseline_app = typer.Typer(help="A run kept for `bench check`.", no_args_is_help=True)
app.add_typer(baseline_app, name="baseline")
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


@contextmanager
def reported() -> Iterator[None]:
    """Turn what stops a command midway into one clear line and an exit status; a defect of ours keeps its traceback."""
    from bench.contracts import RunStopped

    try:
        with warnings.catch_warnings():
            warnings.showwarning = _show_warning
            yield
    except RunStopped as error:
        stop(str(error), Exit.STOPPED)
    except KeyboardInterrupt:
        stop("interrupted; everything recorded so far is kept, the same command goes on", Exit.INTERRUPTED)


@contextmanager
def asked() -> Iterator[None]:
    """Around the lines that read the user's words: what they raise is an answer to the user, not a defect."""
    try:
        yield
    except (LookupError, ValueError, OSError, TypeError, ImportError) as error:
        if os.environ.get("BENCH_DEBUG"):
            raise
        stop(str(error) or repr(error), Exit.USAGE)


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


def stop(message: str, status: Exit) -> None:
    for line in message.splitlines():
        err.print(Text.assemble(("error: ", "bold red"), line))
    raise typer.Exit(status)


def device_named(name: str) -> torch.device:
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


def progress_bar(unit: str) -> Progress:
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
