"""A run's records in columns: a record is made when it is looked at, so that millions of them take little memory."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import overload

import numpy as np
from numpy.typing import NDArray

from bench.contracts import Record
from bench.store import Score


@dataclass(frozen=True, slots=True)
class Cell:
    """What one method has under one metric on one data set; N pictures, NaN where there is nothing."""

    method: str
    dataset: str
    protocol: str
    metric: str
    images: tuple[str, ...]
    """Of the data set, which cells share."""
    places: NDArray[np.int64]
    """(N,): which of the images."""
    numbers: NDArray[np.float64]
    """(3, N): value, seconds, caveat."""
    errors: Mapping[int, str]
    """Why there is no value, by position among the N."""

    @classmethod
    def of(
        cls, method: str, dataset: str, protocol: str, metric: str, images: tuple[str, ...], scores: Mapping[int, Score]
    ) -> Cell:
        """Scores by the place of their picture among the images."""
        numbers = [(one.value, one.seconds, one.caveat) for one in scores.values()]
        return cls(
            method=method,
            dataset=dataset,
            protocol=protocol,
            metric=metric,
            images=images,
            places=np.fromiter(scores, dtype=np.int64, count=len(scores)),
            numbers=np.array(numbers, dtype=np.float64).reshape(-1, 3).T.copy(),
            errors={at: one.error for at, one in enumerate(scores.values()) if one.error is not None},
        )

    def record(self, at: int) -> Record:
        """The record of the picture in position `at`."""
        value, seconds, caveat = (None if number != number else float(number) for number in self.numbers[:, at])
        image = self.images[self.places[at]]
        return Record(
            self.method, self.dataset, self.protocol, image, self.metric, value, self.errors.get(at), seconds, caveat
        )

    def __iter__(self) -> Iterator[Record]:
        """Every record, which is faster than one by one."""
        rows = zip(self.places.tolist(), *self.numbers.tolist(), strict=True)
        for at, (place, value, seconds, caveat) in enumerate(rows):
            yield Record(
                self.method,
                self.dataset,
                self.protocol,
                self.images[place],
                self.metric,
                value if value == value else None,
                self.errors.get(at),
                seconds if seconds == seconds else None,
                caveat if caveat == caveat else None,
            )


class Records(Sequence[Record]):
    """Cells one after the other, then records as they are."""

    def __init__(self, cells: Iterable[Cell], others: Iterable[Record] = ()) -> None:
        """Take the cells in the order of their records."""
        self._cells = [cell for cell in cells if len(cell.places)]
        self._others = list(others)
        self._ends = list(accumulate(len(cell.places) for cell in self._cells))

    def __len__(self) -> int:
        """How many records there are."""
        return (self._ends[-1] if self._ends else 0) + len(self._others)

    def __iter__(self) -> Iterator[Record]:
        """Every record, made on the way."""
        for cell in self._cells:
            yield from cell
        yield from self._others

    @overload
    def __getitem__(self, index: int) -> Record: ...
    @overload
    def __getitem__(self, index: slice) -> list[Record]: ...
    def __getitem__(self, index: int | slice) -> Record | list[Record]:
        """A record by its position."""
        if isinstance(index, slice):
            return [self[at] for at in range(*index.indices(len(self)))]
        at = range(len(self))[index]
        cell = bisect_right(self._ends, at)
        start = self._ends[cell - 1] if cell else 0
        return self._cells[cell].record(at - start) if cell < len(self._cells) else self._others[at - start]
