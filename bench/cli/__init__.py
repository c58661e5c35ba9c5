"""The command line: the only place that prints or exits. One file for each family of commands."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import typer

import bench

# Importing a family adds its commands to the app.
from . import gate, health, holdings, learning, repeating, reporting, running, study  # noqa: F401
from ._shared import Exit, app, out


@app.callback(invoke_without_command=True)
def _top(version: Annotated[bool, typer.Option("--version", help="Print the version and leave.")] = False) -> None:
    if version:
        out.print(bench.__version__)
        raise typer.Exit


def main() -> None:
    """Entry point of the `bench` command."""
    app()


__all__: Sequence[str] = ("Exit", "app", "main")
