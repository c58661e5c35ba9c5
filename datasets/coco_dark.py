"""COCO or any set annotated like it, its photographs darkened: enhancement and detection with truth for both."""

from __future__ import annotations

import warnings
from collections.abc import Collection, Iterable, Sequence
from functools import cached_property
from pathlib import Path

from bench.contracts import Dataset, Pair, Sample, Truth
from bench.image import PICTURE_SUFFIXES, is_folder, natural_key, read_rgb, resize, size_of

from ._boxes import COCO_CLASSES, Annotation, boxes_inside, first, resized, warn_of_dropped
from ._coco_json import CocoFile, read_coco
from ._darkening import darkened_pair, reduced_size
from ._roots import lacking, name_of, root_of
from ._yolo_labels import read_labels

CLEAN = "clean"
LIST = "list.txt"


class CocoDark(Dataset):
    """Photographs in good light are the references; `_camera.darken` takes each again in poor light, as darkened:DIR.

    Lin et al., "Microsoft COCO: Common Objects in Context", ECCV 2014; https://cocodataset.org has val2017 (5,000
    photographs) and its instances_val2017.json. DRGN's COCO1000 and the 959 pairs that JCRNet took over are not
    published with a recipe: exposure and noise here are ours, scores are no repetition of theirs. Detectors that
    learned from train2017 have seen those photographs: take val2017 for results.

    `coco_dark` takes the only annotations/*.json (the only instances_*.json where there are several files),
    `coco_dark:STEM` the one named so. `coco_dark:clean` and `coco_dark:clean:STEM` leave the photographs as they are,
    in their own size and without reference: a detector must reach its published score there. Darkened photographs are
    reduced to 640 pixels, boxes and areas with them.

    Pictures are looked for as file_name says below the root, below the folder named like the end of the JSON's name
    (val2017/), below images/, then anywhere by name. A root without JSON but with images/ and labels/ is read as YOLO
    labels of COCO's 80 classes. Where the root holds list.txt, only the pictures it names (a file or a stem a line)
    are taken. What does not fit:

    - a picture that is not on disk: left out, a warning gives the number; none on disk: FileNotFoundError
    - a picture without annotation in the JSON, or without label file: no objects; a warning counts the label files
    - a crowd: ignored; an area that is not given: the box's
    - a box that reaches beyond the picture: cut; one without area inside it: left out, a warning gives the number
    - a picture whose size is not the one the JSON states: ValueError of its truth
    - a JSON that `_coco_json.read_coco` refuses, a name in list.txt without picture: ValueError of the whole set
    """

    label = "COCO (darkened)"
    layout = "annotations/*.json in COCO's format and the photographs (val2017/, images/); or images/ and labels/"
    origin = "Lin et al., ECCV 2014, cocodataset.org; darkened by datasets/_camera.py"

    def __init__(self, option: str = "", root: Path | None = None) -> None:
        super().__init__(option, root)
        head, _, tail = option.partition(":")
        self.clean = head == CLEAN
        self.stem = tail if self.clean else option
        kind = "as photographed" if self.clean else "darkened"
        self.label = f"{' '.join(filter(None, ('COCO', self.stem)))} ({kind})"

    @property
    def paired(self) -> bool:
        """Unless the photographs stay as they are."""
        return not self.clean

    @property
    def tasks(self) -> tuple[str, ...]:
        """Detection."""
        return ("detection",)

    @property
    def classes(self) -> tuple[str, ...]:
        """The JSON's categories by id; COCO's 80 for YOLO labels."""
        return self._coco.classes if self._coco else COCO_CLASSES

    def samples(self) -> list[Sample]:
        """The photographs on disk, by stem."""
        samples = self._from_json(self._coco) if self._coco else self._from_labels()
        warn_of_dropped(self.label, samples, self._read)
        return samples

    def load(self, sample: Sample) -> Pair:
        """The darkened photograph and the photograph, both 8-bit exact; `clean`: the photograph alone."""
        photograph = read_rgb(sample.low)
        if self.clean:
            return Pair(photograph, None)
        width, height = reduced_size((photograph.shape[2], photograph.shape[1]))
        # At its own size too: resizing leaves the pixels of an 8-bit picture alone and rounds those of a 16-bit one.
        return darkened_pair(resize(photograph, f"{width}x{height}"), sample.id)

    def truth(self, sample: Sample) -> Truth:
        """Boxes in pixels of the picture that `load` gives."""
        size, objects = self._read(sample)
        boxes = boxes_inside(objects, size)
        if self.clean:
            return Truth(size, boxes)
        smaller = reduced_size(size)
        return Truth(smaller, resized(boxes, size, smaller))

    def _read(self, sample: Sample) -> tuple[tuple[int, int], Sequence[Annotation]]:
        if self._coco:
            return self._coco.objects(sample.id, sample.low)
        size = size_of(sample.low)
        return size, [item for file in sample.truth for item in read_labels(file, size)]

    @cached_property
    def _coco(self) -> CocoFile | None:
        """The parsed JSON; None where the root holds YOLO labels."""
        root = root_of(self)
        files = {file.stem: file for file in sorted((root / "annotations").glob("*.json"))}
        if self.stem:
            if self.stem not in files:
                there = ", ".join(files) or "none"
                raise ValueError(f"{root / 'annotations'} has no {self.stem}.json, there are {there}; name one of them")
            return read_coco(files[self.stem])
        choice = [stem for stem in files if stem.startswith("instances_")] or list(files)
        if len(choice) > 1:
            name = f"{name_of(self)}:{CLEAN}" if self.clean else name_of(self)
            raise ValueError(f"{root / 'annotations'} holds {', '.join(choice)}; name one: {name}:{choice[0]}")
        if choice:
            return read_coco(files[choice[0]])
        if (root / "images").is_dir() and (root / "labels").is_dir():
            return None
        raise lacking(self, root / "annotations")

    def _from_json(self, coco: CocoFile) -> list[Sample]:
        wanted = self._listed(coco.images)
        root = root_of(self)
        places = {stem: self._locate(root, coco.images[stem].file_name, coco.path) for stem in wanted}
        samples = [Sample(stem, file, self._reference(file), (coco.path,)) for stem, file in places.items() if file]
        missing = [stem for stem in wanted if places[stem] is None]
        if not samples:
            raise FileNotFoundError(
                f"{self.root} has none of the {len(missing):,} pictures that {coco.path} names ({first(missing)})"
            )
        self._warn(missing, f"of {len(wanted):,} pictures are not on disk and left out")
        return samples

    def _from_labels(self) -> list[Sample]:
        root = root_of(self)
        pictures = _by_stem(_files(root / "images", PICTURE_SUFFIXES))
        labels = _by_stem(_files(root / "labels", {".txt"}))
        if not pictures:
            raise FileNotFoundError(f"{root / 'images'} holds no picture")
        wanted = self._listed(pictures)
        self._warn([stem for stem in wanted if stem not in labels], "pictures have no label file: taken as empty")
        self._warn([stem for stem in labels if stem not in pictures], "label files have no picture")
        truths = {stem: (labels[stem],) if stem in labels else () for stem in wanted}
        return [Sample(stem, pictures[stem], self._reference(pictures[stem]), truths[stem]) for stem in wanted]

    def _reference(self, photograph: Path) -> Path | None:
        return None if self.clean else photograph

    def _warn(self, stems: Sequence[str], what: str) -> None:
        if stems:
            warnings.warn(f"{self.label} in {self.root}: {len(stems):,} {what}: {first(stems)}", stacklevel=4)

    def _listed(self, stems: Collection[str]) -> list[str]:
        """Those of the stems that the root's list.txt names; all where there is none."""
        file = root_of(self) / LIST
        if not file.is_file():
            return list(stems)
        lines = file.read_text(encoding="utf-8", errors="replace").splitlines()
        wanted = {Path(line.strip()).stem: number for number, line in enumerate(lines, start=1) if line.strip()}
        for stem, number in wanted.items():
            if stem not in stems:
                raise ValueError(f"{file}:{number} names {stem}, which has no annotation; remove the line")
        if not wanted:
            raise ValueError(f"{file} names no picture; remove it or write one a line")
        return [stem for stem in stems if stem in wanted]

    def _locate(self, root: Path, name: str, annotations: Path) -> Path | None:
        """The file of a picture: as named below the usual folders, else the only one of that name anywhere."""
        part = annotations.stem.rpartition("_")[2]
        for folder in (root, root / part, root / "images", root / "images" / part):
            file = folder / name
            if file.name in self._names(file.parent):
                return file
        places = self._anywhere.get(Path(name).name, [])
        if len(places) > 1:
            raise ValueError(f"{name} is in {root} as {' and '.join(map(str, places))}; remove all but one")
        return places[0] if places else None

    def _names(self, folder: Path) -> frozenset[str]:
        """What lies in a folder, listed once: asking for each picture takes minutes where each is a request."""
        if folder not in self._listings:
            there = is_folder(folder)
            self._listings[folder] = frozenset(child.name for child in folder.iterdir()) if there else frozenset()
        return self._listings[folder]

    @cached_property
    def _listings(self) -> dict[Path, frozenset[str]]:
        return {}

    @cached_property
    def _anywhere(self) -> dict[str, list[Path]]:
        places: dict[str, list[Path]] = {}
        for file in _files(root_of(self), PICTURE_SUFFIXES):
            places.setdefault(file.name, []).append(file)
        return places


def _files(folder: Path, suffixes: Collection[str]) -> list[Path]:
    files = (file for file in sorted(folder.rglob("*")) if file.suffix.lower() in suffixes)
    return [file for file in files if not file.name.startswith(".")]


def _by_stem(files: Iterable[Path]) -> dict[str, Path]:
    found: dict[str, Path] = {}
    for file in files:
        if file.stem in found:
            raise ValueError(f"{found[file.stem]} and {file} have one stem; rename or remove one of them")
        found[file.stem] = file
    return {stem: found[stem] for stem in sorted(found, key=natural_key)}
