"""Any folder of the user's photographs taken in good light, each darkened by a simulated camera."""

from __future__ import annotations

from pathlib import Path

from bench.contracts import Dataset, Pair, Sample
from bench.image import absolute, is_folder, path_of, pictures_in, read_rgb, resize

from ._darkening import darkened_pair, reduced_size


class Darkened(Dataset):
    """`darkened:DIR`: the photographs of DIR are the references; `_camera.darken` takes each again in poor light.

    Pairs to learn from where there are no real ones (DGAF's source pairs, DRGN's references). Exposure, tint and noise
    of a picture depend on its file's stem alone. The noise is simulated: scores are no results to print.
    """

    label = "darkened"
    layout = "photographs taken in good light"
    origin = "the user's own photographs, darkened by datasets/_camera.py"
    needs_root = False

    def __init__(self, option: str = "", root: Path | None = None) -> None:
        super().__init__(option, root)
        if not option:
            raise ValueError(f"darkened needs a directory: write darkened:DIR, where DIR holds {self.layout}")
        self.directory = path_of(option)
        self.label = f"{absolute(self.directory).name or option} (darkened)"

    @property
    def paired(self) -> bool:
        """Always."""
        return True

    def samples(self) -> list[Sample]:
        """The photographs, by name."""
        if not is_folder(self.directory):
            raise FileNotFoundError(f"darkened:{self.option} is not a folder ({absolute(self.directory)})")
        return [Sample(stem, file, file) for stem, file in pictures_in(self.directory).items()]

    def load(self, sample: Sample) -> Pair:
        """The darkened photograph and the photograph, both 8-bit exact."""
        photograph = read_rgb(sample.low)
        width, height = reduced_size((photograph.shape[2], photograph.shape[1]))
        # At its own size too: resizing leaves the pixels of an 8-bit picture alone and rounds those of a 16-bit one.
        return darkened_pair(resize(photograph, f"{width}x{height}"), sample.id)
