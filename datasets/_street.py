"""Draws a street: things with a place in metres, a camera that looks along the road, and what each pixel shows.

Everything is drawn with Pillow at SCALE times the size and reduced, far things first. Metres: X to the right, Y up from
the ground, Z away from the camera. The same street gives the same pixels on every machine as long as Pillow rasterises
alike; nothing here depends on time, threads or the order of calls.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from PIL import Image, ImageChops, ImageDraw, ImageFilter

Colour = tuple[int, int, int]
Point = tuple[float, float]
Levels = NDArray[np.uint8]

SOURCE = Path(__file__)
SIZE = (480, 320)
"""Width and height of every picture."""
SCALE = 2
SKY = 255
"""Number of the sky in `Drawing.numbers`; buildings and ground have 0, things count from 1."""

BLACK: Colour = (0, 0, 0)
TYRE: Colour = (24, 24, 26)
WARM: Colour = (255, 214, 150)
HEADLIGHT: Colour = (255, 246, 224)
TAIL: Colour = (225, 24, 18)
SIGNALS: tuple[Colour, ...] = ((255, 40, 28), (255, 176, 20), (40, 235, 120))
"""Red, amber and green from top to bottom."""
PAINTS: tuple[Colour, ...] = (
    (188, 28, 32), (28, 62, 140), (226, 226, 222), (38, 40, 44), (150, 154, 160), (34, 104, 70), (214, 160, 36),
    (96, 132, 170), (120, 34, 62), (206, 98, 36), (70, 74, 82), (196, 188, 164),
)  # fmt: skip
CLOTHES: tuple[Colour, ...] = (
    (196, 44, 48), (36, 70, 150), (232, 228, 218), (44, 46, 54), (60, 126, 84), (222, 172, 52), (122, 74, 142),
    (88, 142, 178), (150, 104, 70), (214, 110, 130), (106, 110, 116), (232, 120, 44),
)  # fmt: skip
TROUSERS: tuple[Colour, ...] = ((38, 48, 78), (30, 30, 34), (96, 84, 66), (70, 88, 124), (130, 122, 108), (74, 52, 44))
SKINS: tuple[Colour, ...] = ((240, 200, 170), (222, 172, 136), (176, 122, 88), (122, 80, 56), (92, 60, 44))
HAIRS: tuple[Colour, ...] = ((34, 26, 22), (84, 54, 32), (168, 126, 70), (120, 118, 116), (24, 22, 26), (140, 62, 34))
WALLS: tuple[Colour, ...] = (
    (176, 112, 86), (206, 186, 150), (150, 148, 146), (196, 160, 118), (128, 92, 78), (186, 190, 184), (222, 208, 188),
    (112, 122, 132), (168, 136, 132), (142, 150, 122),
)  # fmt: skip
LEAVES: tuple[Colour, ...] = ((62, 104, 46), (84, 120, 44), (46, 88, 52), (128, 118, 40), (160, 98, 36))


class View(NamedTuple):
    """A level camera."""

    horizon: float
    """Row of the horizon."""
    centre: float
    """Column in which the road vanishes."""
    focal: float
    """Pixels."""
    eye: float
    """Height of the camera in metres."""

    def scale(self, z: float) -> float:
        """Pixels per metre at distance z."""
        return self.focal / z

    def project(self, x: float, y: float, z: float) -> Point:
        """Column and row of a point."""
        return self.centre + self.focal * x / z, self.horizon + self.focal * (self.eye - y) / z


class Thing(NamedTuple):
    """Something that stands in the street."""

    kind: str
    """Key of KINDS."""
    x: float
    z: float
    size: float = 1.0
    """Relative to the kind's usual size."""
    squeeze: float = 1.0
    """Width relative to the height, below 1 for a thing seen at a slant."""
    flip: bool = False
    seed: int = 0
    """Of colours, pose and parts."""


@dataclass(frozen=True)
class Street:
    """Everything that a picture of a street depends on."""

    view: View
    things: tuple[Thing, ...]
    """Far ones first."""
    kerb: float = 4.5
    """Half the width of the road."""
    wall: float = 8.5
    """Distance of the houses from the road's middle."""
    end: float = 60.0
    """Where houses close the street."""
    zenith: Colour = (110, 160, 220)
    haze: Colour = (205, 215, 225)
    """Colour of the sky at the horizon, and of what is far away."""
    light: tuple[float, float, float] = (1.0, 1.0, 1.0)
    """Tint and strength of the daylight."""
    crossing: float | None = None
    """Distance of a zebra crossing."""
    windows: float = 0.2
    """Share of the windows that are lit at night."""
    seed: int = 0
    """Of houses, markings and texture."""


class Drawing(NamedTuple):
    """A street as pixels."""

    day: Levels
    """(H, W, 3): by daylight."""
    glow: Levels
    """(H, W, 3): sRGB colour of what shines of itself at night, black elsewhere."""
    numbers: Levels
    """(H, W): which thing is seen, counted from 1; 0 for ground and houses, SKY for the sky."""
    distance: NDArray[np.float32]
    """(H, W): metres along Z."""
    areas: tuple[float, ...]
    """Pixels that each thing would cover with nothing in front of it and no border."""


def draw(street: Street) -> Drawing:
    """The street by day, with everything that its night and its truth are made from."""
    width, height = SIZE
    canvas = _Canvas((width * SCALE, height * SCALE), street.zenith)
    rng = np.random.default_rng(street.seed)
    _background(canvas, street, rng)
    areas = tuple(_place(canvas, street, number, thing) for number, thing in enumerate(street.things, 1))
    half = SCALE // 2
    numbers = np.asarray(canvas.numbers)[half::SCALE, half::SCALE].copy()
    soft = canvas.colour.reduce(SCALE).filter(ImageFilter.GaussianBlur(0.5))
    light = np.asarray(street.light, np.float32) * _texture(rng, numbers)[..., None]
    day = np.clip(np.asarray(soft, np.float32) * light + 0.5, 0, 255).astype(np.uint8)
    return Drawing(day, np.asarray(canvas.glow.reduce(SCALE)), numbers, _distance(street, numbers), areas)


