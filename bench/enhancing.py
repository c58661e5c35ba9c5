"""Enhance picture files with one method, outside any run."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import torch

from bench import image
from bench.config import Config
from bench.contracts import Adapter
from bench.lineup import build_method
from bench.provenance import sha256_of_files
from bench.store import explained
from bench.work import enhance, one_line


@dataclass(frozen=True)
class Enhanced:
    """A picture that was written, or why it was not."""

    source: Path
    target: Path
    error: str | None


def pair_up(source: Path, target: Path) -> list[tuple[Path, Path]]:
    """(picture, PNG to write) for a picture or for every picture of a folder.

    Raises FileNotFoundError where there is no picture, ValueError where the target would overwrite the source or a
    folder is to become a single file.
    """
    if source.is_dir():
        if target.is_file():
            raise ValueError(f"{target} is a file; a folder of pictures needs a folder to go to")
        if target.resolve() == source.resolve():
            raise ValueError(f"{target} holds the pictures to enhance; give another folder")
        return [(path, target / f"{stem}.png") for stem, path in image.pictures_in(source).items()]
    if not source.is_file():
        raise FileNotFoundError(f"{source} does not exist")
    if target.is_dir():
        target = target / f"{source.stem}.png"
    if target.suffix.lower() != ".png":
        raise ValueError(f"{target}: pictures are written as PNG, which loses nothing; give a name that ends in .png")
    if target.resolve() == source.resolve():
        raise ValueError(f"{target} is the picture to enhance; give another name")
    return [(source, target)]


def build(method: str, config: Config, device: torch.device) -> Adapter:
    """The method with its weights on the device; raises LookupError, ValueError or OSError naming what is wrong."""
    adapter = build_method(method, config, sha256_of_files).adapter
    adapter.to(device)
    return adapter


def enhance_files(
    adapter: Adapter, work: Iterable[tuple[Path, Path]], seed: int, device: torch.device
) -> Iterator[Enhanced]:
    """Enhance each picture at its own size and write it; a picture that fails costs only itself."""
    for source, target in work:
        try:
            with torch.no_grad():
                low = image.read_rgb(source)[None].to(device)
                picture = enhance(adapter, low, source.parent.name, [source.stem], seed)[0]
        except (ValueError, OSError, RuntimeError, MemoryError) as error:
            yield Enhanced(source, target, one_line(error))
            continue
        with explained(target.parent):
            target.parent.mkdir(parents=True, exist_ok=True)
            image.write_png(target, picture)
        yield Enhanced(source, target, None)
