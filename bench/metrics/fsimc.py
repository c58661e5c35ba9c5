"""FSIM with the chroma factor."""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor

from bench.contracts import Metric
from bench.planes import Planes

from ._phase_congruency import chroma_similarity, pooled, similarity
from ._threads import unsplit


def fsimc(enhanced: Planes, reference: Planes) -> Tensor:
    """Feature similarity of luma and chroma per picture; NaN where the luma of one of the two is constant."""
    luma = similarity(enhanced, reference)
    return pooled(luma.local * chroma_similarity(enhanced, reference), luma.weight)


class FSIMc(Metric):
    """Feature similarity with the similarity of the I and Q planes as a further factor, higher is better."""

    label = "FSIMc"
    higher_is_better = True
    needs_reference = True
    decimals = 4
    noise = 4e-6
    bounds = (0.0, 1.0)
    definition = "FSIM with chroma: YIQ, reduced to about 256 pixels, T1 0.85, T2 160, T3 = T4 = 200, exponent 0.03"
    source = "Zhang et al., IEEE TIP 2011; authors' FeatureSIM.m 1.0"
    undefined: ClassVar[str] = "one of the two pictures has constant luma, so its phase congruency is 0 / 0"

    def score(self, enhanced: Planes, reference: Planes | None) -> Tensor:
        """FSIMc of each picture."""
        if reference is None:
            raise ValueError("FSIMc needs a reference picture")
        with unsplit(enhanced.rgb):
            return fsimc(enhanced, reference)