def _layers(
    pens: Sequence[ImageDraw.ImageDraw], fill: Colour, glow: Colour, mark: int
) -> Iterator[tuple[ImageDraw.ImageDraw, Colour | int]]:
    """Pens for colour, own light and mask, with what each paints."""
    paints: tuple[Colour | int, ...] = (fill, glow, mark)
    return zip(pens, paints, strict=True)


class _Canvas:
    """Colour, own light and number of every supersampled pixel."""

    def __init__(self, size: tuple[int, int], sky: Colour) -> None:
        self.colour = Image.new("RGB", size, sky)
        self.glow = Image.new("RGB", size)
        self.numbers = Image.new("L", size, SKY)
        self._draws = [ImageDraw.Draw(image) for image in (self.colour, self.glow, self.numbers)]

    def polygon(self, points: Sequence[Point], fill: Colour, glow: Colour = BLACK) -> None:
        """Part of the background; points in pixels of the picture."""
        scaled = [(x * SCALE, y * SCALE) for x, y in points]
        for pen, paint in _layers(self._draws, fill, glow, 0):
            pen.polygon(scaled, fill=paint)

    def paste(self, colour: Image.Image, glow: Image.Image, mask: Image.Image, corner: tuple[int, int], n: int) -> None:
        """A thing; the corner is in supersampled pixels."""
        self.colour.paste(colour, corner, mask)
        self.glow.paste(glow, corner, mask)
        self.numbers.paste(n, (*corner, corner[0] + mask.width, corner[1] + mask.height), mask)


class Pen:
    """Draws one thing, in metres from the middle of its foot; what is drawn is opaque and belongs to the thing."""

    def __init__(self, size: tuple[int, int], foot: Point, scale: Point) -> None:
        self.colour, self.glow, self.mask = (Image.new(mode, size) for mode in ("RGB", "RGB", "L"))
        self._draws = [ImageDraw.Draw(image) for image in (self.colour, self.glow, self.mask)]
        self._foot, self._scale = foot, scale

    def polygon(self, points: Sequence[Point], fill: Colour, glow: Colour = BLACK) -> None:
        """A filled outline."""
        placed = [self._at(*point) for point in points]
        for pen, paint in _layers(self._draws, fill, glow, 255):
            pen.polygon(placed, fill=paint)

    def box(
        self, x0: float, y0: float, x1: float, y1: float, fill: Colour, glow: Colour = BLACK, round_: float = 0
    ) -> None:
        """An upright rectangle, its corners rounded by a radius in metres."""
        (left, top), (right, bottom) = self._at(x0, y1), self._at(x1, y0)
        corners = (min(left, right), top, max(left, right), bottom)
        for pen, paint in _layers(self._draws, fill, glow, 255):
            pen.rounded_rectangle(corners, round_ * self._scale[1], fill=paint)

    def ellipse(self, x: float, y: float, rx: float, ry: float, fill: Colour, glow: Colour = BLACK) -> None:
        """A filled ellipse around (x, y)."""
        for pen, paint in _layers(self._draws, fill, glow, 255):
            pen.ellipse(self._around(x, y, rx, ry), fill=paint)

    def ring(self, x: float, y: float, radius: float, width: float, fill: Colour) -> None:
        """The outline of a circle."""
        for pen, paint in _layers(self._draws, fill, BLACK, 255):
            pen.ellipse(self._around(x, y, radius, radius), outline=paint, width=self._thick(width))

    def stroke(self, points: Sequence[Point], width: float, fill: Colour) -> None:
        """A line with round joints and ends."""
        placed, thick = [self._at(*point) for point in points], self._thick(width)
        for pen, paint in _layers(self._draws, fill, BLACK, 255):
            pen.line(placed, fill=paint, width=thick)
            if thick > 3:
                for x, y in placed:
                    pen.ellipse((x - thick / 2, y - thick / 2, x + thick / 2, y + thick / 2), fill=paint)

    def _at(self, x: float, y: float) -> Point:
        return self._foot[0] + x * self._scale[0], self._foot[1] - y * self._scale[1]

    def _around(self, x: float, y: float, rx: float, ry: float) -> tuple[float, float, float, float]:
        (column, row), wide, high = self._at(x, y), abs(rx * self._scale[0]), ry * self._scale[1]
        return column - wide, row - high, column + wide, row + high

    def _thick(self, width: float) -> int:
        return max(2, round(width * self._scale[1]))


class Kind(NamedTuple):
    """A kind of thing: how it is drawn and how large it usually is, in metres."""

    paint: Callable[[Pen, Generator], None]
    width: float
    bottom: float
    top: float
    name: str = ""
    """Class by COCO's name; '' for what is no object of interest."""
    shadow: float = 1.1
    """Width of the shadow at its foot relative to its own; 0 for what does not stand on the ground."""


def frame(view: View, thing: Thing) -> tuple[float, float, float, float]:
    """Left, top, right and bottom of a thing's nominal extent in pixels; may leave the picture."""
    kind, scale = KINDS[thing.kind], view.scale(thing.z) * thing.size
    x, ground = view.project(thing.x, 0, thing.z)
    half = kind.width * scale * thing.squeeze / 2
    return x - half, ground - kind.top * scale, x + half, ground - kind.bottom * scale


