"""FSIM on luma."""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor

from bench.contracts import Metric
from bench.planes import Planes

from ._phase_congruency import pooled, similarity
from ._threads import unsplit


def fsim(enhanced: Planes, reference: Planes) -> Tensor:
    """Feature similarity of luma per picture; NaN where one of the two is constant."""
    luma = similarity(enhanced, reference)
    return pooled(luma.local, luma.weight)


class FSIM(Metric):
    """Feature similarity from phase congruency and gradient, higher is better; luma only, not FSIMc."""

    label = "FSIM"
    higher_is_better = True
    needs_reference = True
    decimals = 4
    noise = 4e-6
    bounds = (0.0, 1.0)
    definition = "luma .299/.587/.114, reduced to about 256 pixels, 4 scales, 4 orientations, T1 0.85, T2 160"
    source = "Zhang et al., IEEE TIP 2011; authors' FeatureSIM.m 1.0"
    undefined: ClassVar[str] = "one of the two pictures is constant, so its phase congruency is 0 / 0"

    def score(self, enhanced: Planes, reference: Planes | None) -> Tensor:
        """FSIM of each picture."""
        if reference is None:
            raise ValueError("FSIM needs a reference picture")
        with unsplit(enhanced.rgb):
            return fsim(enhanced, reference)
