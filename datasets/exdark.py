"""ExDark: photographs in ten kinds of poor light with boxes of twelve classes, for detection after enhancement."""

from __future__ import annotations

import io
import re
import warnings
import zipfile
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from bench.contracts import Dataset, Pair, Sample, Truth
from bench.image import PICTURE_SUFFIXES, natural_key, read_rgb, size_of

from ._boxes import Annotation, boxes_inside, finite, first, warn_of_dropped
from ._roots import lacking, root_of

LIST = "imageclasslist.txt"
ARCHIVE = "ExDark_Annno.zip"
IMAGE_FOLDERS = ("images", "ExDark")
ANNOTATION_FOLDERS = ("annotations", "ExDark_Annno")

# Numbered from 1 in imageclasslist.txt, in this order (Groundtruth/README.md of the official repository).
CLASSES = {
    "bicycle": "bicycle",
    "boat": "boat",
    "bottle": "bottle",
    "bus": "bus",
    "car": "car",
    "cat": "cat",
    "chair": "chair",
    "cup": "cup",
    "dog": "dog",
    "motorbike": "motorcycle",
    "people": "person",
    "table": "dining table",
}
"""The classes in lower case, each with COCO's name."""
LIGHTS = ("low", "ambient", "object", "single", "weak", "strong", "screen", "window", "shadow", "twilight")
PLACES = ("indoor", "outdoor")
SPLITS = ("train", "val", "test")


class Row(NamedTuple):
    """A line of the official list."""

    light: str
    place: str
    split: str


