"""Photographs that come with installed packages, darkened by a simulated camera: a paired set without any download."""

from __future__ import annotations

import importlib.util
import warnings
from pathlib import Path
from typing import NamedTuple

from bench.contracts import Dataset, Pair, Sample
from bench.image import read_rgb, resize

from ._camera import Camera, darken, draw_exposure, generator_for
from ._roots import refuse_option

SEED = 2018
"""Changing it changes every dark picture."""
LONG_SIDE = 640
"""Larger photographs are reduced to this (Pillow bicubic), so that a run on a CPU stays short."""


class Photograph(NamedTuple):
    """A photograph and the installed package that carries it."""

    id: str
    package: str
    file: str


PHOTOGRAPHS = (
    Photograph("astronaut", "skimage", "data/astronaut.png"),
    Photograph("bus", "ultralytics", "assets/bus.jpg"),
    Photograph("chelsea", "skimage", "data/chelsea.png"),
    Photograph("china", "sklearn", "datasets/images/china.jpg"),
    Photograph("coffee", "skimage", "data/coffee.png"),
    Photograph("flower", "sklearn", "datasets/images/flower.jpg"),
    Photograph("motorcycle", "skimage", "data/motorcycle_left.png"),
    Photograph("rocket", "skimage", "data/rocket.jpg"),
    Photograph("zidane", "ultralytics", "assets/zidane.jpg"),
)


class Demo(Dataset):
    """Nine well-exposed photographs are the references; `_camera.darken` takes each again in poor light.

    The noise is simulated: use these scores to try the harness, not to rank methods in print. Credits, as the packages
    state them:

    - astronaut: Eileen Collins, NASA, public domain (scikit-image)
    - chelsea: Stefan van der Walt, CC0 (scikit-image)
    - coffee: Rachel Michetti, courtesy of Pikolo Espresso Bar, CC0 (scikit-image)
    - motorcycle: Nesic, Westling, Wang, Kitajima, Krathwohl, Scharstein (Middlebury 2014 stereo data), no licence named
      (scikit-image)
    - rocket: SpaceX, public domain (scikit-image)
    - china: danielbuechele (flickr.com/photos/danielbuechele/6061409035), CC BY 2.0 (scikit-learn)
    - flower: vultilion (flickr.com/photos/vultilion/6056698931), CC BY 2.0 (scikit-learn,
      whose README links vultilion under the name of the other photographer)
    - bus, zidane: part of ultralytics, AGPL-3.0, photographers not named
    """

    label = "Demo (simulated)"
    layout = "nothing: the photographs come with scikit-image, scikit-learn and ultralytics"
    origin = "photographs of installed packages (credits in datasets/demo.py), darkened by datasets/_camera.py"
    needs_root = False

    def __init__(self, option: str = "", root: Path | None = None) -> None:
        super().__init__(option, root)
        refuse_option(self)

    @property
    def paired(self) -> bool:
        """Always."""
        return True

    def samples(self) -> list[Sample]:
        """The photographs that are installed; warns of each that is not, raises FileNotFoundError where none is."""
        found, missing = [], []
        for photograph in PHOTOGRAPHS:
            path, reason = _locate(photograph)
            if path is None:
                missing.append(reason)
            else:
                found.append(Sample(id=photograph.id, low=path, reference=path))
        if not found:
            raise FileNotFoundError(f"demo finds none of its photographs: {'; '.join(missing)}; reinstall the packages")
        if missing:
            warnings.warn(f"demo runs without {len(missing)} photographs: {'; '.join(missing)}", stacklevel=2)
        return found

    def load(self, sample: Sample) -> Pair:
        """The darkened photograph and the photograph, both 8-bit exact."""
        reference = read_rgb(sample.low)
        height, width = reference.shape[1:]
        longest = max(height, width)
        if longest > LONG_SIDE:
            reference = resize(reference, f"{round(width * LONG_SIDE / longest)}x{round(height * LONG_SIDE / longest)}")
        generator = generator_for(SEED, sample.id)
        return Pair(darken(reference, draw_exposure(generator), Camera(), generator), reference)


def _locate(photograph: Photograph) -> tuple[Path | None, str]:
    """The photograph's file, or None with the reason; finds the package without importing it."""
    spec = importlib.util.find_spec(photograph.package)
    if spec is None or not spec.submodule_search_locations:
        return None, f"{photograph.id} ({photograph.package} is not installed)"
    path = Path(spec.submodule_search_locations[0]) / photograph.file
    if not path.is_file():
        return None, f"{photograph.id} ({path} does not exist)"
    return path, ""
