"""How many threads a process computes with, on an idle and on a busy machine."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
import torch

from instant_soup.engine.threads import spare_threads, use_spare_threads


@pytest.fixture(autouse=True)
def threads() -> Iterator[None]:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize(
    ("cores", "load", "threads"),
    [
        (2, 0.1, 2),
        (2, 0.6, 1),
        (2, 1.0, 1),
        (2, 7.0, 1),
        (8, 0.0, 4),
        (8, 5.2, 3),
        (1, 0.0, 1),
    ],
)
def test_as_many_as_are_free_but_one_at_least(
    cores: int, load: float, threads: int
) -> None:
    assert spare_threads(cores, load) == threads


def test_a_busy_machine_gets_one_thread_and_what_the_user_says_goes_first(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(os, "getloadavg", lambda: (100.0, 0.0, 0.0))
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    torch.set_num_threads(2)
    assert use_spare_threads() == 2
    monkeypatch.delenv("OMP_NUM_THREADS")
    assert use_spare_threads() == 1
