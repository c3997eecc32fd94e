"""Records as runs leave them, for tests of what reads records: as plain data, to be changed before it is typed."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from typing import Any

from instant_soup.evidence import runs
from instant_soup.evidence.runs import Run
from instant_soup.store.record import Record, upgraded

FULL = {"steps": 100, "examples": 1000, "passes": 3000}


def typed(facts: dict[str, Any]) -> Record:
    """Plain data as a record."""
    return Record.model_validate(upgraded(facts))


def named(records: Iterable[dict[str, Any]]) -> list[Run]:
    """Runs of plain data."""
    return runs.named(map(typed, records))


def work(steps: int, passes: int) -> dict[str, int]:
    return {
        "steps": steps,
        "examples": passes // 3,
        "passes": passes,
        "flops": 1000 * passes,
    }


def record(
    method: str = "magnitude",
    figure: float = 0.8,
    *,
    seed: int = 0,
    sparsity: float = 0.5,
    task: str = "glue/sst2",
    control: str | None = None,
    budget: float = 1.0,
    ahead: float = 0.0,
    draw: float = 0.0,
    old: bool = False,
    metric: str = "accuracy",
    validation: float | None = None,
    tested: int = 1000,
    knobs: dict[str, Any] | None = None,
    at: str = "2026-11-24T10:00:00+00:00",
) -> dict[str, Any]:
    """A record. *draw* and *ahead* are what drawing costs in T, by training and by looking ahead."""
    recipe = {
        "task": {"name": task}, "data": {}, "training": {"batch": 10}, "method": {"name": method, **(knobs or {})},
        "sparsity": sparsity, "seed": seed, "budget": budget, "control": control,
    }  # fmt: skip
    stages = {
        "draw": {
            **({"train": work(int(100 * draw), int(3000 * draw))} if draw else {}),
            **(
                {"look-ahead": work(int(100 * ahead), int(3000 * ahead))} if ahead else {}
            ),
        },
        "train": {
            "train": work(int(100 * budget), int(3000 * budget)),
            "select": {"steps": 0, "examples": 60, "passes": 60, "flops": 60_000},
            "test": {
                "steps": 0,
                "examples": tested,
                "passes": tested,
                "flops": 1000 * tested,
            },
        },
    }
    clock: dict[str, Any] = {
        stage: {name: one["passes"] / 100 for name, one in of.items()}
        for stage, of in stages.items()
    }
    nothing = {"steps": 0, "examples": 0, "passes": 0, "flops": 0}
    return {
        "schema": 2 if old else 4,
        "key": hashlib.sha256(json.dumps([recipe, at, figure], sort_keys=True).encode()).hexdigest(),
        "recipe": recipe,
        "ticket": {
            "digest": "d", "mask": "m", "base": {"name": "packaged", "digest": "b"}, "kept": 50, "prunable": 100,
            "parameters": 200, "sparsity": 0.5, "notes": {}, "layers": {},
        },
        "metric": metric,
        "test": {metric: figure},
        # selection goes by what is higher where it is better, so records hold minus a perplexity
        "validation": validation if validation is not None else (-figure if metric == "perplexity" else figure),
        "cost": {
            **stages, "multiple_of_T": budget + ahead + draw + 0.02, "full_fine_tune": FULL, "reused": nothing,
            "total": work(int(100 * (budget + ahead + draw)), int(3000 * (budget + ahead + draw))),
        },
        "seconds": {"draw": 1.0, "train": 2.0},
        "clock": {} if old else {**clock, "reused": 0.0},
        "memory": {} if old else {"process": 2**30},
        "examples": {"train": 1000, "validation": 60, "test": tested},
        "made": {"at": at},
    }  # fmt: skip


def moved(
    source: str, target: str, figure: float, *, seed: int = 0, **changes: Any
) -> dict[str, Any]:
    """A record of a transfer; *changes* are of the target's recipe."""
    made = record("instant-soup", figure, task=target, seed=seed)
    asked = record("instant-soup", task=source, seed=seed)
    origin = {
        "recipe": asked["recipe"], "key": asked["key"], "ticket": "d", "sparsity": 0.5,
        "base": {"name": "packaged", "digest": "b"}, "method": {"name": "instant-soup"},
    }  # fmt: skip
    recipe = {**made["recipe"], **changes}
    facts = {
        **made, "schema": 1, "key": f"{source} {target} {seed} {changes}", "recipe": recipe, "source": origin,
        "fit": {"same_base": True, "counts": {}, "rows": []}, "seconds": 2.0, "clock": {"train": 2.0},
    }  # fmt: skip
    del facts["cost"]["draw"], facts["cost"]["reused"]
    return facts
