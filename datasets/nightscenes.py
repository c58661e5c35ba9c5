"""Streets drawn by this project, each by day and by night, with boxes and masks: detection without any download."""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.random import Generator
from numpy.typing import NDArray
from PIL import Image, ImageFilter
from torch import Tensor

from bench.contracts import Boxes, Dataset, Pair, Sample, Truth

from ._camera import Camera, Exposure, darken, generator_for, linear_to_srgb, srgb_to_linear
from ._street import KINDS, SIZE, SKY, SOURCE, Drawing, Street, Thing, View, draw, frame, steps

SEED = 2018
"""Changing it changes every picture."""
SPLITS = {"test": 48, "train": 400}
"""Number of scenes."""
RANGES = {"person": (5, 34), "bicycle": (5, 20), "car": (6, 40), "bus": (9, 40), "traffic light": (6, 22)}
"""Distances of the objects in metres; farther ones would be too small to tell what they are."""
CLASSES = tuple(RANGES)
LEAST_PIXELS = 60
LEAST_SHARE = 0.25
"""An object of which fewer pixels are seen, or a smaller share, is drawn but not annotated."""

_LINEAR: NDArray[np.float32] = srgb_to_linear(np.arange(256) / 255).astype(np.float32)

Vector = tuple[float, float, float]


class Light(NamedTuple):
    """A lamp that shines on what is around it."""

    place: Vector
    """X, Y, Z in metres."""
    power: Vector
    """Red, green and blue: light at one metre relative to daylight."""
    softness: float = 0.8
    """Metres within which the light does not grow further."""
    downward: bool = True
    """Shaded above, as street lamps are."""


@dataclass(frozen=True)
class Night:
    """What a street is lit by at night and how the camera takes it."""

    ambient: Vector
    """Light from the sky, relative to daylight."""
    lights: tuple[Light, ...]
    exposure: Exposure


class Nightscenes(Dataset):
    """Streets with people, bicycles, cars, buses and traffic lights; the daylight picture is the reference.

    Every picture is drawn by `_street.draw` from random numbers of its split and id alone. The night picture is the
    linear light of the day times what little reaches each point at night (sky, street lamps, headlights, falling off
    with the square of the distance), plus what shines itself, taken by the camera of `_camera.darken`.

    An object's box bounds the pixels in which it is seen; its area is their number. Objects of which fewer than 60
    pixels or less than a quarter (of the whole outline, also beyond the border) are seen are not annotated. A traffic
    light is its head without the pole. `Truth.mask` is True wherever an annotated object is seen: all of them together
    are the salient object. Trees, lamps, poles and bins are no objects. Groups: 'light' is 'lamp-lit' or 'unlit'.

    A drawing, to try the harness with: scores are no results to print.
    """

    label = "Nightscenes (simulated)"
    layout = "nothing: the pictures are drawn"
    origin = "drawn by datasets/_street.py, darkened by datasets/_camera.py"
    needs_root = False
    training_split = "train"

    def __init__(self, option: str = "", root: Path | None = None) -> None:
        super().__init__(option, root)
        if option not in ("", *SPLITS):
            raise ValueError(
                f"nightscenes has no split {option!r}; write nightscenes (test), nightscenes:test or nightscenes:train"
            )
        self.split = option or "test"
        if self.split != "test":
            self.label = f"{self.label} {self.split}"

    @property
    def paired(self) -> bool:
        """Always."""
        return True

    @property
    def tasks(self) -> tuple[str, ...]:
        """Both."""
        return ("detection", "saliency")

    @property
    def classes(self) -> tuple[str, ...]:
        """Five of COCO's."""
        return CLASSES

    def samples(self) -> list[Sample]:
        """The scenes; their file is the one that draws them."""
        return [Sample(f"scene-{n:04}", SOURCE, SOURCE, (SOURCE,)) for n in range(1, SPLITS[self.split] + 1)]

    def load(self, sample: Sample) -> Pair:
        """The street by night and by day, both 8-bit exact."""
        scene = _scene(self.split, sample.id)
        low = take_at_night(scene.drawing, scene.street.view, scene.night, generator_for(SEED, f"{scene.name} noise"))
        day = scene.drawing.day.astype(np.float32) / np.float32(255)
        return Pair(low, torch.from_numpy(day).permute(2, 0, 1).contiguous())

    def truth(self, sample: Sample) -> Truth:
        """Boxes, mask and lighting of the same scene."""
        scene = _scene(self.split, sample.id)
        boxes, mask = annotate(scene.street, scene.drawing)
        lit = any(thing.kind == "lit lamp" for thing in scene.street.things)
        return Truth(size=SIZE, boxes=boxes, mask=mask, groups={"light": "lamp-lit" if lit else "unlit"})


