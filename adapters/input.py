"""The picture as it is: the row every method is compared with."""

from __future__ import annotations

from pathlib import Path

from torch import Tensor

from bench.contracts import Adapter

from ._options import refuse_option


class Input(Adapter):
    """No enhancement; the scores of this row say how dark the pictures are."""

    label = "Input"
    kind = "none"
    source = "the low-light picture itself"

    def __init__(self, option: str = "", weights: Path | None = None) -> None:
        super().__init__(option, weights)
        refuse_option("input", option)

    def enhance(self, low: Tensor) -> Tensor:
        """The same values in a tensor of its own."""
        return low.clone()
