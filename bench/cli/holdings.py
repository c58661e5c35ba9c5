"""Commands about files on this machine: data sets, parameters of metrics, weights of tasks."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.text import Text

from bench import config as configuration
from bench import terminal

from ._shared import ConfigFile, Exit, Roots, asked, data_app, err, out, progress_bar, reported, weights_app


@data_app.command()
def status(root: Roots = None, config: ConfigFile = None) -> None:
    """Which data sets are on this machine, where each is expected, how to get it."""
    from bench import listing

    with reported(), asked():
        header, lines = listing.data_status(configuration.load(config, roots=root or ()))
        out.print(terminal.rows(header, lines))


@data_app.command()
def overlap(
    first: Annotated[str, typer.Argument(metavar="A", help="A data set as in --datasets, e.g. lol:our485.")],
    second: Annotated[str, typer.Argument(metavar="B", help="Another one, e.g. lol or folder:DIR.")],
    root: Roots = None,
    config: ConfigFile = None,
) -> None:
    """Which pictures of A are in B, as they are or as near copies (other size, compression or brightness)."""
    from bench import fingerprints, leakage

    with reported(), asked():
        chosen = configuration.load(config, roots=root or ())
        with err.status("comparing the pictures"):
            found = leakage.overlap(first, second, chosen)
    if found.copies:
        out.print(terminal.rows((first, second, "", "bits that differ"), leakage.lines(found)))
    for name, count, unread in zip((first, second), found.pictures, found.unread, strict=True):
        if unread:
            err.print(Text(f"{unread} of {count} pictures of {name} cannot be read and were not compared", style="red"))
    out.print(Text(leakage.in_words(first, second, found)))
    out.print(f"[dim]near: at most {fingerprints.NEAR} of {fingerprints.BITS} bits differ; see docs/leakage.md[/dim]")


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
        with progress_bar("pictures/s") as bar:
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
def remember(
    files: Annotated[list[Path], typer.Argument(metavar="FILE...", help="Weights that were trained here.")],
    dataset: Annotated[str, typer.Option(help="What they were trained on, e.g. lol:our485.", metavar="NAME")],
    root: Roots = None,
    config: ConfigFile = None,
) -> None:
    """Write down the pictures that weights were trained on, where they are older than this note in them.

    The data set has to be the same to the last byte; the digest in the weights shows it.
    """
    from bench import fingerprints, leakage

    with reported(), asked():
        chosen = configuration.load(config, roots=root or ())
        with err.status("reading the pictures"):
            count = leakage.remember(files, dataset, chosen)
    out.print(f"{count} pictures of {dataset} written to {fingerprints.LEDGER}")


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
