"""LOL-v1: real pairs of short and normal exposures of the same scene, 600x400."""

from __future__ import annotations

from pathlib import Path

from bench.contracts import Dataset, Pair, Sample

from ._pairs import load_pair, pairs_in
from ._roots import lacking, root_of


class LOL(Dataset):
    """500 pairs, mostly indoor, taken by changing exposure time and ISO; split 485 for training, 15 for evaluation.

    Wei, Wang, Yang, Liu, "Deep Retinex Decomposition for Low-Light Enhancement", BMVC 2018. The project page
    https://daooshee.github.io/BMVC2018website/ links the archive LOLdataset.zip; its top folder may stay. Most
    published methods were trained on our485: scores on it measure memory, not generalisation.
    """

    label = "LOL-v1"
    layout = "eval15/low, eval15/high (and our485/low, our485/high for lol:our485)"
    origin = "Wei et al., BMVC 2018: 15 pairs (eval15) and 485 pairs (our485); daooshee.github.io/BMVC2018website"
    splits = ("eval15", "our485")
    training_split = "our485"

    def __init__(self, option: str = "", root: Path | None = None) -> None:
        super().__init__(option, root)
        if option not in ("", *self.splits):
            raise ValueError(f"lol has no split {option!r}; write lol (eval15), lol:eval15 or lol:our485")
        self.split = option or self.splits[0]
        if self.split != self.splits[0]:
            self.label = f"{self.label} {self.split}"

    @property
    def paired(self) -> bool:
        """Always."""
        return True

    def samples(self) -> list[Sample]:
        """The pairs of the split, by number."""
        folder = self._split_folder()
        for part in (folder / "low", folder / "high"):
            if not part.is_dir():
                raise lacking(self, part)
        return pairs_in(folder / "low", folder / "high")

    def load(self, sample: Sample) -> Pair:
        """Decode one pair."""
        return load_pair(sample)

    def _split_folder(self) -> Path:
        root = root_of(self)
        if (root / self.split).is_dir():
            return root / self.split
        nested = sorted(folder for folder in root.glob(f"[!.]*/{self.split}") if (folder / "low").is_dir())
        if len(nested) > 1:
            raise ValueError(
                f"{root} holds {self.split} twice ({', '.join(map(str, nested))}); name one folder as root"
            )
        return nested[0] if nested else root / self.split
