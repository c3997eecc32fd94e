"""Processes: several workers on one sweep, each a process of its own, replaced when one is killed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from multiprocessing import get_context
from multiprocessing.context import SpawnProcess
from multiprocessing.queues import SimpleQueue
from pathlib import Path

import torch

from ..core.errors import EngineError, StoreError
from ..engine.child import child
from ..engine.worker import compute, threads_of_libraries
from ..store.store import Store
from .progress import Progress
from .sweep import Sweep

DEATHS = 3  # workers that may die of one run before it counts as failed
_UNUSABLE = 2  # the exit status of a worker that could not write to the store


def by_processes(sweep: Sweep, workers: int) -> Iterator[None]:
    """Let *workers* processes carry out *sweep*; yields about once a second until nothing is left.

    Raises StoreError when the store cannot be written, EngineError when no worker can begin. However this ends, no
    worker is left behind.
    """
    sweep.begin()
    errors = get_context("spawn").SimpleQueue()
    threads = max(1, torch.get_num_threads() // workers)
    deaths: Counter[Path] = Counter()
    idle_deaths = 0  # in a row, of workers that were at no run

    def start() -> SpawnProcess:
        store = sweep.store
        arguments = (sweep.place, store.folder, store.save_every, threads, errors)
        process = child(_work, *arguments)
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
                    blamed = _blame(sweep, process, deaths)
                    idle_deaths = 0 if blamed or _at_work(sweep) else idle_deaths + 1
                    _refuse_idle_deaths(idle_deaths, process, workers)
                    processes.append(start())
            yield
    finally:
        for process in processes:
            process.kill()  # what it did since its last save is done again
        for process in processes:
            process.join()


def _work(
    place: Path,
    folder: Path,
    save_every: float,
    threads: int,
    errors: SimpleQueue[str],
) -> None:
    """A worker's life."""
    compute(threads)
    try:
        Sweep.begun(place, Store(folder, save_every)).work()
    except StoreError as error:
        errors.put(str(error))
        raise SystemExit(_UNUSABLE) from None


def _at_work(sweep: Sweep) -> bool:
    """Whether somebody is at one of the runs that *sweep* asks for."""
    return any(sweep.state(wanted) == "running" for wanted in sweep.wanted)


def _refuse_idle_deaths(idle_deaths: int, process: SpawnProcess, workers: int) -> None:
    """Raise EngineError where workers only die, and no run is to blame: the next would die too."""
    if idle_deaths >= DEATHS * workers:
        raise EngineError(
            f"{idle_deaths} workers in a row died before they took a run, the last with exit code {process.exitcode}; "
            f"does the script that starts them guard its main part, and is there memory enough?"
        )


def _blame(sweep: Sweep, process: SpawnProcess, deaths: Counter[Path]) -> bool:
    """Count the death of a worker against the run that it was at; too many, and the run has failed.

    Whether it was at one.
    """
    blamed = False
    for progress in Progress.all(sweep.store):
        if progress.read().get("pid") != process.pid:
            continue

        blamed = True
        progress.end()
        deaths[progress.path] += 1
        recipe = sweep.wanted_by(progress.path.stem)
        if recipe and deaths[progress.path] >= DEATHS:
            why = f"its worker was killed {DEATHS} times; is there memory enough for it?"
            sweep.note(sweep.store.cell(recipe), why)
    return blamed
