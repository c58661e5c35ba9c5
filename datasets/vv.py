"""VV: Vassilios Vonikakis' photographs with well-lit and very dark parts, without references."""

from typing import ClassVar

from ._unpaired import Unpaired


class VV(Unpaired):
    """Vonikakis, "Busting image enhancement and tone-mapping algorithms", a collection on the author's web site.

    https://sites.google.com/site/vonikakis/datasets; large pictures (about 2300x1700).
    """

    label = "VV"
    origin = "V. Vonikakis, sites.google.com/site/vonikakis/datasets; distributions of 24 and 26 pictures"
    counts: ClassVar = {24: "as most papers count", 26: "as others count"}
