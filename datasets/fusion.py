"""Fusion: backlit and low-light photographs of a fusion-based enhancement method, without references."""

from typing import ClassVar

from ._unpaired import Unpaired


class Fusion(Unpaired):
    """Wang, Fu, Zhang, Ding, "A Fusion-Based Method for Single Backlit Image Enhancement", ICIP 2016.

    A part of the pictures is in https://github.com/TwoTu/MF-LIME.
    """

    label = "Fusion"
    origin = "Wang et al., ICIP 2016; distributions of 16 and 18 pictures; github.com/TwoTu/MF-LIME has 14"
    counts: ClassVar = {14: "MF-LIME", 16: "as some papers count", 18: "as others count"}
