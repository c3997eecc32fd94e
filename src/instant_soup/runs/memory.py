"""Memory: how much memory a run takes, known before it is begun."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from ..core.errors import StoreError
from ..models.text import PACKAGED, packaged
from ..recipes.recipe import Recipe
from ..store.record import read_run
from ..store.store import Store
from .plan import tensors

LIBRARIES = 2**30  # bytes of a process that has imported everything and loaded its data
SPARE = 1.1


def memory(recipe: Recipe, store: Store) -> int | None:
    """Bytes that a run of *recipe* takes at most: what others on its task took, or what its checkpoint lets expect.

    None for a checkpoint of the hub of which nothing was run yet.
    """
    peaks = list(_peaks_on(recipe, store))
    if peaks:
        return round(SPARE * max(peaks))

    model = recipe.task.model
    folder = packaged() if model == PACKAGED else Path(model)
    if not folder.is_dir():
        return None
    weights = 0
    for path in folder.glob("*.safetensors"):
        weights += path.stat().st_size
    if not weights:
        return None
    # as if all of it were trained and might be pruned
    averaged = weights if recipe.training.tail else 0
    return LIBRARIES + tensors(weights, weights, weights) + averaged


def _peaks_on(recipe: Recipe, store: Store) -> Iterator[int]:
    """Bytes that finished runs on the same task took; a record that cannot be read says nothing."""
    task = recipe.task.model_dump(mode="json")
    for cell in store.cells():
        if not cell.record.exists():
            continue
        with suppress(StoreError):
            record = read_run(cell.record)
            peak = record.memory.process
            # records of schema 1 and 2 say nothing of memory
            if peak is not None and record.recipe.task.facts() == task:
                yield peak