class ExDark(Dataset):
    """7,363 photographs: 3,000 train, 1,800 val, 2,563 test.

    Loh, Chan, "Getting to Know Low-light Images with The Exclusively Dark Dataset", Computer Vision and Image
    Understanding 178, 2019. https://github.com/cs-chan/Exclusively-Dark-Image-Dataset has the list and links both
    archives. `exdark` is the official test split; papers also print scores of splits of their own and of all pictures,
    so compare n and split before scores.

    Files belong together by their stem, upper or lower case (the list says 2015_00391.JPG, its annotation .jpg). Boxes
    are read as left, top, width, height from the picture's left upper corner, 0; ExDark has no outlines, so an
    object's area is its box's. They are taken to belong to the picture as it stands upright; whether the authors' tool
    turned pictures by their EXIF is not known. What does not fit:

    - a picture of the list that is not on disk: left out, and a warning says how many were found and how many of
      the absent ones have an annotation
    - a picture or an annotation that the list does not have: left out with a warning
    - a picture without annotation: a sample whose truth raises ValueError
    - a box that reaches beyond the picture: cut; one without area inside it: left out, a warning gives the number
    - an annotation without its first line, a line that is no box, an unknown class: ValueError of that picture's
      truth, with file and line
    - two files with one stem, a malformed list: ValueError of the whole set
    """

    label = "ExDark"
    layout = f"images/<Class>/*, annotations/<Class>/*.txt (or {ARCHIVE}) and {LIST}"
    origin = "Loh and Chan, CVIU 178, 2019: 7,363 pictures; github.com/cs-chan/Exclusively-Dark-Image-Dataset"
    training_split = "train"

    def __init__(self, option: str = "", root: Path | None = None) -> None:
        super().__init__(option, root)
        if option not in ("", "all", *SPLITS):
            raise ValueError(
                f"exdark has no split {option!r}; write exdark (test), exdark:train, exdark:val, exdark:test"
                " or exdark:all"
            )
        self.split = option or "test"
        if self.split != "test":
            self.label = f"{self.label} {self.split}"

    @property
    def paired(self) -> bool:
        """Never."""
        return False

    @property
    def tasks(self) -> tuple[str, ...]:
        """Detection."""
        return ("detection",)

    @property
    def classes(self) -> tuple[str, ...]:
        """The twelve, in the authors' order."""
        return tuple(CLASSES.values())

    def samples(self) -> list[Sample]:
        """The pictures of the split that are on disk, by stem as the list writes it."""
        pictures, annotations = self._pictures(), self._annotations
        wanted = {key: stem for key, stem in self._stems.items() if self.split in ("all", self._list[stem].split)}
        present = {key: stem for key, stem in wanted.items() if key in pictures}
        if not present:
            raise self._nothing_of_the_split(pictures)
        self._warn_of_absent(wanted, present)
        self._warn_of_unlisted("pictures", pictures)
        self._warn_of_unlisted("annotations", annotations)
        samples = [
            Sample(stem, pictures[key], truth=(annotations[key][0],) if key in annotations else ())
            for key, stem in present.items()
        ]
        warn_of_dropped(self.label, samples, self._read)
        return samples

    def load(self, sample: Sample) -> Pair:
        """Decode one picture."""
        return Pair(read_rgb(sample.low), None)

    def truth(self, sample: Sample) -> Truth:
        """Boxes with COCO's class names; groups: light (the ten conditions) and place (indoor, outdoor)."""
        size, objects = self._read(sample)
        row = self._list[sample.id]
        return Truth(size, boxes_inside(objects, size), groups={"light": row.light, "place": row.place})

    def _read(self, sample: Sample) -> tuple[tuple[int, int], list[Annotation]]:
        if sample.id.lower() not in self._annotations:
            raise ValueError(f"{sample.low} has no annotation; add {ANNOTATION_FOLDERS[0]}/*/{sample.low.name}.txt")
        file, member = self._annotations[sample.id.lower()]
        place = f"{file}/{member}" if member else str(file)
        text = self._members[member] if member else file.read_bytes()
        return size_of(sample.low), parse_bbgt(text.decode(errors="replace"), place)

    @cached_property
    def _list(self) -> dict[str, Row]:
        """The official list by stem, in natural order."""
        file = root_of(self) / LIST
        if not file.is_file():
            raise lacking(self, file)
        rows: dict[str, Row] = {}
        seen: dict[str, int] = {}
        for number, line in enumerate(file.read_text(encoding="utf-8", errors="replace").splitlines(), start=1):
            if "|" in line or not line.strip():
                continue
            stem, entry = _row(line, f"{file}:{number}")
            if stem.lower() in seen:
                raise ValueError(f"{file}:{number} names {stem}, as line {seen[stem.lower()]} does; remove one of them")
            seen[stem.lower()] = number
            rows[stem] = entry
        return {stem: rows[stem] for stem in sorted(rows, key=natural_key)}

    @cached_property
    def _stems(self) -> dict[str, str]:
        return {stem.lower(): stem for stem in self._list}

    def _pictures(self) -> dict[str, Path]:
        folder = _folder(root_of(self), IMAGE_FOLDERS)
        if folder is None:
            raise lacking(self, root_of(self) / IMAGE_FOLDERS[0])
        files = [file for file in sorted(folder.rglob("*")) if file.suffix.lower() in PICTURE_SUFFIXES]
        return {key: file for key, (file, _) in _by_stem((file, "", file.stem) for file in files).items()}

    @cached_property
    def _annotations(self) -> dict[str, tuple[Path, str]]:
        """File of each annotation by stem in lower case; the archive and the member's name where there is no folder."""
        root = root_of(self)
        folder = _folder(root, ANNOTATION_FOLDERS)
        if folder is not None:
            return _by_stem((file, "", Path(file.stem).stem) for file in sorted(folder.rglob("*.txt")))
        if not (root / ARCHIVE).is_file():
            raise lacking(self, root / ANNOTATION_FOLDERS[0])
        members = [PurePosixPath(name) for name in sorted(self._members)]
        return _by_stem((root / ARCHIVE, str(name), PurePosixPath(name.stem).stem) for name in members)

    @cached_property
    def _members(self) -> dict[str, bytes]:
        """The archive's annotations; all are small, and reading them once needs no open file between threads."""
        file = root_of(self) / ARCHIVE
        try:
            with zipfile.ZipFile(io.BytesIO(file.read_bytes())) as archive:  # an address is no file to ZipFile
                names = [name for name in archive.namelist() if name.endswith(".txt")]
                return {name: archive.read(name) for name in names}
        except (zipfile.BadZipFile, EOFError, OSError) as error:
            raise ValueError(f"{file} cannot be unpacked: {error}; copy or download it again") from error

    def _nothing_of_the_split(self, pictures: Iterable[str]) -> Exception:
        listed = [self._stems[key] for key in pictures if key in self._stems]
        if not listed:
            return FileNotFoundError(f"{root_of(self)} holds no picture that {LIST} names; it needs {self.layout}")
        counts = Counter(self._list[stem].split for stem in listed)
        found = " and ".join(f"{counts[split]} of {split}" for split in SPLITS if counts[split])
        return ValueError(
            f"{root_of(self)} has no picture of {self.split}, the {len(listed)} pictures there are {found};"
            " write exdark:all to take them all"
        )

    def _warn_of_absent(self, wanted: Mapping[str, str], present: Mapping[str, str]) -> None:
        absent = [stem for key, stem in wanted.items() if key not in present]
        if absent:
            annotated = sum(stem.lower() in self._annotations for stem in absent)
            warnings.warn(
                f"{self.label} in {self.root}: found {len(present):,} of {len(wanted):,} pictures; absent are"
                f" {first(absent)}; annotations without their picture: {annotated:,}",
                stacklevel=3,
            )

    def _warn_of_unlisted(self, what: str, found: Mapping[str, object]) -> None:
        unlisted = [key for key in found if key not in self._stems]
        if unlisted:
            warnings.warn(
                f"{self.label} in {self.root}: {len(unlisted)} {what} are left out, {LIST} does not name them:"
                f" {first(unlisted)}",
                stacklevel=3,
            )


