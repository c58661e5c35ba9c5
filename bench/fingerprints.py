"""Pictures in, fingerprints out: which pictures of two sets are the same, or near copies of each other."""

from __future__ import annotations

import json
from base64 import b64decode, b64encode
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache, lru_cache, reduce
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from bench.contracts import Copy, Dataset, Pair, Sample
from bench.image import digests, to_uint8

BITS = 64
"""Length of the perceptual hash."""
NEAR = 8
"""Pictures whose hashes differ in at most so many bits are near copies; measured, see docs/leakage.md."""
THREADS = 2
"""Pictures that are decoded at the same time."""
LEDGER = Path(__file__).with_name("fingerprints.json")
"""What weights were trained on that were made before weights held it themselves."""

PRINT = np.dtype([("exact", "V16"), ("perceptual", "<u8")])
"""The first half of the SHA-256 of the 8-bit levels, and the perceptual hash; all zero where there is no picture."""

_CELLS = 32
"""Rows and columns of the means that the hash is made from."""
_GRAIN = 64
"""Means are told apart down to this part of an 8-bit level: below lies what the order of a sum changes."""
_LUMA_BT601 = np.array([0.299, 0.587, 0.114], dtype=np.float32)
# The 64 lowest frequencies but the mean, ordered as they are in a zigzag: by their sum, then the squarer ones first.
_FREQUENCIES = sorted(
    ((row, column) for row in range(11) for column in range(11) if row + column),
    key=lambda place: (sum(place), max(place), place),
)[:BITS]
_COSINES = np.cos(np.pi / (2 * _CELLS) * np.outer(np.arange(11), 2 * np.arange(_CELLS) + 1))
_BLOCK = 2**20
"""Comparisons at a time: 4 MB."""


@dataclass(frozen=True)
class Fingerprints:
    """Of the pictures of one or more data sets."""

    ids: tuple[str, ...]
    prints: NDArray[np.void]
    """(N, 2) of PRINT: of each low-light picture and of its reference."""

    @classmethod
    def parse(cls, stored: Mapping[str, Any]) -> Fingerprints:
        """What `as_json` gave; raises ValueError or KeyError for anything else."""
        return cls(tuple(stored["ids"]), np.frombuffer(b64decode(stored["prints"]), PRINT).reshape(-1, 2))

    def as_json(self) -> dict[str, Any]:
        """JSON values: 64 characters a pair besides its id."""
        return {"ids": list(self.ids), "prints": b64encode(self.prints.tobytes()).decode()}

    def __len__(self) -> int:
        return len(self.ids)


def of(samples: Iterable[tuple[Dataset, Sample]]) -> Fingerprints:
    """Fingerprints of samples; those that cannot be read are left out."""
    chosen = list(samples)
    rows = [(sample.id, row) for (_, sample), row in zip(chosen, rows_of(chosen), strict=True) if row is not None]
    return Fingerprints(tuple(name for name, _ in rows), np.array([row for _, row in rows], PRINT).reshape(-1, 2))


def rows_of(samples: Sequence[tuple[Dataset, Sample]]) -> list[NDArray[np.void] | None]:
    """(2,) of PRINT for each sample, None for one that cannot be read; several are decoded at the same time."""
    with ThreadPoolExecutor(THREADS) as pool:
        return list(pool.map(_row, samples))


def _row(one: tuple[Dataset, Sample]) -> NDArray[np.void] | None:
    dataset, sample = one
    try:
        return of_pair(dataset.load(sample))
    except (OSError, ValueError):  # whoever learns from it or scores it gets to see the reason
        return None


def of_pair(pair: Pair) -> NDArray[np.void]:
    """(2,) of PRINT, for the low-light picture and its reference."""
    return np.array([(b"", 0) if one is None else (exact(one), perceptual(one)) for one in pair], PRINT)


def exact(picture: Tensor) -> bytes:
    """16 bytes that pictures (3, H, W) in [0, 1] share if their 8-bit levels are the same, whatever file holds them."""
    return bytes.fromhex(digests(to_uint8(picture[None]))[0])[:16]


def perceptual(picture: Tensor) -> int:
    """64 bits that hardly change with size, compression and brightness; 0 for a picture of one colour.

    The luma's means over 32x32 cells are replaced by their ranks, which no gain, gamma or other growing curve changes;
    each bit is the sign of a coefficient of their discrete cosine transform. As pHash (Zauner, "Implementation and
    Benchmarking of Perceptual Image Hash Functions", 2010), but for the ranks: dark pictures are what they are for.
    """
    luma = np.tensordot(_LUMA_BT601, picture.numpy(), 1).astype(np.float64)
    cells = _shares(luma.shape[0]) @ luma @ _shares(luma.shape[1]).T
    levels, place, counts = np.unique(np.rint(cells * (255 * _GRAIN)), return_inverse=True, return_counts=True)
    if len(levels) == 1:
        return 0
    ranks = (np.cumsum(counts) - (counts - 1) / 2)[place.reshape(cells.shape)]
    coefficients = _COSINES @ ranks @ _COSINES.T
    # Above dust: a mirrored picture has coefficients that are zero but for rounding.
    bits = [coefficients[row, column] > 1e-6 for row, column in _FREQUENCIES]
    return int.from_bytes(np.packbits(bits).tobytes(), "big")


