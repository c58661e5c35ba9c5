"""A finished run and a user's words in, a figure's file out; no plug-in of the run is loaded."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path

from bench import plugins, result
from bench.contracts import Box, Figure, Wanted
from bench.plugins import Spec
from bench.store import Store, explained

ENDINGS = ("pdf", "png", "svg")
FLAGS: Mapping[str, str] = {
    "dataset": "--dataset",
    "images": "--images",
    "metrics": "--metric",
    "task": "--task",
    "boxes": "--box",
    "columns": "--columns",
    "peak": "--peak",
    "confidence": "--confidence",
}
"""What users write for a field of Wanted that only some figures heed."""


def parse_box(text: str) -> Box:
    """'x,y,w,h' or 'ID:x,y,w,h' in pixels; raises ValueError saying what is expected."""
    image, _, numbers = text.rpartition(":")
    try:
        left, top, width, height = (int(number) for number in numbers.split(","))
    except ValueError:
        raise ValueError(f"--box {text}: expected x,y,w,h in whole pixels, e.g. 40,120,80,60") from None
    if left < 0 or top < 0 or width < 1 or height < 1:
        raise ValueError(f"--box {text}: x and y count from 0, w and h from 1")
    return Box(left, top, width, height, image)


def words(text: str | None) -> tuple[str, ...]:
    """The parts of a comma-separated list."""
    return tuple(part.strip() for part in (text or "").split(",") if part.strip())


def write(run_folder: Path, kind: str, wanted: Wanted, file: Path | None = None) -> Path:
    """Draw a run as a figure and return the file, RUN/figures/KIND.pdf where none is named.

    Raises LookupError or ValueError, naming the flag or the nearest name, for what cannot be drawn.
    """
    spec = Spec.parse(kind)
    figure = plugins.load(Figure, spec)
    _check_heeded(spec.name, figure, wanted)
    file = file or run_folder / "figures" / f"{spec.name}.pdf"
    ending = file.suffix.removeprefix(".").lower()
    if ending not in ENDINGS:
        raise ValueError(f"--out {file}: a figure is written as {', '.join(f'.{one}' for one in ENDINGS)}")
    with Store(run_folder, readonly=True) as store:
        finished = result.load(store)
    content = figure().render(finished, wanted, ending)
    with explained(file.parent):
        file.parent.mkdir(parents=True, exist_ok=True)
        part = file.with_name(f"{file.name}.part")
        part.write_bytes(content)
        part.replace(file)
    return file


def _check_heeded(name: str, figure: type[Figure], wanted: Wanted) -> None:
    """A wish that a figure would not heed is refused, never overlooked."""
    given = {field.name for field in fields(Wanted) if getattr(wanted, field.name) != field.default}
    for wish in sorted((given & FLAGS.keys()) - figure.heeds):
        others = [other for other in plugins.names(Figure) if wish in plugins.load(Figure, Spec.parse(other)).heeds]
        raise ValueError(f"`bench figure {name}` has no {FLAGS[wish]}; it is for {' and '.join(others) or 'no figure'}")
