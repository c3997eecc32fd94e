from __future__ import annotations

import json
import runpy
from pathlib import Path
from typing import Any

import pytest

from instant_soup.core.agreement import Agreement
from instant_soup.evidence.agreement import Pair
from instant_soup.evidence.compare import compare
from instant_soup.evidence.comparison import Comparison
from instant_soup.evidence.runs import named
from instant_soup.store.plain import seal
from instant_soup.store.record import Record

ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="session")
def records() -> list[dict[str, Any]]:
    """Of two tasks, two sparsities, four methods and three seeds, with soups and one hostile name."""
    make = runpy.run_path(str(ROOT / "benchmarks" / "report_scale.py"))["record"]
    methods = [{"name": name} for name in ("magnitude", "random", "lth")] + [
        {"name": "instant-soup", "denoisers": 4}
    ]
    found = [
        make(task, sparsity, method, seed)
        for task in ("glue/sst2", "vision/mnist")
        for sparsity in (0.5, 0.7)
        for method in methods
        for seed in (0, 1, 2)
    ]
    found += [make("glue/sst2", 0.0, {"name": "dense"}, seed) for seed in (0, 1)]
    soup = make("glue/sst2", 0.0, {"name": "model-soup"}, 0)
    soup["ticket"]["notes"] = {
        "ingredients": [
            {"barrier": None, "taken": True, "validation": 0.8},
            {"barrier": -0.1, "taken": False, "validation": 0.7},
            {"barrier": 0.2, "share": 0.3, "validation": 0.75},
        ]
    }
    pool = make("glue/sst2", 0.5, {"name": "lottery-pools"}, 0)
    pool["ticket"]["notes"] = {
        "pool": [{"level": 1, "coefficient": 0.5, "validation": 0.8}]
    }
    return [*found, soup, pool, make("own <b>&task", 0.5, {"name": "magnitude"}, 0)]


@pytest.fixture(scope="session")
def found(records: list[dict[str, Any]]) -> Comparison:
    return compare(named(map(Record.model_validate, records)))


@pytest.fixture(scope="session")
def pairs() -> list[Pair]:
    alike = Agreement(50, 50, 30, 0.6, 0.4, 0.4, 0.3, 0.2, 0.25, 0.15)
    return [
        Pair("glue/sst2", 0.5, 0, one, "lth", alike)
        for one in ("instant-soup", "magnitude")
    ]


@pytest.fixture
def folder(tmp_path: Path, records: list[dict[str, Any]]) -> Path:
    for record in records:
        place = tmp_path / "runs" / record["key"][:16]
        place.mkdir(parents=True)
        (place / "record.json").write_text(json.dumps(seal(record)), encoding="utf-8")
    return tmp_path / "runs"
