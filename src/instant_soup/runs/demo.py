"""Demo: Instant Soup Pruning beside the dense model and one-shot pruning, at equal steps, on the packaged task."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

from ..recipes.recipe import Recipe
from ..store.record import Record
from ..store.store import Store
from ..tasks import CourseTask
from .run import Watch, run

TASK = "demo/polarity"
TRAINING = {"rate": 2e-4, "batch": 64, "steps": 100, "line": "flat"}
SOUP = {"name": "instant-soup", "lookahead_steps": 5}
RIVALS: dict[str, dict[str, Any]] = {
    "dense": {"name": "dense"},
    "one-shot": {"name": "magnitude"},
}


@dataclass(frozen=True)
class Row:
    """One line of the demo's table."""

    title: str
    recipe: Recipe
    record: Record


def recipe(method: dict[str, Any], sparsity: float, *, seed: int = 0) -> Recipe:
    """A recipe on the demo's task."""
    fields = {
        "task": {"name": TASK},
        "method": method,
        "sparsity": 0.0 if method["name"] == "dense" else sparsity,
        "training": TRAINING,
        "seed": seed,
    }
    return Recipe.parse(fields, "demo")


Begin = Callable[[str, Recipe, CourseTask], Watch]


def demo(sparsity: float, store: Store, begin: Begin) -> Iterator[Row]:
    """Run what the table shows, one line at a time: the dense model, one-shot and ISP, each with as many steps."""
    lines = {**RIVALS, "instant soup": SOUP}
    # all of them before any is run, so that a sparsity that cannot be is refused at once
    recipes = {title: recipe(method, sparsity) for title, method in lines.items()}

    for title, line in recipes.items():
        record = run(line, store, partial(begin, title, line))
        yield Row(title, line, record)
