"""Small pictures on several processor cores: whole tasks side by side instead of every operation split."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import lru_cache
from typing import TypeVar

import torch
from torch import Tensor

Value = TypeVar("Value")

ENOUGH = 1 << 22
"""Pixels of a batch from which on torch may split its operations: each then takes milliseconds."""

_freed = threading.local()


@contextmanager
def unsplit(images: Tensor) -> Iterator[None]:
    """Keep each operation of the block in one thread where (N, C, H, W) is on the CPU and small.

    A metric is hundreds of operations of a tenth of a millisecond, and a split one ends with a wait for the slowest
    thread. With other programs on the machine that thread may be off its core for milliseconds: FSIM of one 600x400
    picture, then 35 ms in one thread, took 320 to 2060 split over two of two cores with a load of 4. The price is paid
    on an idle machine by what is not put side by side.
    """
    count, _, height, width = images.shape
    threads = torch.get_num_threads()
    if images.device.type != "cpu" or threads == 1 or count * height * width >= ENOUGH:
        yield
        return
    torch.set_num_threads(1)  # of the calling thread alone
    _freed.threads = threads
    try:
        yield
    finally:
        _freed.threads = 1
        torch.set_num_threads(threads)


def side_by_side(tasks: Sequence[Callable[[], Value]]) -> list[Value]:
    """The tasks' values in order; inside `unsplit` on as many threads as torch had, elsewhere one after the other."""
    threads = getattr(_freed, "threads", 1)
    if threads == 1 or len(tasks) == 1:
        return [task() for task in tasks]
    inference = torch.is_inference_mode_enabled()  # a new thread does not inherit it

    def run(task: Callable[[], Value]) -> Value:
        with torch.inference_mode(inference):
            return task()

    first, *others = tasks
    waiting = [_pool(threads - 1).submit(run, task) for task in others]
    return [first(), *(each.result() for each in waiting)]


@lru_cache(maxsize=1)
def _pool(threads: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(threads, "metrics", initializer=torch.set_num_threads, initargs=(1,))