class Scene(NamedTuple):
    """A street, drawn."""

    name: str
    street: Street
    night: Night
    drawing: Drawing


@functools.lru_cache(maxsize=8)
def _scene(split: str, name: str) -> Scene:
    """Cached, because `load` and `truth` of a sample are usually asked for together; nobody writes to its arrays."""
    name = f"{split}/{name}"
    street, night = plan(generator_for(SEED, name))
    return Scene(name, street, night, draw(street))


def annotate(street: Street, drawing: Drawing) -> tuple[Boxes, NDArray[np.bool_]]:
    """Boxes of the objects that are seen well enough, nearest last, and the union of their pixels."""
    corners, names, areas = [], [], []
    mask = np.zeros(drawing.numbers.shape, bool)
    for number, (thing, whole) in enumerate(zip(street.things, drawing.areas, strict=True), 1):
        seen = drawing.numbers == number
        area = int(seen.sum())
        if not KINDS[thing.kind].name or area < max(LEAST_PIXELS, LEAST_SHARE * whole):
            continue
        rows, columns = np.flatnonzero(seen.any(1)), np.flatnonzero(seen.any(0))
        corners.append((columns[0], rows[0], columns[-1] + 1, rows[-1] + 1))
        names.append(KINDS[thing.kind].name)
        areas.append(area)
        mask |= seen
    boxes = Boxes(
        corners=np.array(corners, np.float64).reshape(-1, 4),
        names=tuple(names),
        ignored=np.zeros(len(names), bool),
        areas=np.array(areas, np.float64),
    )
    return boxes, mask


# The night.


def take_at_night(drawing: Drawing, view: View, night: Night, generator: Generator) -> Tensor:
    """RGB float32 (3, H, W): the drawing's day in the night's light, noisy and 8-bit exact."""
    light = _LINEAR[drawing.day.transpose(2, 0, 1)] * _illumination(drawing, view, night) + _shine(drawing.glow)
    encoded = linear_to_srgb(np.clip(light.astype(np.float64), 0, 1))
    return darken(torch.from_numpy(encoded), night.exposure, Camera(), generator)


def _illumination(drawing: Drawing, view: View, night: Night) -> NDArray[np.float32]:
    """(3, H, W) relative to daylight, from the place in metres that each pixel shows."""
    z = drawing.distance
    x = (np.arange(SIZE[0], dtype=np.float32)[None] + 0.5 - view.centre) * z / view.focal
    y = view.eye - (np.arange(SIZE[1], dtype=np.float32)[:, None] + 0.5 - view.horizon) * z / view.focal
    total = np.empty((3, *z.shape), np.float32)
    total[:] = np.reshape(night.ambient, (3, 1, 1))
    for lamp in night.lights:
        (right, height, away) = lamp.place
        below = height - y
        square = (x - right) ** 2 + below**2 + (z - away) ** 2 + lamp.softness**2
        reached = (np.maximum(below, 0) / square) ** 2 if lamp.downward else 1 / square
        for channel, power in zip(total, lamp.power, strict=True):
            channel += reached * power
    return np.where(drawing.numbers == SKY, np.reshape(night.ambient, (3, 1, 1)) * 0.6, total)


def _shine(glow: NDArray[np.uint8]) -> NDArray[np.float32]:
    """(3, H, W): the linear light of what shines itself, and its glare in lens and air."""
    image = Image.fromarray(glow)
    near = image.filter(ImageFilter.GaussianBlur(2.5))
    far = image.reduce(4).filter(ImageFilter.GaussianBlur(3)).resize(SIZE, Image.Resampling.BICUBIC)
    light = np.zeros((3, *glow.shape[:2]), np.float32)
    for part, share in ((image, 0.9), (near, 0.35), (far, 0.5)):
        light += share * _LINEAR[np.asarray(part).transpose(2, 0, 1)]
    return light


