"""A lock keeps others out as long as its owner lives, and no longer."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from instant_soup.core.errors import StoreError
from instant_soup.store.locks import Locks

HOLDER = """
import sys, time
from pathlib import Path
from instant_soup.store.locks import Locks
with Locks(Path(sys.argv[1])).hold("it"):
    print("held", flush=True)
    time.sleep(60)
"""


@contextmanager
def holding(folder: Path) -> Iterator[subprocess.Popen[str]]:
    """Another process that holds the lock, or waits for it."""
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(folder)], stdout=subprocess.PIPE, text=True
    ) as process:
        yield process
        process.kill()


def line(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline()


@pytest.fixture
def holder(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """Another process that holds the lock."""
    with holding(tmp_path) as process:
        assert line(process) == "held\n"
        yield process


def test_what_another_process_holds_is_not_to_be_had_until_it_is_killed(
    tmp_path: Path, holder: subprocess.Popen[str]
) -> None:
    locks = Locks(tmp_path)
    assert locks.busy("it")
    with locks.attempt("it") as mine:
        assert not mine
    with locks.attempt("other") as mine:
        assert mine
    os.kill(holder.pid, signal.SIGKILL)
    began = time.monotonic()
    with locks.hold("it"):
        assert time.monotonic() - began < 30
    assert not locks.busy("it")


def test_holding_waits_for_who_holds(
    tmp_path: Path, holder: subprocess.Popen[str]
) -> None:
    with holding(tmp_path) as waiter:
        time.sleep(1.5)
        assert waiter.poll() is None
        holder.kill()
        assert line(waiter) == "held\n"


def test_a_process_may_take_its_own_lock_again_and_is_seen_to_hold_it_until_all_have_ended(
    tmp_path: Path,
) -> None:
    locks = Locks(tmp_path)
    with locks.hold("it"):
        with locks.attempt("it") as mine, Locks(tmp_path).hold("it"):
            assert mine
        assert locks.busy("it")
    assert not locks.busy("it")


def test_looking_whether_a_lock_is_held_makes_none(tmp_path: Path) -> None:
    assert not Locks(tmp_path / "nowhere").busy("it")
    assert not (tmp_path / "nowhere").exists()


def test_an_error_frees_the_lock(tmp_path: Path) -> None:
    locks = Locks(tmp_path)
    with pytest.raises(RuntimeError), locks.hold("it"):
        raise RuntimeError
    assert not locks.busy("it")


def test_a_folder_that_cannot_be_locked_in_is_a_store_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("", encoding="utf-8")
    for take in (
        Locks(tmp_path / "file" / "locks").hold,
        Locks(tmp_path / "file" / "locks").attempt,
    ):
        with (
            pytest.raises(StoreError, match=r"could not lock in .* choose a folder"),
            take("it"),
        ):
            pass
