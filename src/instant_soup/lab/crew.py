"""Crew: several workers on one sweep, each a process of its own, replaced when one is killed."""

from __future__ import annotations

import os
import signal
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing import get_context, parent_process
from multiprocessing.context import SpawnProcess
from multiprocessing.queues import SimpleQueue
from pathlib import Path
from typing import Any

import torch

from ..core.errors import StoreError
from .memory import keep_freed_memory
from .progress import Progress
from .store import Cell, Store
from .sweep import Sweep

DEATHS = 3  # workers that may die of one run before it counts as failed
_UNUSABLE = 2
_THREADS = "OMP_NUM_THREADS"


def crew(sweep: Sweep, workers: int) -> Iterator[None]:
    """Let *workers* processes carry out *sweep*; yields about once a second until nothing is left.

    Raises StoreError when the store cannot be written. However this ends, no worker is left behind.
    """
    sweep.begin()
    context, errors = get_context("spawn"), get_context("spawn").SimpleQueue()
    threads = max(1, torch.get_num_threads() // workers)
    deaths: Counter[Path] = Counter()

    def start() -> SpawnProcess:
        process = context.Process(target=_work, args=(sweep.place, sweep.store, threads, errors), daemon=True)
        with _environment(threads):
            process.start()
        return process

    processes = [start() for _ in range(workers)]
    try:
        while processes:
            processes[0].join(1.0)
            for process in [one for one in processes if not one.is_alive()]:
                processes.remove(process)
                if process.exitcode == _UNUSABLE:
                    raise StoreError(errors.get())
                if process.exitcode:
                    _blame(sweep, process, deaths)
                    processes.append(start())
            yield
    finally:
        for process in processes:
            process.kill()  # what it did since its last save is done again
        for process in processes:
            process.join()


def _work(place: Path, store: Store, threads: int, errors: SimpleQueue[str]) -> None:
    """A worker's life. It ends with its parent."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent hears it too, and ends its workers
    threading.Thread(target=_end_with_parent, daemon=True).start()
    keep_freed_memory()
    torch.set_num_threads(threads)
    try:
        Sweep.begun(place, store).work()
    except StoreError as error:
        errors.put(str(error))
        raise SystemExit(_UNUSABLE) from None


def _end_with_parent() -> None:
    if (parent := parent_process()) is not None:
        parent.join()
        os._exit(1)


def _blame(sweep: Sweep, process: SpawnProcess, deaths: Counter[Path]) -> None:
    """Count the death of a worker against the run that it was at; too many, and the run has failed."""
    for path in (sweep.store.folder / "locks").glob("*.json"):
        progress = Progress(path)
        if progress.read().get("pid") == process.pid:
            progress.end()
            deaths[path] += 1
            if deaths[path] >= DEATHS:
                cell = Cell(sweep.store.folder / path.stem)
                sweep.note(cell, f"its worker was killed {DEATHS} times; is there memory enough for it?")


@contextmanager
def _environment(threads: int) -> Iterator[None]:
    """Threads as libraries read them when they are loaded."""
    before: Any = os.environ.get(_THREADS)
    os.environ[_THREADS] = str(threads)
    try:
        yield
    finally:
        if before is None:
            del os.environ[_THREADS]
        else:
            os.environ[_THREADS] = before