# The plan of a scene.


def plan(rng: Generator) -> tuple[Street, Night]:
    """A street by chance."""
    view = View(
        horizon=rng.uniform(0.36, 0.46) * SIZE[1],
        centre=rng.uniform(0.35, 0.65) * SIZE[0],
        focal=rng.uniform(380, 460),
        eye=rng.uniform(1.5, 2.3),
    )
    kerb = rng.uniform(3.6, 5.0)
    wall = kerb + rng.uniform(3.0, 4.5)
    zenith, haze, light = WEATHERS[rng.integers(len(WEATHERS))]
    lit = bool(rng.random() < 0.65)
    things = _objects(rng, view, kerb, wall) + _furniture(rng, kerb, wall, lit)
    street = Street(
        view=view,
        things=tuple(sorted(things, key=lambda thing: -thing.z)),
        kerb=kerb,
        wall=wall,
        end=rng.uniform(48, 75),
        zenith=zenith,
        haze=haze,
        light=light,
        crossing=rng.uniform(9, 22) if rng.random() < 0.4 else None,
        windows=rng.uniform(0.05, 0.35),
        seed=int(rng.integers(2**31)),
    )
    return street, _night(rng, street, lit)


WEATHERS = (
    ((104, 158, 222), (206, 220, 232), (1.22, 1.18, 1.1)),
    ((150, 176, 206), (222, 226, 228), (1.14, 1.14, 1.14)),
    ((172, 178, 186), (206, 208, 210), (1.0, 1.02, 1.05)),
    ((136, 158, 196), (244, 214, 176), (1.25, 1.1, 0.94)),
    ((120, 134, 156), (178, 186, 196), (0.9, 0.94, 1.02)),
)
"""Sky above, sky at the horizon, daylight: clear, hazy, overcast, low sun, before rain."""


def _objects(rng: Generator, view: View, kerb: float, wall: float) -> list[Thing]:
    """Up to nine objects, none of which hides too much of another."""
    wanted, things = int(rng.integers(3, 10)), list[Thing]()
    for _ in range(20 * wanted):
        group = _candidate(rng, view, kerb, wall)
        if _objects_in(things + group) <= wanted and _fits(view, group, things):
            things += group
        if _objects_in(things) == wanted:
            break
    return things


def _objects_in(things: list[Thing]) -> int:
    return sum(bool(KINDS[thing.kind].name) for thing in things)


def _candidate(rng: Generator, view: View, kerb: float, wall: float) -> list[Thing]:
    """One object by chance, with what belongs to it."""
    name = CLASSES[rng.choice(len(CLASSES), p=(0.22, 0.16, 0.25, 0.17, 0.2))]
    nearest, farthest = RANGES[name]
    z = math.exp(rng.uniform(math.log(nearest), math.log(farthest)))
    flip, seed, way = bool(rng.random() < 0.5), int(rng.integers(2**31)), int(rng.choice((-1, 1)))
    anywhere = (rng.uniform(0.02, 0.98) * SIZE[0] - view.centre) * z / view.focal
    across = float(np.clip(anywhere, -wall + 0.4, wall - 0.4))
    if name == "person":
        kind, size = ("walker", "stander")[int(rng.random() < 0.5)], rng.choice((0.68, 0.92, 1.0, 1.06))
        return [Thing(kind, across, z, size, rng.uniform(0.9, 1.1), flip, seed)]
    if name == "bicycle":
        bicycle = Thing("bicycle", across, z, rng.uniform(0.95, 1.1), rng.uniform(0.7, 1), flip, seed)
        return [bicycle, bicycle._replace(kind="rider", z=z - 0.01)] if rng.random() < 0.5 else [bicycle]
    if name == "traffic light":
        light = Thing(name, way * (kerb + 0.5), z, rng.uniform(0.9, 1.15), 1, flip, seed)
        return [light._replace(kind="pole", z=z + 0.01), light]
    if rng.random() < 0.45:
        room = max(0.0, wall - KINDS[f"{name} side"].width / 2)
        across = float(np.clip(anywhere, -room, room))
        return [Thing(f"{name} side", across, z, rng.uniform(0.92, 1.08), rng.uniform(0.8, 1), flip, seed)]
    lane = way * kerb * rng.uniform(0.4, 0.68)
    return [Thing(f"{name} {'rear' if way > 0 else 'front'}", lane, z, rng.uniform(0.92, 1.08), 1, flip, seed)]


