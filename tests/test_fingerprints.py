"""Copies are found whatever became of size, compression and brightness, different pictures are told apart."""

from __future__ import annotations

import hashlib
import io
import json
import math
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.fft import dctn
from scipy.stats import rankdata
from torch import Tensor

from bench import fingerprints
from bench.contracts import Copy, Dataset, Pair, Sample
from bench.fingerprints import BITS, NEAR, PRINT, Fingerprints, copies, exact, perceptual, seen_in
from bench.image import encode_webp, read_rgb, resize, round_8bit, write_png
from bench.plugins import Spec, load
from bench.training import read_metadata

ROOT = Path(__file__).resolve().parent.parent


def photograph(name: str, left: int = 0) -> Tensor:
    """300x200 of one of scikit-image's pictures."""
    from skimage import data

    levels = getattr(data, name)()[:400, left : left + 600]
    return torch.from_numpy(np.array(Image.fromarray(levels).resize((300, 200)))).permute(2, 0, 1).float() / 255


ASTRONAUT, COFFEE, CHELSEA = photograph("astronaut"), photograph("coffee"), photograph("chelsea")


def compressed(picture: Tensor, quality: int) -> Tensor:
    stream = io.BytesIO()
    Image.fromarray((picture * 255).round().byte().permute(1, 2, 0).numpy()).save(stream, "JPEG", quality=quality)
    return torch.from_numpy(np.array(Image.open(stream))).permute(2, 0, 1).float() / 255


def differing(one: Tensor, other: Tensor) -> int:
    return (perceptual(one) ^ perceptual(other)).bit_count()


def made(*rows: tuple[str, bytes, int, bytes, int]) -> Fingerprints:
    """Each: id, digest and hash of the low picture, digest and hash of the reference."""
    prints = [[(low, one), (high, other)] for _, low, one, high, other in rows]
    return Fingerprints(tuple(row[0] for row in rows), np.array(prints, PRINT).reshape(-1, 2))


def test_the_exact_digest_is_half_the_sha256_of_the_8_bit_planes() -> None:
    levels = np.arange(2 * 3 * 3, dtype=np.uint8).reshape(3, 2, 3) * 9
    picture = torch.from_numpy(levels).float() / 255
    assert exact(picture) == hashlib.sha256(levels.tobytes()).digest()[:16]


def test_the_exact_digest_does_not_depend_on_the_file_format(tmp_path: Path) -> None:
    write_png(tmp_path / "a.png", COFFEE)
    with (tmp_path / "a.webp").open("wb") as stream:
        encode_webp(COFFEE, stream, quality=None)
    assert exact(read_rgb(tmp_path / "a.png")) == exact(read_rgb(tmp_path / "a.webp")) != exact(ASTRONAUT)


@pytest.mark.parametrize("picture", [ASTRONAUT, COFFEE, CHELSEA, COFFEE / 10])
def test_the_hash_is_the_signs_of_the_cosine_transform_of_ranks(picture: Tensor) -> None:
    # The same by Pillow, scipy.stats and scipy.fft; the order of frequencies is what docs/leakage.md says.
    luma = Image.fromarray((0.299 * picture[0] + 0.587 * picture[1] + 0.114 * picture[2]).numpy())
    cells = np.asarray(luma.resize((32, 32), Image.Resampling.BOX), dtype=np.float64)
    transformed = dctn(rankdata(np.round(cells * 255 * 64)).reshape(32, 32))
    places = [(u, v) for u in range(32) for v in range(32) if u + v]
    places.sort(key=lambda place: (place[0] + place[1], max(place), place))
    bits = "".join("1" if transformed[place] > 1e-6 else "0" for place in places[:64])
    # Float32 means of Pillow may fall on the other side of a step of the rounding.
    assert (perceptual(picture) ^ int(bits, 2)).bit_count() <= 1


@pytest.mark.parametrize("picture", [ASTRONAUT, COFFEE, CHELSEA])
@pytest.mark.parametrize(
    "change",
    [
        lambda one: compressed(one, 75),
        lambda one: compressed(one, 30),
        lambda one: resize(one, "150x100"),
        lambda one: resize(one, "384x384"),
        lambda one: round_8bit(one * 0.1),
        lambda one: round_8bit(one**2.2),
        lambda one: round_8bit(one**0.45),
        lambda one: compressed(resize(round_8bit(one**0.6 * 0.6), "200x133"), 60),
        lambda one: one[:, 2:-2, 3:-3],
    ],
    ids=["jpeg75", "jpeg30", "half", "square", "darker", "gamma2.2", "gamma0.45", "all three", "crop 1 %"],
)
def test_an_altered_copy_stays_near(picture: Tensor, change) -> None:
    assert differing(picture, change(picture)) <= NEAR


