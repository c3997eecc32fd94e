"""Demo of language models: the packaged SmolLM2 pruned to 2:4, and what that does to its perplexity."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

from ..data.language import PACKAGED
from ..recipes.recipe import Recipe
from ..store.store import Store
from .demo import Begin, Row
from .run import build, run

DATA: dict[str, Any] = {"window": 512, "windows": 8, "limit": 64, "validation": 0.02}
SAMPLES = 16
PATTERN = "2:4"
LINES: dict[str, dict[str, Any]] = {
    "dense": {"name": "dense"},
    "magnitude 2:4": {"name": "magnitude", "across": "layer", "pattern": PATTERN},
    "Wanda 2:4": {"name": "wanda", "samples": SAMPLES, "pattern": PATTERN},
}


def recipe(method: dict[str, Any], model: str = "packaged", seed: int = 0) -> Recipe:
    """A recipe on the packaged text that judges a ticket as it was drawn."""
    return Recipe.parse(
        {
            "task": {"name": PACKAGED, "model": model},
            "data": DATA,
            "method": method,
            "sparsity": 0.0 if method["name"] == "dense" else 0.5,
            "training": {"batch": 4, "steps": 100},
            "budget": 0.0,
            "seed": seed,
        },
        "demo",
    )


def demo_language(store: Store, begin: Begin, model: str = "packaged") -> Iterator[Row]:
    """Run what the table shows, one line at a time. The model is loaded once."""
    task = None
    for title, method in LINES.items():
        wanted = recipe(method, model)
        cell = store.cell(wanted)
        if task is None and not cell.record.is_file():
            task = build(wanted)
        loaded = task
        load = (lambda _, loaded=loaded: loaded) if loaded is not None else None
        yield Row(title, wanted, run(wanted, store, partial(begin, title, wanted), load))