def copies(mine: Fingerprints, others: Fingerprints) -> list[Copy]:
    """Pictures of mine that are among the others, each with the nearest of them.

    Low-light pictures and references stand against both of the other set, and the nearest counts. Memory does not grow
    with the product of the sizes.
    """
    if not len(others):
        return []
    same = {digest: row // 2 for row, digest in reversed(list(enumerate(others.prints["exact"].ravel().tolist())))}
    same.pop(bytes(16), None)
    here, there = _signs(mine.prints), _signs(others.prints)
    step = max(1, _BLOCK // len(others))
    found = []
    for start in range(0, len(mine), step):
        # Equal bits less unequal ones.
        agreement = reduce(np.maximum, (one[start : start + step] @ other.T for one in here for other in there))
        counts = (agreement >= BITS - 2 * NEAR).sum(axis=1).tolist()
        for place, (count, best) in enumerate(zip(counts, agreement.argmax(axis=1).tolist(), strict=True), start):
            equal = [same[one] for one in mine.prints["exact"][place].tolist() if one in same]
            if equal:
                found.append(Copy(mine.ids[place], others.ids[equal[0]], 0, True, max(count - 1, 0)))
            elif count:
                distance = int(BITS - agreement[place - start, best]) // 2
                found.append(Copy(mine.ids[place], others.ids[best], distance, False, count - 1))
    return found


def seen_in(training: Mapping[str, Any]) -> Fingerprints | None:
    """Pictures that weights were trained or validated on, by their metadata; None where nobody wrote them down.

    Those of the weights that the training began with are among them.
    """
    found: dict[int, Fingerprints] = {}
    step: Any = training
    while isinstance(step, Mapping) and step:
        known = Fingerprints.parse(step["seen"]) if "seen" in step else _remembered().get(str(step.get("files")))
        if known is not None:
            found[id(known)] = known
        step = step.get("start")
    return joined(list(found.values())) if found else None


def joined(parts: Sequence[Fingerprints]) -> Fingerprints:
    """The pictures of several sets, those that are the same in every bit once."""
    if len(parts) == 1:
        return parts[0]
    rows = dict.fromkeys(
        (name, row.tobytes()) for part in parts for name, row in zip(part.ids, part.prints, strict=True)
    )
    prints = np.frombuffer(b"".join(row for _, row in rows), PRINT).reshape(-1, 2)
    return Fingerprints(tuple(name for name, _ in rows), prints)


def remember(lists: Iterable[str], name: str, seen: Fingerprints, ledger: Path = LEDGER) -> None:
    """Write down that file lists (their digests, as in the weights' metadata) hold these pictures."""
    content = json.loads(ledger.read_text(encoding="utf-8")) if ledger.is_file() else {"lists": {}, "sets": {}}
    content["lists"].update(dict.fromkeys(lists, name))
    content["sets"][name] = seen.as_json()
    ledger.write_text(json.dumps(content, indent=1, sort_keys=True) + "\n", encoding="utf-8")


@cache
def _remembered() -> dict[str, Fingerprints]:
    """Fingerprints by the digest of the file list."""
    content = json.loads(LEDGER.read_text(encoding="utf-8"))
    sets = {name: Fingerprints.parse(stored) for name, stored in content["sets"].items()}
    return {digest: sets[name] for digest, name in content["lists"].items()}


@lru_cache(maxsize=64)
def _shares(side: int) -> NDArray[np.float64]:
    """(32, side): which share of each cell's mean every pixel of a line has; pixels on a border are divided."""
    edges = np.arange(_CELLS + 1)[:, None] * (side / _CELLS)
    pixels = np.arange(side)
    shares = np.minimum(pixels + 1, edges[1:]) - np.maximum(pixels, edges[:-1])
    clipped: NDArray[np.float64] = np.clip(shares, 0, None) * (_CELLS / side)
    return clipped


def _signs(prints: NDArray[np.void]) -> list[NDArray[np.float32]]:
    """(N, 64) of the low-light pictures, and of the references where there are any.

    1 and -1 for the bits, so that a product counts equal bits; 0 where there is nothing to compare.
    """
    found = []
    for hashes in np.ascontiguousarray(prints["perceptual"].T):
        bits = np.unpackbits(hashes.view(np.uint8).reshape(-1, 8), axis=1)
        found.append(np.where(hashes[:, None] != 0, bits * np.float32(2) - 1, np.float32(0)))
    return found if found[1].any() else found[:1]