def _place(canvas: _Canvas, street: Street, number: int, thing: Thing) -> float:
    """Draw a thing and its shadow; the area it would have if nothing hid it, in pixels."""
    kind, scale = KINDS[thing.kind], street.view.scale(thing.z) * thing.size * SCALE
    left, top, right, bottom = (side * SCALE for side in frame(street.view, thing))
    margin = 0.25 * scale
    corner = (math.floor(left - margin), math.floor(top - margin))
    size = (math.ceil(right + margin) - corner[0], math.ceil(bottom + margin) - corner[1])
    foot = ((left + right) / 2 - corner[0], bottom + kind.bottom * scale - corner[1])
    pen = Pen(size, foot, (scale * thing.squeeze * (-1 if thing.flip else 1), scale))
    kind.paint(pen, np.random.default_rng(thing.seed))
    if kind.shadow:
        _shadow(canvas, (left + right) / 2, bottom, (right - left) * kind.shadow / 2, max(2.0, 0.1 * scale))
    ramp = np.linspace(255, 205, size[1]).astype(np.uint8)[:, None, None]
    shaded = ImageChops.multiply(pen.colour, Image.fromarray(np.broadcast_to(ramp, (size[1], size[0], 3)).copy()))
    hazy = Image.blend(shaded, Image.new("RGB", size, street.haze), _haze(thing.z))
    canvas.paste(hazy, pen.glow, pen.mask, corner, number)
    return pen.mask.histogram()[255] / SCALE**2


def _shadow(canvas: _Canvas, x: float, y: float, rx: float, ry: float) -> None:
    size = (max(1, round(2 * rx)), max(1, round(2 * ry)))
    shape = Image.new("L", size)
    ImageDraw.Draw(shape).ellipse((0, 0, size[0] - 1, size[1] - 1), fill=120)
    canvas.colour.paste((28, 29, 34), (round(x - rx), round(y - ry)), shape)


def _haze(z: float) -> float:
    return min(0.5, z / 130)


def steps(start: float, stop: float, step: float) -> list[float]:
    """From start on, before stop."""
    return [start + place * step for place in range(math.ceil((stop - start) / step))]


def mix(first: Colour, second: Colour, share: float) -> Colour:
    """The first colour with a share of the second."""
    red, green, blue = (round(a + (b - a) * share) for a, b in zip(first, second, strict=True))
    return red, green, blue


def pick(rng: Generator, choices: Sequence[Colour], spread: int = 14) -> Colour:
    """One of the colours, a little changed."""
    shifts = rng.integers(-spread, spread + 1, 3).tolist()
    colour = choices[int(rng.integers(len(choices)))]
    red, green, blue = (min(max(level + shift, 8), 250) for level, shift in zip(colour, shifts, strict=True))
    return red, green, blue


# The surroundings.


def _background(canvas: _Canvas, street: Street, rng: Generator) -> None:
    width, height = SIZE
    horizon = round(street.view.horizon * SCALE)
    share = np.linspace(0, 1, horizon)[:, None, None]
    sky = np.asarray(street.zenith) * (1 - share) + np.asarray(street.haze) * share
    column = Image.fromarray(np.round(sky).astype(np.uint8))
    canvas.colour.paste(column.resize((width * SCALE, horizon), Image.Resampling.NEAREST), (0, 0))
    _far_houses(canvas, street, rng)
    slabs = pick(rng, ((150, 146, 140), (136, 134, 134), (160, 150, 138)))
    row = street.view.project(0, 0, street.end)[1]
    canvas.polygon([(0, row), (width, row), (width, height), (0, height)], slabs)
    for side in (-1, 1):
        _house_row(canvas, street, rng, side)
    _road(canvas, street, rng, slabs)


def _far_houses(canvas: _Canvas, street: Street, rng: Generator) -> None:
    x = -70.0
    while x < 70:
        wide, high = rng.uniform(7, 14), rng.uniform(7, 20)
        face = [(x, 0.0), (x + wide, 0.0), (x + wide, high), (x, high)]
        colour = mix(pick(rng, WALLS), street.haze, _haze(street.end))
        canvas.polygon([street.view.project(a, b, street.end) for a, b in face], colour)
        for y in steps(3.6, high - 2, 3.0):
            for at in steps(x + 1, x + wide - 1.2, 2.2):
                corners = [(at, y), (at + 1.1, y), (at + 1.1, y + 1.6), (at, y + 1.6)]
                glass, glow = _window(rng, street)
                canvas.polygon([street.view.project(a, b, street.end) for a, b in corners], glass, glow)
        x += wide


def _house_row(canvas: _Canvas, street: Street, rng: Generator, side: int) -> None:
    view, x, z = street.view, side * street.wall, street.end
    seen = view.focal * street.wall / (SIZE[0] + abs(view.centre - SIZE[0] / 2))
    while z > seen:
        deep, high = rng.uniform(8, 16), rng.uniform(6, 17)
        near = max(z - deep, seen / 2)
        wall = mix(pick(rng, WALLS), street.haze, _haze((z + near) / 2))
        gable = [view.project(a, b, near) for a, b in ((x, 0), (x * 4, 0), (x * 4, high), (x, high))]
        canvas.polygon(gable, mix(wall, BLACK, 0.25))

        def facade(z0: float, y0: float, z1: float, y1: float) -> list[Point]:
            return [view.project(x, y, at) for at, y in ((z0, y0), (z1, y0), (z1, y1), (z0, y1))]

        canvas.polygon(facade(near, 0, z, high), wall)
        canvas.polygon(facade(near, high - 0.5, z, high), mix(wall, BLACK, 0.3))
        canvas.polygon(facade(near, 0, z, 3.1), mix(wall, pick(rng, CLOTHES), 0.5))
        for at in steps(z - 2.6, near + 0.3, -2.9):
            glass, glow = _window(rng, street)
            canvas.polygon(facade(at, 0.5, at + 2.2, 2.5), glass, glow)
            for y in steps(4.0, high - 2.2, 2.9):
                glass, glow = _window(rng, street)
                canvas.polygon(facade(at + 0.2, y - 0.15, at + 1.7, y + 1.75), mix(wall, (255, 255, 255), 0.35))
                canvas.polygon(facade(at + 0.35, y, at + 1.55, y + 1.6), glass, glow)
        z = near


