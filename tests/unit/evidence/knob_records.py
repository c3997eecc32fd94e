"""Plain records to be written, typed and damaged."""

from __future__ import annotations

import json
from typing import Any


def record(
    method: str = "magnitude", *, seed: int = 0, budget: float = 1.0, **changes: Any
) -> dict[str, Any]:
    """A record of schema 3 as a run leaves it, as plain data.

    *changes* are knobs, or fields of the recipe by their path.
    """
    knobs = {name: value for name, value in changes.items() if "__" not in name}
    recipe: dict[str, Any] = {
        "task": {"name": "mine", "model": "packaged", "columns": []},
        "method": {"name": method, **knobs},
        "sparsity": 0.5,
        "data": {"folder": "here", "limit": None},
        "training": {"steps": 10},
        "budget": budget,
        "seed": seed,
        "control": None,
    }
    for path, value in changes.items():
        if "__" in path:
            table, field = path.split("__")
            recipe[table] = (
                {**recipe[table], field: value} if table in recipe and field else value
            )
    cost = {"steps": 10, "examples": 80, "passes": 240, "flops": 1000}
    return {
        "schema": 3,
        "key": f"{method}{seed}{budget}{json.dumps(changes, sort_keys=True)}",
        "recipe": recipe,
        "ticket": {
            "digest": "d",
            "mask": "m",
            "base": {"name": "packaged", "digest": "b"},
            "kept": 5,
            "prunable": 10,
            "parameters": 20,
            "sparsity": 0.5,
            "layers": {"a": [5, 10]},
            "notes": {},
        },
        "metric": "accuracy",
        "test": {"accuracy": 0.5},
        "validation": 0.6,
        "cost": {
            "multiple_of_T": 1.0,
            "total": cost,
            "full_fine_tune": {"steps": 10, "examples": 80, "passes": 240},
            "draw": {},
            "train": {"train": cost},
            "reused": {"steps": 0, "examples": 0, "passes": 0, "flops": 0},
        },
        "seconds": {"draw": 1.0, "train": 2.0},
        "clock": {"draw": {}, "train": {"train": 2.0}, "reused": 0.5},
        "memory": {"process": 100},
        "examples": {"train": 8, "validation": 2, "test": 4},
        "made": {"at": "2026-01-01T00:00:00+00:00"},
    }
