"""How figures look in print, and how they become the same bytes every time."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from io import BytesIO
from typing import Any, ClassVar, NamedTuple

import matplotlib
import matplotlib.style
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure as Drawing
from matplotlib.font_manager import FontProperties
from matplotlib.image import AxesImage
from matplotlib.textpath import text_to_path

from bench.contracts import Column, Figure, MethodRow, Result, Wanted

DPI = 600
"""Of PNG files, and the most pixels per inch at which pictures are embedded."""
POINTS = 72
"""Per inch."""
TEXT, SMALL, TINY = 8.0, 7.0, 6.0
"""Sizes in points: titles and axes, values and ticks, the line of small print."""
LEADING = 1.2
PAGE = 9.5
"""Height in inches of a page of IEEE."""

STYLE: dict[str, Any] = {
    "font.family": ["STIXGeneral", "DejaVu Sans"],
    "font.size": TEXT,
    "mathtext.fontset": "stix",
    # Labels hold what users wrote: a dollar is a dollar.
    "text.parse_math": False,
    "axes.formatter.use_mathtext": False,
    "axes.titlesize": TEXT,
    "axes.labelsize": TEXT,
    "axes.linewidth": 0.6,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "grid.color": "#d9d9d9",
    "grid.linewidth": 0.4,
    "xtick.labelsize": SMALL,
    "ytick.labelsize": SMALL,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "xtick.major.size": 2.5,
    "ytick.major.size": 2.5,
    "xtick.minor.size": 1.5,
    "lines.linewidth": 1.1,
    "lines.markersize": 4.5,
    "hatch.linewidth": 0.4,
    "legend.fontsize": SMALL,
    "legend.frameon": False,
    "legend.handlelength": 2.4,
    "legend.columnspacing": 1.4,
    "image.interpolation": "none",
    "pdf.fonttype": 42,
    "ps.fonttype": 42,
    "pdf.compression": 9,
    "svg.fonttype": "path",
    "svg.hashsalt": "lowlight-bench",
    "savefig.dpi": DPI,
    "figure.dpi": 100,
}
METADATA: dict[str, dict[str, Any]] = {
    "pdf": {"CreationDate": None, "Producer": None, "Creator": "lowlight-bench"},
    "png": {"Software": None},
    "svg": {"Date": None, "Creator": "lowlight-bench"},
}

BLACK, ORANGE, SKY, GREEN, YELLOW, BLUE, VERMILION, PURPLE = (
    "#000000",
    "#E69F00",
    "#56B4E9",
    "#009E73",
    "#F0E442",
    "#0072B2",
    "#D55E00",
    "#CC79A7",
)
"""Okabe and Ito 2008, told apart with every common form of colour blindness."""
GREY = "#7F7F7F"
_LINES = (BLUE, VERMILION, GREEN, PURPLE, ORANGE, SKY, BLACK)
_MARKERS = "os^DvPX*<>h"
_DASHES: tuple[Any, ...] = ("-", (0, (5, 1.5)), (0, (1.2, 1.2)), (0, (5, 1.5, 1.2, 1.5)))


class Look(NamedTuple):
    """How a method is drawn in every figure of a run; told apart in grey by marker and dashes."""

    colour: str
    marker: str
    dashes: Any


class PrintFigure(Figure):
    """A figure drawn by matplotlib."""

    heeds: ClassVar[frozenset[str]] = frozenset()

    @abstractmethod
    def draw(self, result: Result, wanted: Wanted) -> Drawing:
        """The drawing; called with this project's style in force."""

    def drawing(self, result: Result, wanted: Wanted) -> Drawing:
        """The drawing, whatever style the user's matplotlib has."""
        with in_style():
            return self.draw(result, wanted)

    def render(self, result: Result, wanted: Wanted, ending: str) -> bytes:
        """The file's content; see Figure."""
        with in_style():
            drawing = self.draw(result, wanted)
            for picture in drawing.findobj(AxesImage):
                # A vector file carries the pixels as they are; in PNG they must be resampled to its own.
                picture.set_interpolation("antialiased" if ending == "png" else "none")
            stream = BytesIO()
            drawing.savefig(stream, format=ending, metadata=METADATA[ending])
        return stream.getvalue()


@contextmanager
def in_style() -> Iterator[None]:
    """Matplotlib's defaults with STYLE over them; the user's own settings are put aside and come back."""
    with matplotlib.style.context(["default", STYLE]):
        yield


def look(result: Result, method: MethodRow) -> Look:
    """A method's look goes by its place in the run; pictures without enhancement are grey."""
    if method.kind == "none":
        return Look(GREY, "o", (0, (3, 1.5)))
    place = [row.method for row in result.table.rows if row.kind != "none"].index(method.method)
    return Look(_LINES[place % len(_LINES)], _MARKERS[place % len(_MARKERS)], _DASHES[place % len(_DASHES)])


