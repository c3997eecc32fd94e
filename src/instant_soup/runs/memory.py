"""Needs: how much memory a run takes, known before it is begun."""

from __future__ import annotations

from pathlib import Path

from ..models.text import PACKAGED, packaged
from ..recipes.recipe import Recipe
from ..store.plain import read_json
from ..store.store import Store
from .plan import tensors

LIBRARIES = 2**30  # bytes of a process that has imported everything and loaded its data
SPARE = 1.1


def memory(recipe: Recipe, store: Store) -> int | None:
    """Bytes that a run of *recipe* takes at most: what others on its task took, or what its checkpoint lets expect.

    None for a checkpoint of the hub of which nothing was run yet.
    """
    seen = [
        int(record["memory"]["process"])
        for cell in store.cells()
        if cell.record.exists() and (record := read_json(cell.record))["recipe"]["task"] == _task(recipe)
    ]
    if seen:
        return round(SPARE * max(seen))
    folder = packaged() if recipe.task.model == PACKAGED else Path(recipe.task.model)
    weights = sum(path.stat().st_size for path in folder.glob("*.safetensors")) if folder.is_dir() else 0
    return LIBRARIES + tensors(weights, weights, weights) if weights else None


def _task(recipe: Recipe) -> object:
    return recipe.model_dump(mode="json")["task"]
