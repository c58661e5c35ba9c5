"""Records kept in columns are the records that went in."""

from __future__ import annotations

import math

import pytest

from bench.contracts import Record
from bench.records import Cell, Records
from bench.store import Score

IMAGES = ("a", "b", "c")


def score(image: str, value: float | None, error: str | None = None, caveat: float | None = None) -> Score:
    return Score("key", image, "digest", value, error, 0.5 if error is None else None, caveat)


@pytest.fixture
def records() -> Records:
    """Two cells of which one lacks a picture, an empty one, and a record of a task."""
    psnr = {0: score("a", 20.5), 1: score("b", None, "too dark"), 2: score("c", math.inf)}
    niqe = {2: score("c", 3.25, caveat=0.75)}
    return Records(
        [
            Cell.of("he", "lol", "native-8bit", "psnr", IMAGES, psnr),
            Cell.of("he", "lol", "native-8bit", "ssim", IMAGES, {}),
            Cell.of("he", "lol", "native-8bit", "niqe", IMAGES, niqe),
        ],
        [Record("he", "lol", "native-8bit+detection", "a", "count", 2.0, None)],
    )


EXPECTED = [
    Record("he", "lol", "native-8bit", "a", "psnr", 20.5, None, 0.5, None),
    Record("he", "lol", "native-8bit", "b", "psnr", None, "too dark", None, None),
    Record("he", "lol", "native-8bit", "c", "psnr", math.inf, None, 0.5, None),
    Record("he", "lol", "native-8bit", "c", "niqe", 3.25, None, 0.5, 0.75),
    Record("he", "lol", "native-8bit+detection", "a", "count", 2.0, None, None, None),
]


def test_they_come_back_one_after_the_other(records: Records) -> None:
    assert list(records) == EXPECTED
    assert len(records) == 5


def test_they_come_back_by_position(records: Records) -> None:
    assert [records[at] for at in range(5)] == EXPECTED
    assert records[-1] == EXPECTED[-1]
    assert records[1:4] == EXPECTED[1:4]
    with pytest.raises(IndexError):
        records[5]


def test_none_are_none() -> None:
    assert list(Records([])) == []
    with pytest.raises(IndexError):
        Records([])[0]