def test_different_pictures_and_mirrored_ones_are_far() -> None:
    pictures = [ASTRONAUT, COFFEE, CHELSEA, photograph("rocket"), ASTRONAUT.flip(-1), COFFEE.flip(-1)]
    assert min(differing(a, b) for a in pictures for b in pictures if a is not b) > 2 * NEAR


def test_the_hash_knows_every_size(tmp_path: Path) -> None:
    assert differing(COFFEE, resize(COFFEE, "31x17")) < BITS / 4
    assert 0 <= perceptual(torch.rand(3, 1, 1)) < 2**BITS


def test_pictures_of_one_colour_have_no_hash_and_are_copies_of_nothing() -> None:
    black, white = torch.zeros(3, 20, 30), torch.ones(3, 40, 40)
    assert perceptual(black) == perceptual(white) == 0
    one, other = made(("a", b"1", 0, b"2", 0)), made(("b", b"3", 0, b"4", 0))
    assert copies(one, other) == []


def test_the_same_pixels_are_an_exact_copy_though_another_hash_is_nearer() -> None:
    mine = made(("a", b"same", 7, b"x", 2**63))
    others = made(("near", b"y", 7, b"z", 2**63), ("equal", b"same", 2**40 - 1, b"w", 2**50 - 1))
    assert copies(mine, others) == [Copy("a", "equal", 0, True, 0)]


def test_the_nearest_picture_is_named_and_further_ones_are_counted() -> None:
    mine = made(("a", b"1", 0b1111, b"2", 2**64 - 1), ("b", b"3", 2**32 - 1, b"4", 2**33))
    others = made(
        ("three bits", b"5", 0b1000, b"6", 2**20 - 1),
        ("one bit", b"7", 0b0111, b"8", 2**21 - 1),
        ("far", b"9", (2**16 - 1) << 30, b"0", (2**16 - 1) << 40),
    )
    # b's reference 2**33 differs from 0b1000 in 2 bits.
    assert copies(mine, others) == [Copy("a", "one bit", 1, False, 1), Copy("b", "three bits", 2, False, 1)]


def test_a_low_picture_is_compared_with_references_too() -> None:
    photographs, night = made(("day", b"1", 0, b"2", 0xFFFF)), made(("night", b"3", 0xFFFE, b"", 0))
    assert copies(night, photographs) == [Copy("night", "day", 1, False, 0)]


def test_pictures_without_reference_do_not_match_by_its_absence() -> None:
    one, other = made(("a", b"1", 2**60 - 1, b"", 0)), made(("b", b"2", 2**30 - 1, b"", 0))
    assert copies(one, other) == []


def test_an_empty_set_shares_nothing() -> None:
    assert copies(made(), made(("a", b"1", 1, b"2", 3))) == copies(made(("a", b"1", 1, b"2", 3)), made()) == []


def random_prints(count: int, seed: int) -> Fingerprints:
    generator = np.random.default_rng(seed)
    prints = np.zeros((count, 2), PRINT)
    prints["perceptual"] = generator.integers(1, 2**64, (count, 2), dtype=np.uint64)
    prints["exact"] = np.frombuffer(generator.bytes(32 * count), "V16").reshape(count, 2)
    return Fingerprints(tuple(map(str, range(count))), prints)


def test_many_pictures_are_compared_as_one_by_one() -> None:
    mine, others = random_prints(60, 1), random_prints(80, 2)
    for place in range(20):  # every third picture is one of the others with so many bits turned
        turned = int(others.prints["perceptual"][place, place % 2]) ^ ((1 << place) - 1)
        mine.prints["perceptual"][3 * place, (place + 1) % 2] = turned
    expected = []
    for name, row in zip(mine.ids, mine.prints["perceptual"].tolist(), strict=True):
        found = [min((a ^ b).bit_count() for a in row for b in other) for other in others.prints["perceptual"].tolist()]
        if min(found) <= NEAR:
            near = sum(one <= NEAR for one in found)
            expected.append(Copy(name, others.ids[found.index(min(found))], min(found), False, near - 1))
    assert len(expected) == NEAR + 1
    assert copies(mine, others) == expected


def test_memory_does_not_grow_with_the_product() -> None:
    mine, others = random_prints(5000, 3), random_prints(6000, 4)
    tracemalloc.start()
    try:
        copies(mine, others)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 5000 * 6000  # bytes; all distances at once would be four times that, in float32


