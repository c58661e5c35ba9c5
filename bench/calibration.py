"""Fixed work, timed in between a run's own, so that speeds measured on different machines can be compared."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch.nn import functional

from bench.store import Store

EVERY = 30.0
"""Seconds between two readings while a run is at work."""
FIRST = 3
"""Readings at the beginning, so that a short run has several."""
LONG_ENOUGH = 0.03
"""Seconds that each piece of work is repeated for: in shorter times a shared core is now fast, now half as fast."""
QUARTILES = (0.25, 0.5, 0.75)
NOTE = "calibration"
"""Name of the readings in a run's store."""

Reading = Mapping[str, float]
"""Seconds of each piece of work."""


@dataclass
class Yardsticks:
    """Three pieces of work that slow down for different reasons.

    `convolution` needs arithmetic and every thread, `memory` the memory's speed, `serial` one core alone. A machine
    with more cores shortens the first, not the last; a method is called slower only if it is slower by all three.
    """

    device: torch.device
    _due: float | None = None
    _work: Mapping[str, Callable[[], object]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        generator = torch.Generator().manual_seed(0)
        features = torch.rand(1, 32, 128, 128, generator=generator).to(self.device)
        weights = torch.rand(32, 32, 3, 3, generator=generator).to(self.device)
        picture = torch.rand(3, 1024, 1024, generator=generator).to(self.device)
        buffer = torch.empty_like(picture)
        values = picture.cpu().numpy().astype(np.float64).ravel()[: 1 << 20]
        sums = np.empty_like(values)
        self._work = {
            "convolution": lambda: functional.conv2d(features, weights, padding=1),
            # Into memory that is there already: new pages are a matter of the system's mood.
            "memory": lambda: torch.mul(picture, 0.5, out=buffer).add_(0.25).clamp_(0, 1),
            "serial": lambda: np.cumsum(values, out=sums),
        }

    def read(self) -> list[Reading]:
        """Readings, if some time has passed since the last; several if these are the first."""
        if self._due is not None and time.perf_counter() < self._due:
            return []
        if self._due is None:
            for work in self._work.values():
                work()  # the first use of a kernel is slower
        readings = [self._once() for _ in range(FIRST if self._due is None else 1)]
        self._due = time.perf_counter() + EVERY
        return readings

    def _once(self) -> Reading:
        return {name: self._timed(work) for name, work in self._work.items()}

    def _timed(self, work: Callable[[], object]) -> float:
        """Mean seconds of one repetition."""
        self._wait()
        begun, count, passed = time.perf_counter(), 0, 0.0
        while passed < LONG_ENOUGH:
            work()
            self._wait()
            count, passed = count + 1, time.perf_counter() - begun
        return passed / count

    def _wait(self) -> None:
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)


def keep(store: Store, readings: Sequence[Reading], device: torch.device) -> None:
    """Add readings to the store's; those of another device or number of threads are replaced."""
    if not readings:
        return
    setting = {"device": device.type, "threads": torch.get_num_threads()}
    before = store.noted(NOTE) or {}
    same = all(before.get(name) == value for name, value in setting.items())
    store.note(NOTE, {**setting, "readings": [*(before["readings"] if same else ()), *readings]})


def spread(readings: Sequence[Reading]) -> dict[str, list[float]]:
    """Quartiles of the seconds of each piece of work, lowest first; empty without readings."""
    names = readings[0] if readings else ()
    return {name: np.quantile([reading[name] for reading in readings], QUARTILES).tolist() for name in names}
