"""Pictures that somebody else's code produced, taken from a folder by name."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import ClassVar

import torch
from torch import Tensor

from bench.contracts import Adapter
from bench.image import PICTURE_SUFFIXES, natural_key, read_rgb


class Outputs(Adapter):
    """A method as its saved pictures: DIR/<data set>/<id>.<ext>, or DIR/<id>.<ext> where DIR holds a single set.

    The data set's name is the one of the run; in a folder's name '_' may stand for every character but letters, digits,
    '.', '-' ('lol_our485' for lol:our485). Nothing is resized: a picture of another size is an error.
    """

    label = "Outputs"
    kind = "outputs"
    source = "pictures made elsewhere"
    options: ClassVar[Mapping[str, str]] = {"DIR": "folder with <data set>/<id>.png or <id>.png"}

    def __init__(self, option: str = "", weights: Path | None = None) -> None:
        super().__init__(option, weights)
        if not option:
            raise ValueError("'outputs' needs the folder of the pictures: outputs:DIR, with DIR/<data set>/<id>.png")
        self._folder = Path(option).expanduser()
        if not self._folder.is_dir():
            raise FileNotFoundError(f"{self._folder} (from outputs:{option}) is not a folder")
        self._by_name: dict[str, list[Path]] = {}
        for path in self.files:
            name = path.relative_to(self._folder).with_suffix("").as_posix()
            self._by_name.setdefault(name, []).append(path)
        if not self._by_name:
            raise FileNotFoundError(
                f"{self._folder} (from outputs:{option}) holds no picture; expected <data set>/<id>.png or <id>.png"
            )

    @property
    def files(self) -> tuple[Path, ...]:
        """Every picture in and below the folder, in natural order."""
        found = (path for path in self._folder.rglob("*") if path.suffix.lower() in PICTURE_SUFFIXES and path.is_file())
        return tuple(sorted(found, key=lambda path: natural_key(path.as_posix())))

    def enhance(self, low: Tensor) -> Tensor:
        """Impossible: which picture is meant shows only in its name."""
        raise RuntimeError(
            f"outputs:{self.option} finds pictures by name, nothing is computed; call enhance_named(low, dataset, ids)"
        )

    def enhance_named(self, low: Tensor, dataset: str, ids: Sequence[str]) -> Tensor:
        """Read the pictures of these ids; ValueError for one that is missing, there twice, or of another size."""
        return torch.stack([self._read(dataset, name, picture) for name, picture in zip(ids, low, strict=True)])

    def _read(self, dataset: str, name: str, low: Tensor) -> Tensor:
        path = self._find(dataset, name)
        enhanced = read_rgb(path)
        if enhanced.shape != low.shape:
            raise ValueError(
                f"{path} has {_size(enhanced)} pixels, picture {name!r} of {dataset} has {_size(low)}; nothing is "
                f"resized here: save the output at that size, or run at the size it was made for (--size)"
            )
        return enhanced.to(low)

    def _find(self, dataset: str, name: str) -> Path:
        portable = re.sub(r"[^A-Za-z0-9.-]", "_", dataset)
        places = dict.fromkeys(str(PurePosixPath(folder, name)) for folder in (dataset, portable, "."))
        found = [path for place in places for path in self._by_name.get(place, ())]
        if not found:
            raise ValueError(
                f"picture {name!r} of {dataset} has no output: expected {self._folder / portable / name}.png or "
                f"{self._folder / name}.png (or .jpg, .webp, ...)"
            )
        if len(found) > 1:
            raise ValueError(
                f"picture {name!r} of {dataset} has {len(found)} outputs, {' and '.join(map(str, found))}; keep one"
            )
        return found[0]


def _size(picture: Tensor) -> str:
    return f"{picture.shape[-1]}x{picture.shape[-2]}"
