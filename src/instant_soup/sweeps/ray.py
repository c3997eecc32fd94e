"""Cluster: a sweep on Ray. Each run is a task with its needs declared; the store says what is done, as for any sweep.

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


def cluster(sweep: Sweep, workers: int | None, address: str) -> Iterator[None]:
    """Let the Ray cluster at *address* carry out *sweep*; yields about once a second until nothing is left.

    Args:
        sweep: its store has to be the same folder on all nodes.
        workers: how many runs go on at a time; as many as there is room for if None.
        address: see `instant_soup.tasks.CourseTask.on`.

    Raises:
        StoreError: the store cannot be written.
        EngineError: there is no cluster, or no node has room for a run.
    """
    sweep = replace(
        sweep, store=replace(sweep.store, folder=sweep.store.folder.resolve())
    )
    sweep.begin()
    ours = connect(address)
    try:
        yield from _carried_out(sweep, workers)
    finally:
        if ours:
            ray.shutdown()


def _carried_out(sweep: Sweep, workers: int | None) -> Iterator[None]:
    needs = _Needs(sweep.store)
    under_way: dict[Any, Wanted] = {}

    try:
        while True:
            left = [one for one in sweep.wanted if one not in under_way.values()]
            states = {one.key: sweep.state(one) for one in left}
            for one in (
                left if workers is None else left[: max(0, workers - len(under_way))]
            ):
                if states[one.key] in ("to do", "begun"):
                    under_way[
                        needs.declared(one).remote(
                            sweep.place, sweep.store, one.key, needs.cpus
                        )
                    ] = one
            if not under_way and all(
                state in ("done", "failed") for state in states.values()
            ):
                return
            over, _ = (
                ray.wait(list(under_way), timeout=PATIENCE) if under_way else ((), ())
            )
            for reference in over:
                _end(sweep, under_way.pop(reference), reference)
            yield
    finally:
        for reference in under_way:
            # what it did since its last save is done again
            ray.cancel(reference, force=True)


def _end(sweep: Sweep, one: Wanted, reference: Any) -> None:
    """Take note of how a task ended. Raises StoreError where it could not write."""
    try:
        if (unusable := ray.get(reference)) is not None:
            raise StoreError(unusable)
    except RayError as error:
        known = sweep.ready(one) or one
        Progress.of(sweep.store, known.recipe).end()
        why = str(error).strip().splitlines()[0]
        sweep.note(
            sweep.store.cell(known.recipe),
            f"its worker was lost {DEATHS} times, or could not begin: {why}",
        )


class _Needs:
    """What a run takes: as many CPUs as it has threads, a GPU where there are any, and memory where it is known."""

    def __init__(self, store: Store) -> None:
        self.cpus, self._store = torch.get_num_threads(), store
        self._gpus = gpus()
        room(self.cpus, self._gpus)
        self._most = max(
            int(node["Resources"].get("memory", 0))
            for node in ray.nodes()
            if node["Alive"]
        )

    def declared(self, one: Wanted) -> Any:
        """A task for *one*. It asks for no more memory than the largest node has, and so for all of that at most."""
        known = memory(one.recipe, self._store)
        needed = {} if known is None else {"memory": min(known, self._most)}
        return ray.remote(_take).options(
            num_cpus=self.cpus,
            num_gpus=self._gpus,
            max_retries=DEATHS - 1,
            name=one.recipe.label,
            **needed,
        )


def _take(place: Path, store: Store, key: str, threads: int) -> str | None:
    """A task's work: one run. Why the store cannot be written, if it cannot."""
    compute(threads)
    sweep = Sweep.begun(place, store)
    try:
        sweep.take(next(one for one in sweep.wanted if one.key == key))
    except StoreError as error:
        return str(error)
    return None
