"""Facts about the drawn streets: what is annotated, what the night does to the day, that nothing is left to luck."""

from __future__ import annotations

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from hashlib import sha256
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch

from bench import plugins
from bench.contracts import Boxes, Dataset
from bench.image import round_8bit
from bench.plugins import Spec

Nightscenes = plugins.load(Dataset, Spec.parse("nightscenes"))
nightscenes: ModuleType = sys.modules[Nightscenes.__module__]
street: ModuleType = sys.modules[nightscenes.draw.__module__]
camera: ModuleType = sys.modules[nightscenes.darken.__module__]


def digests(dataset: Dataset, count: int) -> list[list[str]]:
    """SHA-256 of the first scenes by night and by day."""
    pairs: list[Any] = [dataset.load(sample) for sample in dataset.samples()[:count]]
    return [[sha256(part.numpy().tobytes()).hexdigest() for part in pair] for pair in pairs]


@pytest.fixture(scope="module")
def truths() -> list[Any]:
    dataset = Nightscenes()
    return [dataset.truth(sample) for sample in dataset.samples()]


@pytest.fixture(scope="module")
def pairs() -> list[Any]:
    dataset = Nightscenes()
    return [dataset.load(sample) for sample in dataset.samples()[:5]]


# The set.


def test_there_are_48_scenes_to_test_on_and_400_others_to_learn_from() -> None:
    assert len(Nightscenes().samples()) == len(Nightscenes("test").samples()) == 48
    assert len(Nightscenes(Nightscenes.training_split).samples()) == 400
    assert Nightscenes("train").label != Nightscenes().label == Nightscenes("test").label


def test_no_picture_is_in_both_splits() -> None:
    learned, tested = digests(Nightscenes("train"), 2), digests(Nightscenes(), 2)
    assert len({digest for pair in learned + tested for digest in pair}) == 8


def test_the_file_of_every_sample_is_the_one_that_draws_it() -> None:
    sample = Nightscenes().samples()[0]
    assert sample.id == "scene-0001"
    assert sample.files == sample.truth == (Path(str(street.__file__)),)


def test_another_process_draws_the_same_pictures_in_another_order() -> None:
    code = (
        "from hashlib import sha256\n"
        "from bench.datasets.nightscenes import Nightscenes\n"
        "dataset = Nightscenes()\n"
        "print(*[sha256(part.numpy().tobytes()).hexdigest()\n"
        "        for sample in dataset.samples()[1::-1] for part in dataset.load(sample)])\n"
    )
    root = Path(__file__).resolve().parent.parent
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=root)
    first, second = digests(Nightscenes(), 2)
    assert done.stdout.split() == [*second, *first]


def test_threads_that_share_the_data_set_get_the_same_pictures(pairs: list[Any]) -> None:
    dataset = Nightscenes()
    samples = dataset.samples()
    with ThreadPoolExecutor(4) as pool:
        loaded: list[Any] = list(pool.map(dataset.load, [samples[0]] * 4 + samples[1:4]))
    for pair, index in zip(loaded, (0, 0, 0, 0, 1, 2, 3), strict=True):
        assert torch.equal(pair.low, pairs[index].low)
        assert torch.equal(pair.reference, pairs[index].reference)


# The truth.


def test_every_scene_has_objects_and_every_class_and_light_occurs(truths: list[Any]) -> None:
    names = [truth.boxes.names for truth in truths]
    assert min(map(len, names)) >= 1 and max(map(len, names)) <= 9
    assert {name for each in names for name in each} == {"person", "bicycle", "car", "bus", "traffic light"}
    assert set(Nightscenes().classes) == {"person", "bicycle", "car", "bus", "traffic light"}
    assert {truth.groups["light"] for truth in truths} == {"lamp-lit", "unlit"}