def parse_bbgt(text: str, place: str) -> list[Annotation]:
    """Objects of an annotation in version 3 of bbGt (Piotr Dollar's toolbox): class, left, top, width, height, ...

    What follows (occlusion, orientation) is unused, as the authors say. Raises ValueError with place and line.
    """
    lines = text.splitlines()
    if not lines or not re.fullmatch(r"%\s*bbGt version=3", lines[0].strip()):
        raise ValueError(f"{place}:1 must be '% bbGt version=3', is {lines[0] if lines else ''!r}; copy the file again")
    objects: list[Annotation] = []
    for number, line in enumerate(lines[1:], start=2):
        fields = line.split()
        if not fields:
            continue
        box = finite(fields[1:5])
        if box is None or len(box) != 4:
            raise ValueError(f"{place}:{number} must be a class, left, top, width and height, is {line!r}")
        if fields[0].lower() not in CLASSES:
            raise ValueError(f"{place}:{number} has the class {fields[0]!r}; ExDark's are {', '.join(CLASSES)}")
        left, top, width, height = box
        objects.append(Annotation(CLASSES[fields[0].lower()], left, top, width, height))
    return objects


def _row(line: str, place: str) -> tuple[str, Row]:
    fields = line.split()
    codes = [int(field) for field in fields[1:] if field.isascii() and field.isdigit()]
    kinds = (tuple(CLASSES), LIGHTS, PLACES, SPLITS)
    if len(fields) != 5 or len(codes) != 4 or not all(map(_numbers, codes, kinds)):
        limits = ", ".join(str(len(kind)) for kind in kinds)
        raise ValueError(
            f"{place} must be a file's name and four numbers from 1 to {limits}, is {line!r}; download it again"
        )
    _, light, in_or_out, split = (kind[code - 1] for code, kind in zip(codes, kinds, strict=True))
    return Path(fields[0]).stem, Row(light, in_or_out, split)


def _numbers(code: int, kind: Sequence[str]) -> bool:
    return 1 <= code <= len(kind)


def _folder(root: Path, names: Sequence[str]) -> Path | None:
    found = [root / name for name in names if (root / name).is_dir()]
    if len(found) > 1:
        raise ValueError(f"{root} has both {' and '.join(folder.name for folder in found)}; remove one of them")
    return found[0] if found else None


def _by_stem(files: Iterable[tuple[Path, str, str]]) -> dict[str, tuple[Path, str]]:
    """(file, member of it, stem) by stem in lower case; hidden files are left out."""
    found: dict[str, tuple[Path, str]] = {}
    for file, member, stem in files:
        if stem.startswith(".") or "__MACOSX" in member:
            continue
        if stem.lower() in found:
            other, its_member = found[stem.lower()]
            raise ValueError(
                f"{other / its_member} and {file / member} have one stem, upper and lower case being equal; remove one"
            )
        found[stem.lower()] = (file, member)
    return found
