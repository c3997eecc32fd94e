"""Demo of language models: the packaged SmolLM2 pruned to 2:4, and what that does to its perplexity."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

from ..data.known_texts import PACKAGED
from ..recipes.recipe import Recipe
from ..store.store import Store
from ..tasks import CourseTask
from .demo import Begin, Row
from .run import build, run

DATA: dict[str, Any] = {
    "window": 512,
    "windows": 8,
    "limit": 64,
    "validation": 0.02,
}
SAMPLES = 16
PATTERN = "2:4"
LINES: dict[str, dict[str, Any]] = {
    "dense": {"name": "dense"},
    "magnitude 2:4": {"name": "magnitude", "across": "layer", "pattern": PATTERN},
    "Wanda 2:4": {"name": "wanda", "samples": SAMPLES, "pattern": PATTERN},
}


def recipe(method: dict[str, Any], model: str = "packaged", seed: int = 0) -> Recipe:
    """A recipe on the packaged text that judges a ticket as it was drawn."""
    fields = {
        "task": {"name": PACKAGED, "model": model},
        "data": DATA,
        "method": method,
        "sparsity": 0.0 if method["name"] == "dense" else 0.5,
        "training": {"batch": 4, "steps": 100},
        "budget": 0.0,
        "seed": seed,
    }
    return Recipe.parse(fields, "demo")


def demo_language(store: Store, begin: Begin, model: str = "packaged") -> Iterator[Row]:
    """Run what the table shows, one line at a time. The model is loaded once."""
    task = None
    for title, method in LINES.items():
        line = recipe(method, model)
        # what is done is read back without the model, which takes long to load
        recorded = store.cell(line).record.is_file()
        if task is None and not recorded:
            task = build(line)

        # all lines are of one task, so what was loaded for the first serves the others
        load = None if task is None else partial(_loaded, task)
        record = run(line, store, partial(begin, title, line), load)
        yield Row(title, line, record)


def _loaded(task: CourseTask, recipe: Recipe) -> CourseTask:
    """*task*, whatever *recipe* is to be loaded for."""
    del recipe
    return task
