"""What the data sets share that are one folder of low-light pictures without references."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar

from bench.contracts import Dataset, Pair, Sample
from bench.image import PICTURE_SUFFIXES, pictures_in, read_rgb

from ._roots import refuse_option, root_of


class Unpaired(Dataset):
    """A folder of pictures; a subclass says its name, its origin and how many pictures its distributions have."""

    layout = "the pictures, or one sub-folder with them"
    counts: ClassVar[Mapping[int, str]]
    """Pictures in each known distribution; the same set is passed around in several sizes."""

    def __init__(self, option: str = "", root: Path | None = None) -> None:
        super().__init__(option, root)
        refuse_option(self)

    @property
    def paired(self) -> bool:
        """Never."""
        return False

    def samples(self) -> list[Sample]:
        """All pictures; warns where their number is none of the known distributions'."""
        folder = folder_with_pictures(root_of(self))
        samples = unpaired_samples(folder)
        if len(samples) not in self.counts:
            known = "; ".join(f"{count}: {which}" for count, which in self.counts.items())
            warnings.warn(
                f"{self.label} in {folder} has {len(samples)} pictures; known distributions have {known}", stacklevel=2
            )
        return samples

    def load(self, sample: Sample) -> Pair:
        """Decode one picture."""
        return Pair(read_rgb(sample.low), None)


def unpaired_samples(folder: Path) -> list[Sample]:
    """One sample per picture directly in the folder."""
    return [Sample(id=stem, low=file) for stem, file in pictures_in(folder).items()]


def folder_with_pictures(root: Path) -> Path:
    """`root` where it holds pictures itself, else the only folder up to two levels below it that does.

    Archives unpack into folders of their own name. Raises ValueError where several folders hold pictures.
    """
    if _has_picture(root):
        return root
    below = [folder for pattern in ("*", "*/*") for folder in root.glob(pattern) if folder.is_dir()]
    visible = [folder for folder in below if not any(_hidden(part) for part in folder.relative_to(root).parts)]
    found = sorted(folder for folder in visible if _has_picture(folder))
    if len(found) > 1:
        raise ValueError(
            f"{root} has pictures in several folders ({', '.join(map(str, found))}); name one of them as root"
        )
    return found[0] if found else root  # the error for a root without pictures is pictures_in's


def _has_picture(folder: Path) -> bool:
    return any(file.suffix.lower() in PICTURE_SUFFIXES and not _hidden(file.name) for file in folder.iterdir())


def _hidden(name: str) -> bool:
    return name.startswith((".", "__MACOSX"))