def metric_text(column: Column) -> str:
    """A metric with its unit and the direction of better values: 'PSNR (dB) ↑'."""
    unit = f" ({column.unit})" if column.unit else ""
    return f"{column.metric_label}{unit} {arrow(column)}"


def arrow(column: Column) -> str:
    """The direction of better values."""
    return "↑" if column.higher_is_better else "↓"


def number(value: float, decimals: int) -> str:
    """A number as tables print it, with a true minus sign."""
    return f"{value:.{decimals}f}".replace("-", "−").replace("inf", "∞")


def text_width(text: str, size: float) -> float:
    """Width of a line of text in inches."""
    return float(text_to_path.get_text_width_height_descent(text, FontProperties(size=size), ismath=False)[0]) / POINTS


def line_height(size: float) -> float:
    """Distance of lines of text in inches."""
    return LEADING * size / POINTS


def wrapped(text: str, width: float, size: float) -> list[str]:
    """Lines that fit into a width in inches; a word that is wider stands alone."""
    lines: list[str] = []
    for word in text.split():
        longer = f"{lines[-1]} {word}" if lines else word
        if lines and text_width(longer, size) <= width:
            lines[-1] = longer
        else:
            lines.append(word)
    return lines


def fitted(text: str, width: float, size: float = TEXT, least: float = TINY) -> tuple[str, float]:
    """The text and a size at which it is no wider than `width` inches; cut where even the least size is too large."""
    while size > least and text_width(text, size) > width:
        size -= 0.5
    while len(text) > 1 and text_width(text, size) > width:
        text = f"{text.rstrip('…')[:-1]}…"
    return text, size


def small_print(drawing: Drawing, notes: Sequence[str]) -> float:
    """Write sentences below everything else; the height in inches that they take."""
    width, height = drawing.get_size_inches()
    lines = wrapped(" ".join(notes), width - 0.04, TINY)
    for place, line in enumerate(lines, 1):
        y = (0.02 + (len(lines) - place + 0.25) * line_height(TINY)) / height
        drawing.text(0.02 / width, y, line, size=TINY, color="#404040", va="baseline")
    return 0.06 + len(lines) * line_height(TINY)


def chart(width: float, height: float, notes: Sequence[str]) -> Drawing:
    """An empty drawing for axes that lay themselves out, with small print below; `height` is without that."""
    below = 0.06 + len(wrapped(" ".join(notes), width - 0.04, TINY)) * line_height(TINY)
    drawing = Drawing(figsize=(width, height + below), layout="constrained")
    small_print(drawing, notes)
    engine = drawing.get_layout_engine()
    assert engine is not None
    share = below / (height + below)
    engine.set(rect=(0, share, 1, 1 - share), w_pad=0.03, h_pad=0.03)  # type: ignore[call-arg]
    return drawing


def on_colour(colour: str) -> str:
    """Black or white, whichever is read better on the colour."""
    red, green, blue = to_rgb(colour)
    return "white" if 0.299 * red + 0.587 * green + 0.114 * blue < 0.5 else "black"


def extent(artist: Artist, axes: Axes) -> tuple[float, float, float, float]:
    """Left, bottom, right and top of an artist in display units, as Agg would draw it."""
    figure = axes.get_figure(root=True)
    assert figure is not None
    renderer = FigureCanvasAgg(figure).get_renderer()  # type: ignore[no-untyped-call]
    box = artist.get_window_extent(renderer)
    return box.x0, box.y0, box.x1, box.y1


def provenance(result: Result) -> str:
    """Which program and state of it made the numbers."""
    manifest = result.manifest
    commit = str(manifest.get("commit") or "")[:7] + (", changed" if manifest.get("dirty") else "")
    version = f"lowlight-bench {manifest.get('version', '')}".strip()
    return f"{version}{f' ({commit})' if commit else ''}."


def protocol_text(result: Result, columns: Sequence[Column] = ()) -> str:
    """The columns' protocols as a sentence; the run's where there are no columns."""
    names = list(dict.fromkeys(column.protocol for column in columns))
    names = names or [str(result.manifest.get("protocol", {}).get("name", "unknown"))]
    return f"Protocol{'s' if len(names) > 1 else ''} {' and '.join(names)}."


def range_text(counts: Iterable[int]) -> str:
    """How many pictures the numbers stand on: 'n = 15', or 'n = 13–15' where it differs."""
    found = sorted(set(counts)) or [0]
    return f"n = {found[0]}" if len(found) == 1 else f"n = {found[0]}–{found[-1]}"


def legend_columns(labels: Sequence[str], width: float) -> int:
    """How many entries stand in a line of a legend so that lines are full and even."""
    widest = max(text_width(label, SMALL) for label in labels) + 0.46
    lines = math.ceil(len(labels) / max(1, int(width / widest)))
    return math.ceil(len(labels) / lines)