def test_boxes_lie_in_the_picture_and_their_pixels_make_up_the_mask(truths: list[Any]) -> None:
    for truth in truths:
        boxes, mask = truth.boxes, truth.mask
        assert truth.size == (480, 320) and mask.shape == (320, 480)
        left, top, right, bottom = boxes.corners.T
        assert (left >= 0).all() and (top >= 0).all() and (right <= 480).all() and (bottom <= 320).all()
        assert boxes.areas.sum() == mask.sum()
        assert (boxes.areas <= (right - left) * (bottom - top)).all() and (boxes.areas >= 60).all()
        for x0, y0, x1, y1 in boxes.corners.astype(int):
            inside = mask[y0:y1, x0:x1]
            assert inside[0].any() and inside[-1].any() and inside[:, 0].any() and inside[:, -1].any()


def test_objects_are_large_and_small(truths: list[Any]) -> None:
    sides = np.concatenate([np.ptp(truth.boxes.corners.reshape(-1, 2, 2), axis=1).max(1) for truth in truths])
    assert sides.min() < 25 and sides.max() > 160


# Streets made by hand: blocks of 2 m x 2 m, seen by a camera 2 m above the ground with 400 pixels per metre at 1 m.


@pytest.fixture
def block(monkeypatch: pytest.MonkeyPatch) -> None:
    def paint(pen: Any, rng: np.random.Generator) -> None:
        pen.box(-1, 0, 1, 2, (200, 40, 40))

    monkeypatch.setitem(street.KINDS, "block", street.Kind(paint, 2, 0, 2, "car", shadow=0))


VIEW = street.View(horizon=100.0, centre=240.0, focal=400.0, eye=2.0)


def annotated(*things: Any) -> tuple[Boxes, np.ndarray[Any, Any]]:
    made = street.Street(VIEW, things)
    return nightscenes.annotate(made, street.draw(made))


@pytest.mark.usefixtures("block")
def test_a_block_is_where_the_camera_projects_it() -> None:
    # At 20 m a metre has 20 pixels, and the ground is 40 pixels below the horizon.
    boxes, mask = annotated(street.Thing("block", 0, 20))
    assert boxes.corners.tolist() == [[220, 100, 260, 140]]
    assert boxes.names == ("car",) and boxes.areas.tolist() == [1600] and boxes.ignored.tolist() == [False]
    expected = np.zeros((320, 480), bool)
    expected[100:140, 220:260] = True
    assert np.array_equal(mask, expected)


@pytest.mark.usefixtures("block")
@pytest.mark.parametrize(("x", "seen"), [(1.0, 20), (0.8, 12), (0.7, None)])
def test_a_hidden_block_is_bounded_by_what_is_seen_and_left_out_below_a_quarter(x: float, seen: int | None) -> None:
    # The nearer block, at 10 m, is 80 pixels wide around column 240 + 40 x and hides the right of the farther one.
    boxes, mask = annotated(street.Thing("block", 0, 20), street.Thing("block", x, 10))
    left = round(200 + 40 * x)
    expected = [[220.0, 100, 220 + seen, 140]] if seen else []
    assert boxes.corners.tolist() == [*expected, [left, 100, left + 80, 180]]
    assert boxes.areas.tolist() == ([40.0 * seen, 6400] if seen else [6400])
    assert mask[120, 222] == (seen is not None)


@pytest.mark.usefixtures("block")
@pytest.mark.parametrize(("x", "seen"), [(-12.0, 20), (-12.4, 12), (-12.6, None)])
def test_a_block_across_the_border_is_cut_and_left_out_below_a_quarter(x: float, seen: int | None) -> None:
    assert annotated(street.Thing("block", x, 20))[0].corners.tolist() == ([[0, 100, seen, 140]] if seen else [])


@pytest.mark.usefixtures("block")
@pytest.mark.parametrize(("z", "count"), [(100, 1), (125, 0)])
def test_a_block_of_less_than_60_pixels_is_left_out(z: float, count: int) -> None:
    # 8 x 8 pixels at 100 m, 6.4 x 6.4 at 125 m.
    assert len(annotated(street.Thing("block", 0, z))[0].names) == count


