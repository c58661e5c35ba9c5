"""Any folder of the user's: pictures alone, or low/ beside references."""

from __future__ import annotations

from pathlib import Path

from bench.contracts import Dataset, Pair, Sample

from ._pairs import load_pair, pairs_in
from ._unpaired import unpaired_samples

REFERENCE_FOLDERS = ("high", "reference", "gt", "normal")
"""Names of the folder beside low/ that holds the references, in any case."""


class Folder(Dataset):
    """`folder:DIR`: the pictures of DIR without references, or the pairs of DIR/low and DIR/high (or another name)."""

    label = "folder"
    layout = "pictures, or low/ and one of high/, reference/, gt/, normal/ with files of the same stems"
    origin = "the user's own pictures"
    needs_root = False

    def __init__(self, option: str = "", root: Path | None = None) -> None:
        super().__init__(option, root)
        if not option:
            raise ValueError(f"folder needs a directory: write folder:DIR, where DIR holds {self.layout}")
        self.directory = Path(option)
        self.label = self.directory.resolve().name or option

    @property
    def paired(self) -> bool:
        """Whether DIR holds low/."""
        return self._pair_folders() is not None

    def samples(self) -> list[Sample]:
        """The pictures, or the pairs, by name."""
        pair = self._pair_folders()
        return unpaired_samples(self.directory) if pair is None else pairs_in(*pair)

    def load(self, sample: Sample) -> Pair:
        """Decode one picture or one pair."""
        return load_pair(sample)

    def _pair_folders(self) -> tuple[Path, Path] | None:
        if not self.directory.is_dir():
            raise FileNotFoundError(f"folder:{self.option} is not a folder ({self.directory.resolve()})")
        folders = {child.name.lower(): child for child in sorted(self.directory.iterdir()) if child.is_dir()}
        if "low" not in folders:
            return None
        references = [folders[name] for name in REFERENCE_FOLDERS if name in folders]
        if len(references) != 1:
            found = " and ".join(folder.name for folder in references) or "none"
            raise ValueError(
                f"{self.directory} has low/ and needs {', '.join(REFERENCE_FOLDERS)} beside it, found {found};"
                f" for pictures alone write folder:{self.directory / 'low'}"
            )
        return folders["low"], references[0]
