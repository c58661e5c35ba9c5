"""Work kept in one thread gives torch its threads back; tasks side by side keep their order."""

from __future__ import annotations

import pytest
import torch

from bench.metrics._threads import side_by_side, unsplit


@pytest.fixture(autouse=True)
def two_threads():
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


def test_a_small_batch_is_worked_on_in_one_thread_and_torch_gets_its_threads_back() -> None:
    with unsplit(torch.zeros(1, 3, 400, 600)):
        assert torch.get_num_threads() == 1
    assert torch.get_num_threads() == 2


def test_the_threads_come_back_after_an_error() -> None:
    with pytest.raises(ZeroDivisionError), unsplit(torch.zeros(1, 3, 8, 8)):
        raise ZeroDivisionError
    assert torch.get_num_threads() == 2


def test_a_large_batch_may_be_split() -> None:
    with unsplit(torch.zeros(1, 1, 1, 1).expand(2, 3, 2048, 2048)):
        assert torch.get_num_threads() == 2


def test_tasks_side_by_side_give_their_values_in_order() -> None:
    tasks = [lambda number=number: number * number for number in range(5)]
    assert side_by_side(tasks) == [0, 1, 4, 9, 16]
    with unsplit(torch.zeros(1, 3, 8, 8)):
        assert side_by_side(tasks) == [0, 1, 4, 9, 16]
