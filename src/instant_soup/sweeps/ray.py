"""Ray: a sweep on a cluster. Each run is a task with its needs declared; the store says what is done, as for any sweep.

Ray places the tasks and does again what dies with its node. What it forgets with the cluster is in the store: the same
command goes on from there, on another cluster too.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import ray
import torch
from ray.exceptions import RayError

from ..core.errors import StoreError
from ..engine.ray import connect, gpus, room
from ..engine.worker import compute
from ..recipes.grid import Wanted
from ..runs.memory import memory
from ..store.store import Store
from .processes import DEATHS
from .progress import Progress
from .sweep import PATIENCE, Sweep


def on_ray(sweep: Sweep, workers: int | None, address: str) -> Iterator[None]:
    """Let the Ray cluster at *address* carry out *sweep*; yields about once a second until nothing is left.

    Args:
        sweep: its store has to be the same folder on all nodes.
        workers: how many runs go on at a time; as many as there is room for if None.
        address: see `instant_soup.tasks.CourseTask.on`.

    Raises:
        StoreError: the store cannot be written.
        EngineError: there is no cluster, or no node has room for a run.
    """
    # tasks start in folders of their own, where a relative path means another place
    store = replace(sweep.store, folder=sweep.store.folder.resolve())
    sweep = replace(sweep, store=store)
    sweep.begin()
    ours = connect(address)
    try:
        yield from _carried_out(sweep, workers)
    finally:
        if ours:
            ray.shutdown()


def _carried_out(sweep: Sweep, workers: int | None) -> Iterator[None]:
    resources = _Resources(sweep.store)
    under_way: dict[Any, Wanted] = {}

    try:
        while True:
            waiting = [
                wanted for wanted in sweep.wanted if wanted not in under_way.values()
            ]
            states = {wanted.key: sweep.state(wanted) for wanted in waiting}
            if workers is not None:
                waiting = waiting[: max(0, workers - len(under_way))]

            for wanted in waiting:
                if states[wanted.key] in ("to do", "begun"):
                    task = resources.task_for(wanted)
                    reference = task.remote(
                        sweep.place, sweep.store, wanted.key, resources.cpus
                    )
                    under_way[reference] = wanted

            ended = all(state in ("done", "failed") for state in states.values())
            if ended and not under_way:
                return

            if under_way:
                over, _ = ray.wait(list(under_way), timeout=PATIENCE)
                for reference in over:
                    _end(sweep, under_way.pop(reference), reference)
            yield
    finally:
        for reference in under_way:
            # what it did since its last save is done again
            ray.cancel(reference, force=True)


def _end(sweep: Sweep, wanted: Wanted, reference: Any) -> None:
    """Take note of how a task ended. Raises StoreError where it could not write."""
    try:
        unusable = ray.get(reference)
    except RayError as error:
        known = sweep.ready(wanted) or wanted
        Progress.of(sweep.store, known.recipe).end()
        why = str(error).strip().splitlines()[0]
        sweep.note(
            sweep.store.cell(known.recipe),
            f"its worker was lost {DEATHS} times, or could not begin: {why}",
        )
    else:
        if unusable is not None:
            raise StoreError(unusable)


class _Resources:
    """What a run takes: as many CPUs as it has threads, a GPU where there are any, and memory where it is known."""

    def __init__(self, store: Store) -> None:
        self.cpus = torch.get_num_threads()
        self._store = store
        self._gpus = gpus()
        room(
            self.cpus, self._gpus
        )  # it refuses a cluster in which no run could ever start
        memories = [
            int(node["Resources"].get("memory", 0))
            for node in ray.nodes()
            if node["Alive"]
        ]
        self._most = max(memories)

    def task_for(self, wanted: Wanted) -> Any:
        """A task that does one run. It asks for no more memory than the largest node has, or it would wait forever."""
        estimate = memory(wanted.recipe, self._store)
        needed = {} if estimate is None else {"memory": min(estimate, self._most)}
        return ray.remote(_take).options(
            num_cpus=self.cpus,
            num_gpus=self._gpus,
            max_retries=DEATHS - 1,
            name=wanted.recipe.label,
            **needed,
        )


def _take(place: Path, store: Store, key: str, threads: int) -> str | None:
    """A task's work: one run. Why the store cannot be written, if it cannot."""
    compute(threads)
    sweep = Sweep.begun(place, store)
    wanted = next(wanted for wanted in sweep.wanted if wanted.key == key)
    try:
        sweep.take(wanted)
    except StoreError as error:
        # returned and not raised: Ray would do again what fails, and this would fail again
        return str(error)
    return None
