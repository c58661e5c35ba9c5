"""DICM: photographs of commercial digital cameras in poor light, without references."""

from typing import ClassVar

from ._unpaired import Unpaired


class DICM(Unpaired):
    """Lee, Lee, Kim, "Contrast Enhancement Based on Layered Difference Representation", ICIP 2012 (IEEE TIP 2013).

    Passed around in three sizes, so compare the n of two tables before their means. The 64 pictures are the folder
    `DICM` of the test data in https://github.com/Li-Chongyi/Zero-DCE (non-commercial use).
    """

    label = "DICM"
    origin = "Lee et al., ICIP 2012; distributions of 44, 64 and 69 pictures; github.com/Li-Chongyi/Zero-DCE has 64"
    counts: ClassVar = {44: "as some papers count", 64: "test data of Zero-DCE", 69: "as others count"}
