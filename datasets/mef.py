"""MEF: the dark exposures of seventeen multi-exposure sequences, without references."""

from typing import ClassVar

from ._unpaired import Unpaired


class MEF(Unpaired):
    """Ma, Zeng, Wang, "Perceptual Quality Assessment for Multi-Exposure Image Fusion", IEEE TIP 24(11), 2015.

    One dark picture of each sequence, as in https://github.com/RohitMugalya/Semantic-Guided-Low-Light-Image-Enhancement.
    """

    label = "MEF"
    origin = (
        "Ma et al., IEEE TIP 2015; 17 pictures; github.com/RohitMugalya/Semantic-Guided-Low-Light-Image-Enhancement"
    )
    counts: ClassVar = {17: "as papers count"}
