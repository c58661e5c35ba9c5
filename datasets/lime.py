"""LIME: ten low-light photographs, without references."""

from typing import ClassVar

from ._unpaired import Unpaired


class LIME(Unpaired):
    """Guo, Li, Ling, "LIME: Low-Light Image Enhancement via Illumination Map Estimation", IEEE TIP 26(2), 2017.

    The folder `LIME` of the test data in https://github.com/Li-Chongyi/Zero-DCE, or the authors' project page.
    """

    label = "LIME"
    origin = "Guo et al., IEEE TIP 2017; 10 pictures; github.com/Li-Chongyi/Zero-DCE has 9 of them"
    counts: ClassVar = {9: "test data of Zero-DCE", 10: "as papers count"}
