"""Commands that tell whether this machine and these metrics are in order."""

from __future__ import annotations

import typer

from bench import config as configuration
from bench import terminal

from ._shared import ConfigFile, Device, Exit, app, asked, device_named, err, out, reported


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
            chosen_device = device_named(chosen.run.device)
        with err.status("recomputing published values"):
            checks = list(checking.rows(chosen.parameters, checking.find_data(), chosen_device))
        out.print(terminal.rows(*checking.table(checks)))
        counts = checking.summary(checks)
        out.print(f"{counts['ok']} as published, {counts['off']} off, {counts['skipped']} skipped")
    if counts["off"]:
        raise typer.Exit(Exit.FAILURES)
