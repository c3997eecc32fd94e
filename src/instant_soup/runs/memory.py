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
    seen = list(_seen(recipe, store))
    if seen:
        return round(SPARE * max(seen))

    folder = packaged() if recipe.task.model == PACKAGED else Path(recipe.task.model)
    if not folder.is_dir():
        return None
    weights = sum(path.stat().st_size for path in folder.glob("*.safetensors"))
    # as if all of it were trained and might be pruned
    return LIBRARIES + tensors(weights, weights, weights) if weights else None


def _seen(recipe: Recipe, store: Store) -> Iterator[int]:
    """Bytes that finished runs on the same task took; a record that cannot be read says nothing."""
    task = recipe.task.model_dump(mode="json")
    for cell in store.cells():
        if not cell.record.exists():
            continue
        with suppress(StoreError):
            record = read_run(cell.record)
            if record.memory.process is not None and record.recipe.task.facts() == task:
                yield record.memory.process
