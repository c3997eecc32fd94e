"""Demo: Instant Soup Pruning beside its reference and its rivals, on the packaged task."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

from ..recipes.recipe import Recipe
from ..store.record import Record
from ..store.store import Store
from ..tasks import CourseTask
from .run import Watch, budget_like, run

TASK = "demo/polarity"
TRAINING = {"rate": 5e-5, "batch": 32, "epochs": 3.0}
SOUP = {
    "name": "instant-soup",
    "denoisers": 4,
    "lookahead_steps": 10,
    "blend": "lookahead",
    "carry": "none",
    "finish": "rewind",
}
RIVALS: dict[str, dict[str, Any]] = {
    "dense": {"name": "dense"},
    "one-shot": {"name": "magnitude"},
    "progressive": {"name": "gradual", "mask_share": 0.2},
}


@dataclass(frozen=True)
class Row:
    """One line of the demo's table."""

    title: str
    recipe: Recipe
    record: Record


def recipe(method: dict[str, Any], sparsity: float, *, budget: float = 1.0, seed: int = 0) -> Recipe:
    """A recipe on the demo's task."""
    return Recipe.parse(
        {
            "task": {"name": TASK},
            "method": method,
            "sparsity": 0.0 if method["name"] == "dense" else sparsity,
            "training": TRAINING,
            "budget": budget,
            "seed": seed,
        },
        "demo",
    )


Begin = Callable[[str, Recipe, CourseTask], Watch]


def demo(sparsity: float, store: Store, begin: Begin) -> Iterator[Row]:
    """Run what the table shows, one line at a time: the rivals, ISP, and one-shot at ISP's whole cost."""
    plans = [(title, recipe(method, sparsity)) for title, method in RIVALS.items()]
    for title, wanted in [*plans, ("instant soup", recipe(SOUP, sparsity))]:
        row = Row(title, wanted, run(wanted, store, partial(begin, title, wanted)))
        yield row
    longer = recipe(RIVALS["one-shot"], sparsity, budget=budget_like(row.record))
    title = "one-shot, ISP's cost"
    yield Row(title, longer, run(longer, store, partial(begin, title, longer)))
