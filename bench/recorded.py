"""A run's folder in, what two runs are compared by out: manifest, pictures, enhanced pictures and values."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

from bench.contracts import Column, Record
from bench.lineup import NO_ENHANCEMENT, digest_of
from bench.result import Gathered, gather
from bench.store import Store, StoreError

ALL = "all pictures"
"""Stands for an image where a score is one over all of them together."""


class Seen(NamedTuple):
    """One picture of a method in a column of one run."""

    image: str
    value: float | None
    """None where it failed."""
    content: str | None = None
    """Digest of the enhanced picture, None where it was not kept."""
    files: str | None = None
    """Digest of the sample's files."""
    low: str | None = None
    """Digest of the picture without enhancement, as the metrics saw it."""


@dataclass(frozen=True)
class Run:
    """A finished run, as it is compared."""

    folder: Path
    found: Gathered
    contents: Mapping[tuple[str, str], Mapping[str, str | None]]
    """Digest of each enhanced picture by its id, by (method, data set)."""

    @property
    def manifest(self) -> Mapping[str, Any]:
        """What was noted when it was made."""
        return self.found.manifest

    def images(self, dataset: str) -> Mapping[str, str]:
        """Digest of every picture's files by its id."""
        return dict(self.found.plan["images"][dataset])

    def lows(self, dataset: str) -> Mapping[str, str | None]:
        """Digest of every picture without enhancement."""
        return self.contents.get((NO_ENHANCEMENT, dataset), {})

    def values(self, method: str, column: Column) -> list[Seen] | str:
        """A method's pictures in a column, or the reason why it has none."""
        images, lows = self.images(column.dataset), self.lows(column.dataset)
        contents = self.contents.get((method, column.dataset), {})
        pool = self.found.pools.get((method, column))
        if pool is not None:
            score = float(pool.measured.statistic(pool.present[None])[0])
            value = None if math.isnan(score) else score
            made, low = (_together(each, images) for each in (contents, lows))
            return [Seen(ALL, value, made, digest_of(*images.values()), low)]
        records = self._records.get((method, column.dataset, column.protocol, column.metric), ())
        seen = [
            Seen(one.image, one.value, contents.get(one.image), images[one.image], lows.get(one.image))
            for one in records
        ]
        return seen or self.found.missing.get((method, column), "no picture was scored")

    @cached_property
    def _records(self) -> Mapping[tuple[str, str, str, str], Sequence[Record]]:
        by_place: dict[tuple[str, str, str, str], list[Record]] = {}
        for one in self.found.records:
            by_place.setdefault((one.method, one.dataset, one.protocol, one.metric), []).append(one)
        return by_place


def _together(contents: Mapping[str, str | None], images: Iterable[str]) -> str | None:
    """One digest over every picture that there is one of, None where one was not kept."""
    known = [contents[image] for image in images if image in contents]
    return digest_of(*(one for one in known if one)) if known and all(known) else None


def read(folder: Path) -> Run:
    """The run of a folder; raises FileNotFoundError, or ValueError where it is none or was not finished."""
    try:
        with Store(folder, readonly=True) as store:
            found = gather(store)
            contents = {
                (job["method"], job["dataset"]): {
                    image: one.content for (image, _), one in store.enhancements(job["key"]).items()
                }
                for job in found.plan["jobs"]
            }
    except StoreError as error:
        raise ValueError(str(error)) from error
    return Run(folder, found, contents)
