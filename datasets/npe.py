"""NPE: outdoor photographs in uneven light, without references."""

from typing import ClassVar

from ._unpaired import Unpaired


class NPE(Unpaired):
    """Wang, Zheng, Hu, Li, "Naturalness Preserved Enhancement Algorithm for Non-Uniform Illumination Images", TIP 2013.

    Passed around in three sizes, so compare the n of two tables before their means. The 8 pictures are in
    https://github.com/RohitMugalya/Semantic-Guided-Low-Light-Image-Enhancement.
    """

    label = "NPE"
    origin = (
        "Wang et al., IEEE TIP 22(9), 2013; distributions of 8, 42 and 84 pictures;"
        " github.com/RohitMugalya/Semantic-Guided-Low-Light-Image-Enhancement has 8"
    )
    counts: ClassVar = {8: "the repository above", 42: "as some papers count", 84: "as others count"}
