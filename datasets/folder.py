"""Any folder of the user's: pictures alone, or low/ beside references and what is in the pictures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path

from bench.contracts import Dataset, Pair, Sample, Truth
from bench.image import absolute, is_folder, path_of, size_of

from ._boxes import Annotation, boxes_inside, first, warn_of_dropped
from ._coco_json import CocoFile, read_coco
from ._masks import read_beside, read_mask
from ._pairs import load_pair, pairs_in
from ._unpaired import unpaired_samples

REFERENCE_FOLDERS = ("high", "reference", "gt", "normal")
"""Names of the folder beside low/ that holds the references, in any case."""
MASK_FOLDERS = ("mask", "masks")
SECOND_FOLDERS = ("depth", "thermal")
BOXES = "boxes.json"


class Folder(Dataset):
    """`folder:DIR`: the pictures of DIR without references, or the pairs of DIR/low and DIR/high (or another name).

    Beside low/ may lie, in the place of references or with them, files of the same stems as low/:

    - mask/ or masks/: the salient object, 128 or brighter (task saliency)
    - depth/ or thermal/: a second picture of the scene, for saliency models that take one; grey is repeated
    - boxes.json: COCO's format, file_name with the stems of low/ (task detection). A box is cut at the picture's
      edge; one without area inside it is left out, a warning gives the number

    A stem that one of them lacks or has alone is a ValueError of the whole set, a size that is not the picture's one
    of the picture's truth.
    """

    label = "folder"
    layout = "pictures, or low/ and one of high/, reference/, gt/, normal/ with files of the same stems"
    origin = "the user's own pictures"
    needs_root = False

    def __init__(self, option: str = "", root: Path | None = None) -> None:
        super().__init__(option, root)
        if not option:
            raise ValueError(f"folder needs a directory: write folder:DIR, where DIR holds {self.layout}")
        self.directory = path_of(option)
        self.label = absolute(self.directory).name or option

    @property
    def paired(self) -> bool:
        """Whether DIR holds references beside low/."""
        return self._references() is not None

    @property
    def tasks(self) -> tuple[str, ...]:
        """Detection with boxes.json, saliency with masks."""
        found = {"detection": self._boxes_file, "saliency": self._beside_low(MASK_FOLDERS)}
        return tuple(task for task, place in found.items() if place is not None)

    @property
    def classes(self) -> tuple[str, ...]:
        """The categories of boxes.json by id."""
        return self._coco.classes if self._coco else ()

    def samples(self) -> list[Sample]:
        """The pictures, or the pairs, by name."""
        low, references = self._folders.get("low"), self._references()
        if low is None:
            return unpaired_samples(self.directory)
        samples = unpaired_samples(low) if references is None else pairs_in(low, references)
        beside = [self._beside_low(names) for names in (MASK_FOLDERS, SECOND_FOLDERS)]
        partners = [_partners(low, folder) for folder in beside if folder]
        if self._coco:
            _check_stems(self._coco, low, samples)
            partners.append(dict.fromkeys(self._coco.images, self._coco.path))
        samples = [replace(sample, truth=tuple(files[sample.id] for files in partners)) for sample in samples]
        if self._coco:
            warn_of_dropped(self.label, samples, self._read)
        return samples

    def load(self, sample: Sample) -> Pair:
        """Decode one picture or one pair."""
        return load_pair(sample)

    def truth(self, sample: Sample) -> Truth:
        """Boxes, mask and second picture, as far as DIR has them; raises ValueError naming both files of other size."""
        if not self.tasks:
            return super().truth(sample)
        size, objects = self._read(sample)
        mask, second = (_file_of(sample, self._beside_low(names)) for names in (MASK_FOLDERS, SECOND_FOLDERS))
        return Truth(
            size=size,
            boxes=boxes_inside(objects, size) if self._coco else None,
            mask=read_mask(mask, sample.low) if mask else None,
            second=read_beside(second, sample.low) if second else None,
        )

    def _read(self, sample: Sample) -> tuple[tuple[int, int], Sequence[Annotation]]:
        return self._coco.objects(sample.id, sample.low) if self._coco else (size_of(sample.low), ())

    @cached_property
    def _coco(self) -> CocoFile | None:
        file = self._boxes_file
        return read_coco(file) if file else None

    @cached_property
    def _folders(self) -> dict[str, Path]:
        if not is_folder(self.directory):
            raise FileNotFoundError(f"folder:{self.option} is not a folder ({absolute(self.directory)})")
        return {child.name.lower(): child for child in sorted(self.directory.iterdir()) if child.is_dir()}

    def _references(self) -> Path | None:
        """The folder of references; None where the pictures are alone or have only a truth beside them."""
        folders = self._folders
        found = [folders[name] for name in REFERENCE_FOLDERS if name in folders]
        if "low" not in folders or (not found and self.tasks):
            return None
        if len(found) != 1:
            raise ValueError(
                f"{self.directory} has low/ and needs {', '.join(REFERENCE_FOLDERS)} beside it,"
                f" found {_listed(found) or 'none'};"
                f" for pictures alone write folder:{self.directory / 'low'}"
            )
        return found[0]

    @cached_property
    def _boxes_file(self) -> Path | None:
        file = self.directory / BOXES
        return file if "low" in self._folders and file.is_file() else None

    def _beside_low(self, names: Sequence[str]) -> Path | None:
        """The only folder of one of the names beside low/; None where there is none."""
        folders = self._folders
        found = [folders[name] for name in names if name in folders and "low" in folders]
        if len(found) > 1:
            raise ValueError(f"{self.directory} has {_listed(found)} beside low/; remove one of them")
        return found[0] if found else None


def _partners(low: Path, folder: Path) -> dict[str, Path]:
    return {pair.id: pair.reference for pair in pairs_in(low, folder) if pair.reference}


def _file_of(sample: Sample, folder: Path | None) -> Path | None:
    return next((file for file in sample.truth if file.parent == folder), None)


def _check_stems(coco: CocoFile, low: Path, samples: Sequence[Sample]) -> None:
    pictures = {sample.id for sample in samples}
    for alone, what in ((pictures - coco.images.keys(), "does not list"), (coco.images.keys() - pictures, "lists")):
        if alone:
            where = "" if what == "does not list" else f", which {low} lacks"
            raise ValueError(f"{coco.path} {what} {first(sorted(alone))}{where}; add or remove it there")


def _listed(folders: Sequence[Path]) -> str:
    return " and ".join(folder.name for folder in folders)