def _window(rng: Generator, street: Street) -> tuple[Colour, Colour]:
    """By day and, where lit, by night."""
    glass = mix((58, 68, 82), street.haze, rng.uniform(0, 0.5))
    if rng.random() >= street.windows:
        return glass, BLACK
    return glass, mix(BLACK, pick(rng, (WARM, (255, 232, 190), (210, 225, 255))), rng.uniform(0.3, 0.9))


def _road(canvas: _Canvas, street: Street, rng: Generator, slabs: Colour) -> None:
    view, kerb, end = street.view, street.kerb, street.end
    near = view.focal * view.eye / (SIZE[1] - view.horizon) * 0.9

    def patch(x0: float, x1: float, z0: float, z1: float, fill: Colour) -> None:
        corners = ((x0, z0), (x1, z0), (x1, z1), (x0, z1))
        canvas.polygon([view.project(x, 0, max(z, near)) for x, z in corners], fill)

    asphalt = pick(rng, ((84, 84, 88), (98, 96, 94), (72, 74, 80)), 6)
    for x in steps(kerb + 1.2, street.wall, 1.2):
        for side in (-1, 1):
            patch(side * x, side * (x + 0.05), near, end, mix(slabs, BLACK, 0.2))
    patch(-kerb, kerb, near, end, asphalt)
    for side in (-1, 1):
        patch(side * kerb, side * (kerb + 0.22), near, end, mix(slabs, (255, 255, 255), 0.35))
    paint = mix(asphalt, (240, 240, 235), 0.75)
    for z in steps(near - rng.uniform(0, 5), end, 6.0):
        patch(-0.08, 0.08, z, z + 3, paint)
    if street.crossing is not None:
        for x in steps(-kerb + 0.4, kerb - 0.5, 1.0):
            patch(x, x + 0.5, street.crossing, street.crossing + 3, paint)


