"""ECSSD: photographs with the salient object's mask, darkened, for salient object detection after enhancement."""

from __future__ import annotations

from pathlib import Path

from bench.contracts import Dataset, Pair, Sample, Truth
from bench.image import read_rgb, round_8bit, size_of

from ._darkening import darkened_pair
from ._masks import read_mask
from ._pairs import pairs_in
from ._roots import lacking, root_of

MASK_FOLDERS = ("masks", "ground_truth_mask", "gt")
SPLITS = ("test", "train")


class ECSSD(Dataset):
    """1,000 photographs of 400 x 300 pixels about; `_camera.darken` takes each again in poor light, as darkened:DIR.

    Yan, Xu, Shi, Jia, "Hierarchical Saliency Detection", CVPR 2013; Shi, Yan, Xu, Jia, IEEE TPAMI 38(4), 2016. The
    project page www.cse.cuhk.edu.hk/leojia/projects/hsaliency has images.zip and ground_truth_mask.zip.

    The set has no official split: papers score all of it, with models that learned elsewhere (`ecssd:all` is for
    those, e.g. for maps made by them). The model that this project ships learns from ECSSD, so here the pictures are
    divided by their number: 1, 6, 11, ... (every fifth) are `ecssd`, which is `ecssd:test`; the rest is `ecssd:train`.
    A part of the set is divided as the whole is.
    """

    label = "ECSSD (darkened)"
    layout = "images/ and masks/ (or ground_truth_mask/ or gt/) with files of the same stems"
    origin = "Yan et al., CVPR 2013: 1,000 pictures with masks; darkened by datasets/_camera.py"
    training_split = "train"

    def __init__(self, option: str = "", root: Path | None = None) -> None:
        super().__init__(option, root)
        if option not in ("", "all", *SPLITS):
            raise ValueError(f"ecssd has no split {option!r}; write ecssd (test), ecssd:test, ecssd:train or ecssd:all")
        self.split = option or "test"
        if self.split != "test":
            self.label = f"ECSSD {self.split} (darkened)"

    @property
    def paired(self) -> bool:
        """Always."""
        return True

    @property
    def tasks(self) -> tuple[str, ...]:
        """Saliency."""
        return ("saliency",)

    def samples(self) -> list[Sample]:
        """The photographs of the split, by number; raises ValueError for one without mask or a mask without one."""
        root = root_of(self)
        masks = [root / name for name in MASK_FOLDERS if (root / name).is_dir()]
        for folder in (root / "images", *(masks[:1] or [root / MASK_FOLDERS[0]])):
            if not folder.is_dir():
                raise lacking(self, folder)
        if len(masks) > 1:
            raise ValueError(f"{root} has masks in {' and '.join(folder.name for folder in masks)}; remove one of them")
        pairs = pairs_in(root / "images", masks[0])
        samples = [
            Sample(pair.id, pair.low, pair.low, (pair.reference,))
            for pair in pairs
            if pair.reference and (self.split == "all" or self.split == _split_of(pair.low))
        ]
        if not samples:
            raise ValueError(f"{root} has no picture of {self.split} among {len(pairs)}; write ecssd:all to take all")
        return samples

    def load(self, sample: Sample) -> Pair:
        """The darkened photograph and the photograph, both 8-bit exact and of the photograph's size."""
        return darkened_pair(round_8bit(read_rgb(sample.low)), sample.id)

    def truth(self, sample: Sample) -> Truth:
        """The mask; raises ValueError naming both files where its size is not the photograph's."""
        (mask,) = sample.truth
        return Truth(size_of(sample.low), mask=read_mask(mask, sample.low))


def _split_of(picture: Path) -> str:
    if not (picture.stem.isascii() and picture.stem.isdigit()):
        raise ValueError(
            f"{picture} has no number as its name, as 0001 to 1000 in ECSSD, and is in no split; write ecssd:all"
        )
    return "test" if int(picture.stem) % 5 == 1 else "train"
