"""Patches for training on pairs: the same place, mirror image and rotation of every picture of a scene."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Generator, Tensor

from bench.contracts import Pair
from bench.image import to_uint8


def read_pair(pair: Pair) -> tuple[Tensor, ...]:
    """(low, reference) in 8 bit, as they are kept between steps; the low picture alone where there is no reference."""
    return tuple(to_uint8(picture) for picture in pair if picture is not None)


def patches(
    scenes: Sequence[tuple[Tensor, ...]], side: int, generator: Generator, rotate: bool = False
) -> tuple[Tensor, ...]:
    """A random square of each scene; (N, 3, side, side) float32 in [0, 1] for every picture that scenes hold.

    Mirrored left to right half of the time; with `rotate` also upside down and by 90 degrees. A picture smaller than
    `side` is continued by reflection.
    """
    squares = [_square(scene, side, generator, rotate) for scene in scenes]
    return tuple(torch.stack(column).float().div(255) for column in zip(*squares, strict=True))


def _square(scene: tuple[Tensor, ...], side: int, generator: Generator, rotate: bool) -> list[Tensor]:
    def chance(count: int) -> int:
        return int(torch.randint(count, (), generator=generator))

    height, width = scene[0].shape[-2:]
    top, left = chance(max(height - side, 0) + 1), chance(max(width - side, 0) + 1)
    mirrored, flipped, turned = chance(2), chance(2) if rotate else 0, chance(2) if rotate else 0
    squares = []
    for picture in scene:
        square = _within(picture, top, left, side)
        square = square.flip(-1) if mirrored else square
        square = square.flip(-2) if flipped else square
        squares.append(square.transpose(-1, -2) if turned else square)
    return squares


def _within(picture: Tensor, top: int, left: int, side: int) -> Tensor:
    rows, columns = (_reflected(start, side, size) for start, size in zip((top, left), picture.shape[-2:], strict=True))
    return picture[:, rows][:, :, columns]


def _reflected(start: int, count: int, size: int) -> Tensor:
    """`count` indices from `start` that turn back at the borders; the border itself is not repeated."""
    period = max(2 * (size - 1), 1)
    place = torch.arange(start, start + count) % period
    return torch.where(place < size, place, period - place)