def _fits(view: View, group: list[Thing], others: list[Thing]) -> bool:
    """Whether an object lies well inside the picture, is large enough, and neither hides another nor is hidden."""
    for thing in group:
        box = frame(view, thing)
        if _share(box, (0, 0, *SIZE)) < 0.6 or max(box[2] - box[0], box[3] - box[1]) < 14 or box[2] - box[0] > 360:
            return False
        for other in others:
            pair = (box, frame(view, other))
            far, near = pair if thing.z > other.z else pair[::-1]
            if _share(far, near) > 0.5:
                return False
    return True


def _share(box: tuple[float, float, float, float], cover: tuple[float, float, float, float]) -> float:
    """How much of a box another one covers."""
    wide = min(box[2], cover[2]) - max(box[0], cover[0])
    high = min(box[3], cover[3]) - max(box[1], cover[1])
    return max(wide, 0) * max(high, 0) / ((box[2] - box[0]) * (box[3] - box[1]))


def _furniture(rng: Generator, kerb: float, wall: float, lit: bool) -> list[Thing]:
    """Street lamps, trees and bins along the kerbs."""
    things = list[Thing]()
    for side in (-1, 1):
        for z in steps(rng.uniform(9, 14), 45, 14):
            kind = "lit lamp" if lit else "lamp"
            things.append(Thing(kind, side * (kerb + 0.4), z, 1, 1, side > 0, int(rng.integers(2**31))))
            if rng.random() < 0.55:
                at = z + rng.uniform(4, 10)
                x = side * rng.uniform(kerb + 0.9, wall - 0.8)
                things.append(Thing("tree", x, at, rng.uniform(0.8, 1.2), 1, False, int(rng.integers(2**31))))
            if rng.random() < 0.25:
                x = side * rng.uniform(kerb + 0.5, wall - 0.5)
                things.append(Thing("bin", x, z + rng.uniform(1, 9), 1, 1, False, int(rng.integers(2**31))))
    return things


def _night(rng: Generator, street: Street, lit: bool) -> Night:
    colour = np.array(((1.0, 0.66, 0.3), (1.0, 0.82, 0.58), (0.88, 0.96, 1.0))[rng.integers(3)])  # sodium to LED
    sky = np.array((0.72, 0.86, 1.15))
    ambient = (0.5 * (sky + colour) if lit else sky) * math.exp(rng.uniform(math.log(0.006), math.log(0.02)))
    power = _vector(colour * rng.uniform(1.6, 5.0))
    lights = [light for thing in street.things for light in _carried(thing)]
    if lit:
        lamps = [thing for thing in street.things if thing.kind == "lit lamp"]
        # The row goes on beside and behind the camera.
        lamps += [lamp._replace(z=lamp.z - 14) for lamp in lamps if lamp.z < 14 + 9]
        lights += [Light((lamp.x - math.copysign(1.05, lamp.x), 5.4, lamp.z), power) for lamp in lamps]
    gain = 2.0 ** rng.uniform(1, 4)  # ISO 200 to 1600
    return Night(_vector(ambient), tuple(lights), Exposure(ratio=1 / gain, gain=gain))


def _carried(thing: Thing) -> list[Light]:
    """What the lamps of cars and buses throw on the street around them."""
    name, _, seen = thing.kind.partition(" ")
    if name not in ("car", "bus"):
        return []
    beam, red = (0.35, 0.33, 0.29), (0.06, 0.006, 0.004)
    if seen == "side":
        ahead = (KINDS[thing.kind].width / 2 + 1.5) * thing.squeeze * (-1 if thing.flip else 1)
        return [Light((thing.x + ahead, 0.6, thing.z), beam, downward=False)]
    if seen == "front":
        return [Light((thing.x, 0.6, thing.z - 2.5), beam, downward=False)]
    rear, front = (
        Light((thing.x, 0.6, z), power, downward=False) for z, power in ((thing.z - 1, red), (thing.z + 7, beam))
    )
    return [rear, front]


def _vector(values: NDArray[np.float64]) -> Vector:
    red, green, blue = map(float, values)
    return red, green, blue
