"""CLAHE: lightness is equalised tile by tile, with a limit on the slope."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar

import torch
from torch import Tensor

from bench.contracts import Adapter
from bench.image import to_uint8

from ._options import positive_number, unknown_option

TILES = 8
CLIP_LIMIT = 2.0


class CLAHE(Adapter):
    """OpenCV's contrast-limited adaptive histogram equalisation of L of Lab: 8x8 tiles, blended bilinearly.

    Works on 8-bit Lab as OpenCV users do, so the output has the rounding of that space.
    """

    label = "CLAHE"
    kind = "classical"
    source = "Zuiderveld 1994, Graphics Gems IV; OpenCV createCLAHE on L of Lab"
    options: ClassVar[Mapping[str, str]] = {"NUMBER": "clip limit; 2.0 if absent, higher is stronger"}

    def __init__(self, option: str = "", weights: Path | None = None) -> None:
        super().__init__(option, weights)
        limit = positive_number(option) if option else CLIP_LIMIT
        if limit is None:
            raise unknown_option("clahe", option, self.options)
        self._limit = limit

    def enhance(self, low: Tensor) -> Tensor:
        """Equalise each picture on the CPU; OpenCV has no other."""
        return torch.stack([self._enhance_one(picture) for picture in to_uint8(low)]).to(low).div_(255)

    def _enhance_one(self, low: Tensor) -> Tensor:
        import cv2

        lab = cv2.cvtColor(low.permute(1, 2, 0).contiguous().cpu().numpy(), cv2.COLOR_RGB2LAB)
        equaliser = cv2.createCLAHE(clipLimit=self._limit, tileGridSize=(TILES, TILES))
        lab[..., 0] = equaliser.apply(lab[..., 0])
        return torch.from_numpy(cv2.cvtColor(lab, cv2.COLOR_LAB2RGB)).permute(2, 0, 1)