def test_fingerprints_survive_json() -> None:
    before = random_prints(5, 5)
    after = Fingerprints.parse(json.loads(json.dumps(before.as_json())))
    assert after.ids == before.ids
    assert after.prints.tobytes() == before.prints.tobytes()
    assert len(before.as_json()["prints"]) == 5 * 64


class Handful(Dataset):
    """Pictures by hand; one of them cannot be read."""

    label, layout, origin, paired = "Handful", "", "", True  # type: ignore[assignment]

    def samples(self) -> list[Sample]:
        return [Sample(name, Path(name)) for name in ("1", "damaged", "2")]

    def load(self, sample: Sample) -> Pair:
        if sample.id == "damaged":
            raise ValueError("damaged")
        picture = COFFEE if sample.id == "1" else ASTRONAUT
        return Pair(round_8bit(picture / 5), picture)


def test_what_cannot_be_read_is_left_out() -> None:
    dataset = Handful()
    found = fingerprints.of((dataset, sample) for sample in dataset.samples())
    assert found.ids == ("1", "2")
    assert found.prints["exact"][1].tolist() == [exact(round_8bit(ASTRONAUT / 5)), exact(ASTRONAUT)]
    assert copies(found, made(("x", b"", 0, exact(ASTRONAUT), perceptual(ASTRONAUT)))) == [Copy("2", "x", 0, True, 0)]


def test_what_was_seen_before_counts_as_seen() -> None:
    first, later = random_prints(2, 6), random_prints(3, 7)
    found = seen_in({"seen": later.as_json(), "start": {"method": "m", "start": {"seen": first.as_json()}}})
    assert found is not None
    assert {row.tobytes() for row in found.prints} == {row.tobytes() for part in (first, later) for row in part.prints}


@pytest.mark.parametrize("told", [{}, {"files": "0" * 64, "start": "0" * 64}, {"start": {}}])
def test_weights_that_say_nothing_are_unknown(told: dict[str, object]) -> None:
    assert seen_in(told) is None


@pytest.mark.parametrize(
    "weights",
    sorted([*(ROOT / "adapters" / "weights").glob("*.safetensors"), *(ROOT / "bench/tasks/weights").glob("*.safet*")]),
    ids=lambda path: path.stem,
)
def test_of_all_shipped_weights_the_pictures_are_known(weights: Path) -> None:
    told = read_metadata(weights)
    seen = seen_in(told)
    assert seen is not None
    # The detector's metadata counts what was learned from and does not name the rest: 16th of 400.
    held_out = len(told.get("held_out", ())) or {"detection": 24}.get(told.get("task", ""), 0)
    assert len(seen) == len(set(seen.ids)) == told["pictures"] + held_out


def test_the_detector_shipped_here_has_seen_the_training_streets() -> None:
    kind = load(Dataset, Spec.parse("nightscenes"))
    seen = seen_in(read_metadata(ROOT / "bench" / "tasks" / "weights" / "nightscenes.safetensors"))
    assert seen is not None
    for split, expected in (("train", ["scene-0001"]), ("test", [])):
        dataset = kind(split)
        found = copies(fingerprints.of([(dataset, dataset.samples()[0])]), seen)
        assert [one.seen for one in found] == expected


def test_thirteen_pictures_of_lol_show_scenes_of_its_training_pictures(shared_data: Path) -> None:
    # Counted by eye: all but 179 and 665 are taken from the place of a training picture, with another exposure.
    dataset = load(Dataset, Spec.parse("lol"))("", shared_data / "lol")
    seen = seen_in(read_metadata(ROOT / "adapters" / "weights" / "lw_drgn.safetensors"))
    assert seen is not None
    found = copies(fingerprints.of((dataset, sample) for sample in dataset.samples()), seen)
    assert {sample.id for sample in dataset.samples()} - {one.image for one in found} == {"179", "665"}
    assert not any(one.exact for one in found)
    neighbours = {one.image: one.seen for one in found}
    assert all(math.isclose(int(name), int(other), abs_tol=2) for name, other in neighbours.items())


def test_the_training_pictures_of_lol_are_seen_as_they_are(shared_data: Path) -> None:
    dataset = load(Dataset, Spec.parse("lol"))("our485", shared_data / "lol")
    seen = seen_in(read_metadata(ROOT / "adapters" / "weights" / "dgaf.safetensors"))
    assert seen is not None
    found = copies(fingerprints.of((dataset, sample) for sample in dataset.samples()[:3]), seen)
    assert [(one.image, one.seen, one.exact) for one in found] == [(name, name, True) for name in ("2", "6", "10")]
