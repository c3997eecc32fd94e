"""Processes: several workers on one sweep, each a process of its own, replaced when one is killed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from multiprocessing import get_context
from multiprocessing.context import SpawnProcess
from multiprocessing.queues import SimpleQueue
from pathlib import Path

import torch

from ..core.errors import StoreError
from ..engine.worker import settle, threads_of_libraries
from ..store.store import Store
from .progress import Progress
from .sweep import Sweep

DEATHS = 3  # workers that may die of one run before it counts as failed
_UNUSABLE = 2  # the exit status of a worker that could not write to the store


def by_processes(sweep: Sweep, workers: int) -> Iterator[None]:
    """Let *workers* processes carry out *sweep*; yields about once a second until nothing is left.

    Raises StoreError when the store cannot be written. However this ends, no worker is left behind.
    """
    sweep.begin()
    # spawned, for a fork of a process with threads of torch may hang
    context = get_context("spawn")
    errors = context.SimpleQueue()
    threads = max(1, torch.get_num_threads() // workers)
    deaths: Counter[Path] = Counter()

    def start() -> SpawnProcess:
        arguments = (sweep.place, sweep.store, threads, errors)
        process = context.Process(target=_work, args=arguments, daemon=True)
        with threads_of_libraries(threads):
            process.start()
        return process

    processes = [start() for _ in range(workers)]
    try:
        while processes:
            processes[0].join(1.0)
            for process in list(processes):
                if process.is_alive():
                    continue
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
    settle(threads)
    try:
        Sweep.begun(place, store).work()
    except StoreError as error:
        errors.put(str(error))
        raise SystemExit(_UNUSABLE) from None


def _blame(sweep: Sweep, process: SpawnProcess, deaths: Counter[Path]) -> None:
    """Count the death of a worker against the run that it was at; too many, and the run has failed."""
    for progress in Progress.all(sweep.store):
        if progress.read().get("pid") != process.pid:
            continue

        progress.end()
        deaths[progress.path] += 1
        recipe = sweep.wanted_by(progress.path.stem)
        if recipe and deaths[progress.path] >= DEATHS:
            why = f"its worker was killed {DEATHS} times; is there memory enough for it?"
            sweep.note(sweep.store.cell(recipe), why)