def test_trees_lamps_poles_and_bins_are_no_objects() -> None:
    things = [street.Thing(kind, x, 15) for x, kind in enumerate(("tree", "lit lamp", "lamp", "pole", "bin"))]
    boxes, mask = annotated(*things)
    assert boxes.corners.shape == (0, 4) and boxes.names == () and not mask.any()


@pytest.mark.parametrize("kind", ["walker", "rider", "bicycle", "car side"])
def test_a_flipped_thing_is_its_mirror_picture(kind: str) -> None:
    (_, seen), (_, flipped) = (annotated(street.Thing(kind, 0, 8, flip=flip, seed=3)) for flip in (False, True))

    def missed(other: np.ndarray[Any, Any]) -> float:
        """Share of the thing that is farther than a pixel from the other."""
        near = np.any([np.roll(other, shift, 1) for shift in (-1, 0, 1)], 0)
        return float((seen & ~near).sum() / seen.sum())

    assert missed(flipped[:, ::-1]) < 0.05 < 0.07 < missed(flipped)  # spokes are thinner than a pixel


# The night.


def test_pictures_are_8_bit_exact_and_the_night_is_dark(pairs: list[Any]) -> None:
    for low, reference in pairs:
        assert low.shape == reference.shape == (3, 320, 480)
        assert low.dtype == reference.dtype == torch.float32
        assert torch.equal(low, round_8bit(low)) and torch.equal(reference, round_8bit(reference))
        assert 0.02 < float(low.mean()) < 0.2 < 0.3 < float(reference.mean())
        assert float((low - reference).square().mean()) > 10**-1.5  # PSNR below 15 dB


def test_brightening_the_night_brings_it_nearer_to_the_day(pairs: list[Any]) -> None:
    for low, reference in pairs:
        brighter = (low * (reference.mean() / low.mean())).clamp(0, 1)
        gained = (low - reference).square().mean() / (brighter - reference).square().mean()
        assert gained > 10**0.1  # 1 dB


@pytest.mark.parametrize("height", [4.0, 8.0])
def test_a_lamp_lights_the_ground_below_it_by_the_inverse_square_of_its_height(height: float) -> None:
    made = street.Street(VIEW, ())
    drawing = street.draw(made)
    lamp = nightscenes.Light((1.0, height, 10.0), (8.0, 4.0, 4.0), softness=0)
    exposure = camera.Exposure()
    night = nightscenes.Night((0.0, 0.0, 0.0), (lamp,), exposure)
    taken = nightscenes.take_at_night(drawing, VIEW, night, np.random.default_rng(0)).permute(1, 2, 0)
    # 10 m ahead and 1 m to the right is 80 pixels below the horizon and 40 right of the middle.
    spot = slice(177, 183), slice(272, 289)
    by_night = camera.srgb_to_linear(taken[spot].double().numpy()).mean((0, 1))
    by_day = camera.srgb_to_linear(drawing.day[spot] / 255).mean((0, 1))
    assert by_night / by_day == pytest.approx(np.array([8, 4, 4]) / height**2, rel=0.05)


def test_without_any_light_only_what_shines_itself_is_seen() -> None:
    made = street.Street(VIEW, (street.Thing("traffic light", 0, 10, seed=1),), windows=0.0)
    night = nightscenes.Night((0.0, 0.0, 0.0), (), camera.Exposure())
    taken = nightscenes.take_at_night(street.draw(made), VIEW, night, np.random.default_rng(0))
    # The head is 2.9 to 4.25 m above the ground at row 180, 40 pixels a metre.
    bright = (taken > 0.5).any(0).nonzero()
    assert len(bright) and bright[:, 0].min() >= 10 and bright[:, 0].max() <= 64
    assert bright[:, 1].min() >= 228 and bright[:, 1].max() <= 252
    assert float(taken[:, 200:].mean()) < 0.01
