"""Pictures that belong to a photograph pixel by pixel: masks of the salient object, depth, heat."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from bench.image import read_rgb, size_of


def read_beside(file: Path, picture: Path) -> Tensor:
    """Decode a file (3, H, W) that belongs to a picture; raises ValueError naming both where their sizes differ."""
    beside = read_rgb(file)
    width, height = size_of(picture)
    if beside.shape[1:] != (height, width):
        raise ValueError(
            f"{file} is {beside.shape[2]}x{beside.shape[1]} but {picture} is {width}x{height}; they must have one size"
        )
    return beside


def read_mask(file: Path, picture: Path) -> NDArray[np.bool_]:
    """(H, W): True where the mask is 128 or brighter, in colour where the mean of the channels is.

    An all-black mask is a picture without object. Raises ValueError where the mask is neither black nor bright
    anywhere, as masks of 0 and 1 are, and where its size is not the picture's.
    """
    grey = read_beside(file, picture).double().mean(dim=0).numpy()
    mask: NDArray[np.bool_] = grey >= 127.5 / 255
    if not mask.any() and grey.max() > 0:
        raise ValueError(
            f"{file} is nowhere brighter than {grey.max() * 255:.0f} of 255, and the object must be 128 or more;"
            " save the mask as 0 and 255"
        )
    return mask
