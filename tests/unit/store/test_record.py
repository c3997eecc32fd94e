"""Records of any schema are read as today's, and named by what sets them apart."""

from __future__ import annotations

import json
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest

from instant_soup.core.errors import StoreError
from instant_soup.store import record as records
from instant_soup.store.record import Run, named, read, seal, sealed

RESULTS = Path(__file__).parents[3] / "results"


def record(method: str = "magnitude", *, seed: int = 0, budget: float = 1.0, **changes: Any) -> dict[str, Any]:
    """A record of schema 3 as a run leaves it; *changes* are knobs, or fields of the recipe by their path."""
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
            recipe[table] = {**recipe[table], field: value} if table in recipe and field else value
    cost = {"steps": 10, "examples": 80, "passes": 240, "flops": 1000}
    return {
        "schema": 3,
        "key": f"{method}{seed}{budget}{json.dumps(changes, sort_keys=True)}",
        "recipe": recipe,
        "ticket": {"digest": "d", "mask": "m", "kept": 5, "prunable": 10, "layers": {"a": [5, 10]}, "notes": {}},
        "metric": "accuracy",
        "test": {"accuracy": 0.5},
        "validation": 0.6,
        "cost": {
            "multiple_of_T": 1.0,
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


def methods(*found: dict[str, Any]) -> dict[str, str]:
    return {run.key: run.method for run in named(found)}


def test_the_most_frequent_variant_has_the_plain_name_and_the_others_say_what_differs() -> None:
    usual = [record("snip", seed=seed, size=1, kind="a") for seed in range(3)]
    other = record("snip", size=2, kind="a")
    found = methods(*usual, other)
    assert {found[one["key"]] for one in usual} == {"snip"}
    assert found[other["key"]] == "snip (size=2)"


def test_a_knob_that_is_on_is_said_by_its_name() -> None:
    found = methods(record("grasp", absolute=False), record("grasp", absolute=True))
    assert sorted(found.values()) == ["grasp", "grasp (absolute)"]


def test_one_budget_for_each_run_is_longer_however_many_they_are() -> None:
    """Otherwise each would be a line of its own, and the longer runs could take the plain one's name."""
    longer = [record(seed=seed, budget=1.6 + seed / 100) for seed in range(3)]
    plain = record(seed=7)
    found = methods(*longer, plain)
    assert {found[one["key"]] for one in longer} == {"magnitude (longer)"}
    assert found[plain["key"]] == "magnitude"


def test_budgets_that_were_swept_are_lines_of_their_own() -> None:
    found = methods(*(record(budget=budget) for budget in (1.0, 2.0, 4.0)))
    assert sorted(found.values()) == ["magnitude", "magnitude (budget=2.0)", "magnitude (budget=4.0)"]


def test_a_task_that_is_there_twice_is_told_apart_by_how_it_is_trained() -> None:
    found = named([record(), record("snip"), record(training__steps=20)])
    assert sorted({run.task for run in found}) == ["mine", "mine (steps=20)"]


def test_another_seed_is_no_other_task() -> None:
    assert {run.task for run in named([record(), record(seed=1)])} == {"mine"}


def test_a_run_says_what_its_record_says() -> None:
    run = named([record()])[0]
    assert (run.figure, run.validation, run.cost, run.memory) == (0.5, 0.6, 1.0, 100)
    assert run.seconds == 3.0
    assert run.reused_seconds == 0.5
    assert run.layers == {"a": (5, 10)}
    assert run.bill["train"]["train"]["passes"] == run.full["passes"] == 240
    assert run.clock["train"] == {"train": 2.0}


# files


def test_every_committed_record_is_read_whatever_its_schema() -> None:
    found = {record["schema"] for path in records.paths(RESULTS) if (record := read(path))}
    assert {1, 2} <= found
    runs = records.collect(RESULTS)
    assert len(runs) == len({run.key for run in runs}) > 60
    assert all(isinstance(run, Run) and run.metric in run.test for run in runs)


def test_what_is_no_record_is_passed_over(tmp_path: Path) -> None:
    for name, content in {"agreement.json": {"a": {}}, "list.json": [], "draw.json": {"bill": {}}}.items():
        (tmp_path / name).write_text(json.dumps(content), encoding="utf-8")
    (tmp_path / "quarantine").mkdir()
    (tmp_path / "quarantine" / "record.json").write_text(json.dumps(record("snip")), encoding="utf-8")
    (tmp_path / "one.json").write_text(json.dumps(record()), encoding="utf-8")
    assert [run.method for run in records.collect(tmp_path)] == ["magnitude"]


def test_a_record_from_the_future_is_refused(tmp_path: Path) -> None:
    (tmp_path / "one.json").write_text(json.dumps({**record(), "schema": 99}), encoding="utf-8")
    with pytest.raises(StoreError, match=r"one\.json is of schema 99; this version reads 1 to 4; update instant-soup"):
        records.collect(tmp_path)


def test_a_damaged_record_is_named(tmp_path: Path) -> None:
    (tmp_path / "one.json").write_text('{"schema": 3', encoding="utf-8")
    with pytest.raises(StoreError, match=r"could not read .*one\.json .*doctor"):
        records.collect(tmp_path)


@pytest.mark.parametrize("there", [True, False])
def test_a_folder_without_records_says_so(tmp_path: Path, there: bool) -> None:
    folder = tmp_path if there else tmp_path / "nowhere"
    with pytest.raises(StoreError, match="holds no record" if there else "no folder at"):
        records.collect(folder)


# checksums


def test_a_sealed_record_is_known_as_sealed_until_anything_changes() -> None:
    whole = seal(record())
    assert sealed(whole)
    assert seal(whole) == whole
    for name in whole:
        changed = deepcopy(whole)
        changed[name] = "other"
        assert not sealed(changed), name
        del changed[name]
        assert not sealed(changed), name
    assert not sealed(record())