def _texture(rng: Generator, numbers: Levels) -> NDArray[np.float32]:
    """(H, W) around 1: stains, and grain that is coarsest on ground and walls."""
    height, width = numbers.shape
    layers = []
    for cell in (48, 6):
        small = rng.integers(0, 256, (height // cell + 2, width // cell + 2), dtype=np.uint8)
        layers.append(np.asarray(Image.fromarray(small).resize((width, height), Image.Resampling.BICUBIC), np.float32))
    stains, blotches = (layer / 255 - 0.5 for layer in layers)
    grain = rng.random((height, width), np.float32) - 0.5
    strength = np.where(numbers == SKY, 0.15, np.where(numbers == 0, 1.0, 0.6)).astype(np.float32)
    return 1 + strength * (0.16 * stains + 0.12 * blotches + 0.11 * grain)


def _distance(street: Street, numbers: Levels) -> NDArray[np.float32]:
    view = street.view
    rows = np.arange(SIZE[1], dtype=np.float32)[:, None] + 0.5 - view.horizon
    columns = np.abs(np.arange(SIZE[0], dtype=np.float32)[None] + 0.5 - view.centre)
    ground = view.focal * view.eye / np.maximum(rows, 1e-3)
    wall = view.focal * street.wall / np.maximum(columns, 1e-3)
    table = np.zeros(256, np.float32)
    table[1 : len(street.things) + 1] = [thing.z for thing in street.things]
    table[SKY] = 1e4
    surroundings = np.minimum(np.minimum(ground, wall), street.end)
    return np.where(numbers == 0, surroundings, table[numbers]).astype(np.float32)


# The things. Side views look to the right.


def _wheel(pen: Pen, x: float, radius: float, rim: Colour) -> None:
    pen.ellipse(x, radius, radius, radius, TYRE)
    pen.ellipse(x, radius, radius * 0.62, radius * 0.62, rim)
    pen.ellipse(x, radius, radius * 0.2, radius * 0.2, mix(rim, BLACK, 0.5))


class _Body(NamedTuple):
    """Outline of a car and of its glass, and what divides the glass."""

    outline: tuple[Point, ...]
    glass: tuple[Point, ...]
    pillar: float
    belt: float
    axles: tuple[float, float]


BODIES = (
    _Body(
        ((-2.1, 0.3), (-2.17, 0.75), (-1.98, 0.95), (-1.35, 1.0), (-0.8, 1.4), (-0.5, 1.45), (0.4, 1.45), (1.1, 1.0),
         (1.9, 0.9), (2.14, 0.72), (2.17, 0.3)),
        ((-1.2, 1.0), (-0.7, 1.35), (0.38, 1.37), (0.95, 1.0)), -0.1, 0.8, (-1.32, 1.34),
    ),
    _Body(
        ((-1.85, 0.3), (-1.95, 0.8), (-1.75, 1.35), (-1.5, 1.5), (0.25, 1.52), (0.95, 1.05), (1.72, 0.92), (1.95, 0.7),
         (1.95, 0.3)),
        ((-1.6, 1.03), (-1.42, 1.4), (0.22, 1.42), (0.8, 1.03)), -0.45, 0.85, (-1.22, 1.22),
    ),
    _Body(
        ((-2.2, 0.38), (-2.25, 1.1), (-2.1, 1.65), (-1.85, 1.76), (0.4, 1.76), (1.05, 1.2), (2.0, 1.1), (2.2, 0.85),
         (2.22, 0.38)),
        ((-1.95, 1.2), (-1.82, 1.62), (0.35, 1.63), (0.9, 1.2)), -0.7, 1.0, (-1.38, 1.4),
    ),
)  # fmt: skip


def _car_side(pen: Pen, rng: Generator) -> None:
    body, paint = BODIES[rng.integers(len(BODIES))], pick(rng, PAINTS)
    dark, glass = mix(paint, BLACK, 0.35), mix((40, 48, 58), (190, 210, 225), rng.uniform(0, 0.35))
    radius = 0.33 if body is not BODIES[2] else 0.38
    pen.polygon(body.outline, paint)
    pen.box(body.outline[0][0], 0.26, body.outline[-1][0], 0.45, mix(paint, BLACK, 0.6))
    pen.stroke([(body.outline[0][0] + 0.1, body.belt), (body.outline[-1][0] - 0.1, body.belt)], 0.04, dark)
    pen.polygon(body.glass, glass)
    low, high = body.glass[0][1], body.glass[1][1]
    pen.polygon([(-0.3, low), (0.05, high), (0.2, high), (-0.15, low)], mix(glass, (230, 240, 245), 0.4))
    for pillar in (body.pillar, body.pillar - 0.95):
        if pillar > body.glass[0][0] + 0.2:
            pen.box(pillar - 0.05, low - 0.02, pillar + 0.05, high + 0.04, paint)
        pen.stroke([(pillar, low), (pillar, 0.45)], 0.025, dark)
        pen.box(pillar + 0.12, low - 0.16, pillar + 0.32, low - 0.11, dark)
    pen.ellipse(body.glass[-1][0] - 0.1, low + 0.05, 0.1, 0.08, dark)
    rim = pick(rng, ((170, 172, 176), (110, 112, 118)), 6)
    for axle in body.axles:
        pen.ellipse(axle, radius, radius + 0.08, radius + 0.08, (16, 16, 18))
        _wheel(pen, axle, radius, rim)
    front, rear = body.outline[-1][0], body.outline[0][0]
    pen.box(front - 0.3, body.belt - 0.13, front - 0.02, body.belt + 0.03, (236, 236, 226), HEADLIGHT)
    pen.box(rear - 0.02, body.belt - 0.12, rear + 0.2, body.belt + 0.05, (190, 28, 24), TAIL)


def _car_end(pen: Pen, rng: Generator, front: bool) -> None:
    paint, tall = pick(rng, PAINTS), rng.uniform(1.4, 1.75)
    dark, glass = mix(paint, BLACK, 0.45), mix((40, 48, 58), (190, 210, 225), rng.uniform(0, 0.35))
    belt = tall * 0.6
    for side in (-1, 1):
        pen.box(side * 0.66 - 0.12, 0, side * 0.66 + 0.12, 0.5, TYRE, round_=0.04)
        pen.ellipse(side * 0.93, belt + 0.08, 0.11, 0.08, dark)
    cabin = [
        (-0.84, belt - 0.05),
        (-0.62, tall - 0.06),
        (-0.5, tall),
        (0.5, tall),
        (0.62, tall - 0.06),
        (0.84, belt - 0.05),
    ]
    pen.polygon(cabin, paint)
    pen.box(-0.89, 0.25, 0.89, belt + 0.02, paint, round_=0.14)
    pen.polygon([(-0.7, belt + 0.03), (-0.55, tall - 0.1), (0.55, tall - 0.1), (0.7, belt + 0.03)], glass)
    pen.polygon(
        [(-0.35, belt + 0.03), (-0.1, tall - 0.1), (0.08, tall - 0.1), (-0.17, belt + 0.03)],
        mix(glass, (230, 240, 245), 0.35),
    )
    pen.box(-0.87, 0.22, 0.87, 0.42, mix(paint, BLACK, 0.6), round_=0.06)
    if front:
        pen.box(-0.5, 0.48, 0.5, belt - 0.16, (30, 31, 34), round_=0.05)
        pen.stroke([(-0.48, belt - 0.3), (0.48, belt - 0.3)], 0.03, (150, 152, 156))
    else:
        pen.stroke([(-0.8, belt - 0.08), (0.8, belt - 0.08)], 0.03, dark)
    for side in (-1, 1):
        if front:
            pen.ellipse(side * 0.68, belt - 0.2, 0.17, 0.12, (238, 238, 230), HEADLIGHT)
        else:
            pen.box(side * 0.74 - 0.13, belt - 0.32, side * 0.74 + 0.13, belt - 0.1, (196, 26, 24), TAIL, round_=0.04)
    pen.box(-0.26, 0.43, 0.26, 0.55, (235, 232, 210))


def _bus_paints(rng: Generator) -> tuple[Colour, Colour, Colour]:
    """Body, stripe and glass."""
    body = pick(rng, ((200, 40, 38), (232, 188, 40), (230, 230, 226), (40, 96, 160), (50, 128, 84), (230, 126, 40)))
    return body, pick(rng, CLOTHES), mix((40, 48, 58), (190, 210, 225), rng.uniform(0, 0.3))


def _bus_side(pen: Pen, rng: Generator) -> None:
    body, stripe, glass = _bus_paints(rng)
    inside = mix(BLACK, (255, 240, 205), 0.55)
    pen.box(-4.9, 0.32, 4.9, 3.05, body, round_=0.25)
    pen.box(-4.4, 2.95, 4.4, 3.12, mix(body, (255, 255, 255), 0.3), round_=0.06)
    pen.box(-4.9, 0.32, 4.9, 0.62, mix(body, BLACK, 0.5))
    pen.box(-4.9, 1.0, 4.9, 1.22, stripe)
    pen.box(-4.7, 1.5, 4.86, 2.6, (30, 33, 38), round_=0.1)
    for left in steps(-4.6, 4.2, 1.16):
        pen.box(left, 1.56, left + 1.04, 2.52, glass, inside)
        pen.polygon(
            [(left + 0.2, 1.56), (left + 0.5, 2.52), (left + 0.7, 2.52), (left + 0.4, 1.56)],
            mix(glass, (230, 240, 245), 0.35), inside,
        )  # fmt: skip
    for door in (3.5, -0.6):
        pen.box(door - 0.6, 0.5, door + 0.6, 2.55, (34, 36, 40))
        for half in (-0.29, 0.29):
            pen.box(door + half - 0.23, 0.6, door + half + 0.23, 2.48, glass, inside)
    pen.box(1.2, 2.64, 3.4, 2.92, (24, 24, 26))
    pen.box(1.4, 2.7, 3.2, 2.86, (250, 170, 40), (255, 160, 30))
    for axle in (-2.9, 2.3):
        pen.ellipse(axle, 0.48, 0.58, 0.58, (18, 18, 20))
        _wheel(pen, axle, 0.48, (150, 152, 156))
    pen.box(4.62, 0.68, 4.92, 0.9, (238, 238, 230), HEADLIGHT)
    pen.box(-4.92, 0.7, -4.74, 1.0, (196, 26, 24), TAIL)


def _bus_end(pen: Pen, rng: Generator, front: bool) -> None:
    body, stripe, glass = _bus_paints(rng)
    inside = mix(BLACK, (255, 240, 205), 0.5)
    for side in (-1, 1):
        pen.box(side * 0.95 - 0.15, 0, side * 0.95 + 0.15, 0.6, TYRE, round_=0.04)
    pen.box(-1.25, 0.3, 1.25, 3.1, body, round_=0.22)
    pen.box(-1.25, 0.3, 1.25, 0.6, mix(body, BLACK, 0.5), round_=0.1)
    pen.box(-1.25, 1.02, 1.25, 1.2, stripe)
    pen.box(-1.1, 2.58, 1.1, 2.96, (24, 24, 26), round_=0.06)
    pen.box(-0.85, 2.66, 0.85, 2.88, (250, 170, 40), (255, 160, 30))
    if front:
        pen.box(-1.14, 1.28, 1.14, 2.5, glass, inside, round_=0.12)
        pen.box(-0.03, 1.28, 0.03, 2.5, (30, 32, 36))
        pen.stroke([(-0.5, 1.3), (-0.1, 1.75)], 0.04, (24, 24, 26))
    else:
        pen.box(-0.95, 1.55, 0.95, 2.45, glass, inside, round_=0.1)
        pen.box(-0.7, 0.66, 0.7, 0.98, mix(body, BLACK, 0.35))
    for side in (-1, 1):
        if front:
            pen.ellipse(side * 0.9, 0.8, 0.18, 0.14, (238, 238, 230), HEADLIGHT)
            pen.box(side * 1.38 - 0.1, 1.75, side * 1.38 + 0.1, 2.3, (26, 27, 30), round_=0.05)
            pen.stroke([(side * 1.2, 2.4), (side * 1.38, 2.3)], 0.05, (26, 27, 30))
        else:
            pen.box(side * 1.08 - 0.1, 0.7, side * 1.08 + 0.1, 1.25, (196, 26, 24), TAIL, round_=0.04)
    pen.box(-0.26, 0.42, 0.26, 0.55, (235, 232, 210))


def _bicycle(pen: Pen, rng: Generator) -> None:
    paint, metal = pick(rng, PAINTS), (150, 152, 156)
    crank, seat, neck = (-0.06, 0.3), (-0.24, 0.86), (0.36, 0.84)
    rear, front = (-0.54, 0.34), (0.54, 0.34)
    for x, y in (rear, front):
        for angle in steps(0, math.pi, math.pi / 4):
            reach = (0.31 * math.cos(angle), 0.31 * math.sin(angle))
            pen.stroke([(x - reach[0], y - reach[1]), (x + reach[0], y + reach[1])], 0.008, metal)
        pen.ring(x, y, 0.34, 0.055, TYRE)
        pen.ellipse(x, y, 0.045, 0.045, metal)
    pen.stroke([rear, crank, seat, rear], 0.045, mix(paint, BLACK, 0.2))
    pen.stroke([crank, neck, (neck[0] - 0.56, neck[1] - 0.04)], 0.055, paint)
    pen.stroke([(0.33, 0.98), front], 0.055, paint)
    pen.stroke([(0.33, 0.98), (0.4, 1.03), (0.5, 1.0)], 0.05, (30, 30, 32))
    pen.stroke([seat, (-0.27, 0.95)], 0.04, metal)
    pen.stroke([(-0.4, 0.97), (-0.16, 0.95)], 0.075, (30, 28, 28))
    pen.ring(*crank, 0.1, 0.03, (70, 72, 76))
    pen.stroke([(-0.1, 0.44), (-0.02, 0.16)], 0.03, (50, 50, 54))
    if rng.random() < 0.4:
        pen.box(0.4, 0.72, 0.7, 0.96, (150, 112, 70), round_=0.03)
    pen.ellipse(0.47, 0.88, 0.04, 0.04, (230, 230, 220), HEADLIGHT)
    pen.ellipse(-0.62, 0.72, 0.035, 0.035, (190, 26, 24), TAIL)


def _limb(pen: Pen, start: Point, angles: tuple[float, float], length: float, width: float, fill: Colour) -> Point:
    """Two straight parts of equal length, angles in radians forward of hanging down; where the limb ends."""
    joint = (start[0] + length * math.sin(angles[0]), start[1] - length * math.cos(angles[0]))
    end = (joint[0] + length * math.sin(angles[1]), joint[1] - length * math.cos(angles[1]))
    pen.stroke([start, joint, end], width, fill)
    return end


def _head(pen: Pen, rng: Generator, x: float, y: float, turn: float, skin: Colour) -> None:
    """A head seen from the side (turn 1), the front (0) or behind (-1)."""
    hair = pick(rng, HAIRS, 8)
    pen.stroke([(x - 0.02 * turn, y - 0.2), (x, y - 0.08)], 0.11, mix(skin, BLACK, 0.15))
    if rng.random() < 0.35:
        pen.ellipse(x - 0.03 * turn, y - 0.05, 0.12, 0.17, hair)
    pen.ellipse(x - 0.02 * turn, y + 0.02, 0.108, 0.132, hair)
    if turn >= 0:
        pen.ellipse(x + 0.03 * turn, y - 0.025, 0.085, 0.1, skin)
    if rng.random() < 0.25:
        cap = pick(rng, CLOTHES)
        pen.polygon([(x - 0.12, y + 0.05), (x - 0.08, y + 0.16), (x + 0.08, y + 0.16), (x + 0.12, y + 0.05)], cap)
        pen.stroke([(x, y + 0.06), (x + 0.17 * max(turn, 0.5), y + 0.06)], 0.03, mix(cap, BLACK, 0.2))


def _walker(pen: Pen, rng: Generator) -> None:
    """A person walking, seen from the side."""
    skin, top, trousers = pick(rng, SKINS, 8), pick(rng, CLOTHES), pick(rng, TROUSERS, 8)
    shoe, swing = pick(rng, ((30, 28, 28), (220, 220, 216), (120, 70, 40)), 8), rng.uniform(0.12, 0.5)
    bare = rng.random() < 0.3
    sleeve = skin if bare else top
    hand = _limb(pen, (-0.02, 1.38), (swing * 1.1, swing * 1.1 + 0.35), 0.27, 0.1, mix(sleeve, BLACK, 0.3))
    pen.ellipse(*hand, 0.05, 0.05, mix(skin, BLACK, 0.3))
    for angle, shade in ((-swing, 0.3), (swing, 0.0)):
        foot = _limb(
            pen,
            (0, 0.88),
            (angle, angle * 0.8 - (0.35 * swing if angle < 0 else 0)),
            0.41,
            0.16,
            mix(trousers, BLACK, shade),
        )
        pen.stroke([(foot[0] - 0.02, foot[1] - 0.02), (foot[0] + 0.13, foot[1] - 0.03)], 0.085, mix(shoe, BLACK, shade))
    if rng.random() < 0.3:
        pen.box(-0.32, 0.98, -0.06, 1.42, pick(rng, CLOTHES), round_=0.09)
    hem = rng.choice([0.84, 0.84, 0.62])
    pen.polygon([(-0.14, 1.36), (-0.06, 1.46), (0.08, 1.46), (0.15, 1.34), (0.14, hem), (-0.16, hem)], top)
    pen.stroke([(0.0, 1.33), (0.0, 1.0)], 0.26, top)
    hand = _limb(pen, (0, 1.38), (-swing * 1.1, -swing * 0.9 + 0.25), 0.27, 0.1, mix(sleeve, BLACK, 0.14))
    pen.ellipse(*hand, 0.05, 0.055, skin)
    if rng.random() < 0.25:
        pen.box(hand[0] - 0.14, hand[1] - 0.36, hand[0] + 0.14, hand[1] - 0.05, pick(rng, CLOTHES), round_=0.03)
    _head(pen, rng, 0.03, 1.6, 1, skin)


def _stander(pen: Pen, rng: Generator) -> None:
    """A person seen from the front or from behind."""
    skin, top, trousers = pick(rng, SKINS, 8), pick(rng, CLOTHES), pick(rng, TROUSERS, 8)
    shoe, spread = pick(rng, ((30, 28, 28), (220, 220, 216), (120, 70, 40)), 8), rng.uniform(0.03, 0.14)
    skirt, bare = rng.random() < 0.25, rng.random() < 0.3
    for side in (-1, 1):
        leg = skin if skirt else trousers
        foot = _limb(
            pen,
            (side * 0.09, 0.88),
            (side * spread, side * spread * 0.6),
            0.4,
            0.155,
            mix(leg, BLACK, 0.1 * (side > 0)),
        )
        pen.ellipse(foot[0] + side * 0.02, foot[1] - 0.03, 0.075, 0.055, shoe)
        angles = (side * rng.uniform(0.08, 0.4), side * rng.uniform(-0.2, 0.2))
        hand = _limb(pen, (side * 0.21, 1.37), angles, 0.27, 0.105, mix(skin if bare else top, BLACK, 0.15))
        pen.ellipse(*hand, 0.05, 0.055, skin)
    if skirt:
        pen.polygon([(-0.15, 0.98), (0.15, 0.98), (0.26, 0.5), (-0.26, 0.5)], trousers)
    pen.polygon([(-0.25, 1.38), (-0.14, 1.46), (0.14, 1.46), (0.25, 1.38), (0.18, 0.84), (-0.18, 0.84)], top)
    if rng.random() < 0.4:
        pen.box(-0.19, 1.08, 0.19, 1.2, pick(rng, CLOTHES))
    behind = rng.random() < 0.4
    if behind and rng.random() < 0.5:
        pen.box(-0.17, 0.98, 0.17, 1.4, pick(rng, CLOTHES), round_=0.08)
    _head(pen, rng, 0, 1.6, -1 if behind else 0, skin)


def _rider(pen: Pen, rng: Generator) -> None:
    """A person on a bicycle that stands in the same place."""
    skin, top, trousers = pick(rng, SKINS, 8), pick(rng, CLOTHES), pick(rng, TROUSERS, 8)
    hip, shoulder = (-0.26, 1.0), (0.06, 1.46)
    for foot, knee, shade in (((-0.02, 0.16), (0.12, 0.62), 0.3), ((-0.1, 0.46), (0.2, 0.78), 0.0)):
        pen.stroke([hip, knee, foot], 0.15, mix(trousers, BLACK, shade))
        pen.stroke([foot, (foot[0] + 0.13, foot[1] - 0.02)], 0.08, (34, 32, 32))
    pen.stroke([hip, shoulder], 0.27, top)
    pen.stroke([shoulder, (0.2, 1.16), (0.42, 1.06)], 0.1, mix(skin if rng.random() < 0.4 else top, BLACK, 0.15))
    pen.ellipse(0.43, 1.05, 0.05, 0.05, skin)
    _head(pen, rng, 0.14, 1.68, 1, skin)


def _traffic_light(pen: Pen, rng: Generator) -> None:
    """The head with its three lamps; its pole is a thing of its own."""
    housing = pick(rng, ((34, 36, 38), (40, 46, 44), (196, 156, 40)), 6)
    if rng.random() < 0.4:
        pen.box(-0.34, 2.9, 0.34, 4.25, (232, 232, 226), round_=0.08)
    pen.box(-0.25, 2.98, 0.25, 4.17, housing, round_=0.08)
    lit = int(rng.integers(3))
    for place, signal in enumerate(SIGNALS):
        y = 3.97 - 0.39 * place
        pen.ellipse(0, y, 0.175, 0.175, (12, 12, 13))
        pen.ellipse(0, y - 0.01, 0.15, 0.15, *((signal, signal) if place == lit else (mix(signal, BLACK, 0.78), BLACK)))


def _pole(pen: Pen, rng: Generator) -> None:
    pen.box(-0.07, 0, 0.07, 3.1, pick(rng, ((90, 94, 96), (60, 64, 62)), 6))


def _tree(pen: Pen, rng: Generator) -> None:
    bark, leaf = pick(rng, ((92, 72, 54), (110, 92, 74)), 8), pick(rng, LEAVES, 8)
    pen.stroke([(0, 0.05), (rng.uniform(-0.1, 0.1), 2.6)], 0.26, bark)
    for layer, shade in ((0, 0.35), (1, 0.12), (2, 0.0)):
        for _ in range(11):
            angle, reach = rng.uniform(0, 2 * math.pi), rng.uniform(0.2, 1.25 - 0.25 * layer)
            x, y = reach * math.cos(angle), 3.5 + 0.25 * layer + 0.85 * reach * math.sin(angle)
            radius = rng.uniform(0.25, 0.5)
            pen.ellipse(x, y, radius, radius * 0.85, mix(leaf, BLACK, shade + rng.uniform(0, 0.12)))


def _street_lamp(pen: Pen, rng: Generator, glow: Colour = BLACK) -> None:
    steel = pick(rng, ((84, 88, 92), (56, 62, 60)), 6)
    pen.stroke([(0, 0.05), (0, 5.1), (0.25, 5.45), (0.9, 5.55)], 0.11, steel)
    pen.box(-0.12, 0, 0.12, 0.7, mix(steel, BLACK, 0.2))
    pen.ellipse(1.05, 5.5, 0.3, 0.09, (214, 214, 206), glow)
    pen.box(0.75, 5.52, 1.35, 5.62, steel, round_=0.04)


def _bin(pen: Pen, rng: Generator) -> None:
    colour = pick(rng, ((52, 84, 62), (70, 72, 76), (150, 60, 40)), 10)
    pen.box(-0.28, 0, 0.28, 0.95, colour, round_=0.05)
    pen.box(-0.32, 0.85, 0.32, 1.0, mix(colour, BLACK, 0.3), round_=0.05)


KINDS = {
    "walker": Kind(_walker, 0.8, 0, 1.75, "person"),
    "stander": Kind(_stander, 0.65, 0, 1.75, "person"),
    "rider": Kind(_rider, 1.0, 0, 1.85, "person"),
    "bicycle": Kind(_bicycle, 1.76, 0, 1.06, "bicycle"),
    "car side": Kind(_car_side, 4.4, 0, 1.6, "car"),
    "car front": Kind(partial(_car_end, front=True), 2.0, 0, 1.6, "car"),
    "car rear": Kind(partial(_car_end, front=False), 2.0, 0, 1.6, "car"),
    "bus side": Kind(_bus_side, 9.9, 0, 3.15, "bus"),
    "bus front": Kind(partial(_bus_end, front=True), 2.7, 0, 3.15, "bus"),
    "bus rear": Kind(partial(_bus_end, front=False), 2.6, 0, 3.15, "bus"),
    "traffic light": Kind(_traffic_light, 0.6, 2.9, 4.25, "traffic light", shadow=0),
    "pole": Kind(_pole, 0.15, 0, 3.1, shadow=4),
    "tree": Kind(_tree, 3.4, 0, 5.4, shadow=0.5),
    "lamp": Kind(_street_lamp, 2.7, 0, 5.6, shadow=0.2),
    "lit lamp": Kind(partial(_street_lamp, glow=(255, 236, 200)), 2.7, 0, 5.6, shadow=0.2),
    "bin": Kind(_bin, 0.7, 0, 1.0),
}
