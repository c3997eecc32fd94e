"""Runs are named by what sets them apart; damaged records are named and put aside, and the others go on."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from instant_soup.core.errors import StoreError
from instant_soup.evidence import runs as records
from instant_soup.evidence.runs import Run
from instant_soup.store.plain import seal
from instant_soup.store.record import paths, read

from .knob_records import record
from .made_records import named

RESULTS = Path(__file__).parents[3] / "results"


def methods(*found: dict[str, Any]) -> dict[str, str]:
    return {run.key: run.method for run in named(found)}


def test_the_most_frequent_variant_has_the_plain_name_and_the_others_say_what_differs() -> (
    None
):
    usual = [record("snip", seed=seed, size=1, kind="a") for seed in range(3)]
    other = record("snip", size=2, kind="a")
    found = methods(*usual, other)
    assert {found[one["key"]] for one in usual} == {"snip"}
    assert found[other["key"]] == "snip (size=2)"


def test_of_many_knobs_the_first_are_named_and_the_rest_counted() -> None:
    usual = [record("snip", seed=seed, a=1, b=1, c=1, d=1, e=1) for seed in range(3)]
    other = record("snip", budget=2.0, a=2, b=2, c=2, d=2, e=2)
    assert (
        methods(*usual, other)[other["key"]] == "snip (a=2, b=2, c=2, 2 more, budget=2.0)"
    )


def test_all_knobs_are_named_where_those_left_out_are_all_that_sets_two_apart() -> None:
    usual = [record("snip", seed=seed, a=1, b=1, c=1, d=1, e=1) for seed in range(3)]
    first, second = (record("snip", a=2, b=2, c=2, d=2, e=value) for value in (2, 3))
    names = methods(*usual, first, second)
    assert names[first["key"]] == "snip (a=2, b=2, c=2, d=2, e=2)"
    assert names[second["key"]] == "snip (a=2, b=2, c=2, d=2, e=3)"


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
    assert sorted(found.values()) == [
        "magnitude",
        "magnitude (budget=2.0)",
        "magnitude (budget=4.0)",
    ]


def test_a_task_that_is_there_twice_is_told_apart_by_how_it_is_trained() -> None:
    found = named([record(), record("snip"), record(training__steps=20)])
    assert sorted({run.task for run in found}) == ["mine", "mine (steps=20)"]


@pytest.mark.parametrize(
    ("field", "value", "title"),
    [
        ("data__limit", 1000, "mine (limit=1000)"),
        ("training__steps", None, "mine (no steps)"),
        ("data__windows", 24, "mine (windows=24)"),
        ("training__tail", 0.2, "mine (tail=0.2)"),
        ("training__line", "flat", "mine (line=flat)"),
    ],
)
def test_what_one_run_sets_and_the_others_leave_unset_tells_tasks_apart(
    field: str, value: Any, title: str
) -> None:
    """All of the data and a thousand of it are no seeds of one line."""
    usual = [record(seed=seed) for seed in range(3)]
    other = record(seed=3, **{field: value})
    tasks = {run.key: run.task for run in named([*usual, other])}
    assert {tasks[facts["key"]] for facts in usual} == {"mine"}
    assert tasks[other["key"]] == title


def test_epochs_say_nothing_where_t_is_given_in_steps() -> None:
    found = named([record(training__epochs=3.0), record(seed=1, training__epochs=2.0)])
    assert {run.task for run in found} == {"mine"}


def test_fields_that_came_later_tell_no_tasks_apart_while_they_are_unset() -> None:
    old = record(seed=0)
    new = record(seed=1, data__window=None, data__windows=None, data__test=None)
    newer = record(seed=2, training__tail=None, training__line="linear", task__classes=[])
    assert {run.task for run in named([old, new, newer])} == {"mine"}


def test_another_seed_is_no_other_task() -> None:
    assert {run.task for run in named([record(), record(seed=1)])} == {"mine"}


def test_a_run_says_what_its_record_says() -> None:
    run = named([record()])[0]
    assert (run.figure, run.validation, run.cost, run.memory) == (0.5, 0.6, 1.0, 100)
    assert run.seconds == 3.0
    assert run.reused_seconds == 0.5
    assert run.layers == {"a": (5, 10)}
    assert run.bill["train"]["train"].passes == run.full.passes == 240
    assert run.clock["train"] == {"train": 2.0}


# files


def test_every_committed_record_is_read_whatever_its_schema() -> None:
    found = {record.version for path in paths(RESULTS) if (record := read(path))}
    assert {1, 2} <= found
    runs = records.collect(RESULTS)
    assert len(runs) == len({run.key for run in runs}) > 60
    assert all(isinstance(run, Run) and run.metric in run.test for run in runs)


def test_what_is_no_record_is_passed_over(tmp_path: Path) -> None:
    for name, content in {
        "agreement.json": {"a": {}},
        "list.json": [],
        "draw.json": {"bill": {}},
    }.items():
        (tmp_path / name).write_text(json.dumps(content), encoding="utf-8")
    (tmp_path / "quarantine").mkdir()
    (tmp_path / "quarantine" / "record.json").write_text(
        json.dumps(seal(record("snip"))), encoding="utf-8"
    )
    (tmp_path / "one.json").write_text(json.dumps(seal(record())), encoding="utf-8")
    assert [run.method for run in records.collect(tmp_path)] == ["magnitude"]


def test_a_record_from_the_future_is_refused(tmp_path: Path) -> None:
    (tmp_path / "one.json").write_text(
        json.dumps({**record(), "schema": 99}), encoding="utf-8"
    )
    with pytest.raises(
        StoreError,
        match=r"one\.json is of schema 99; this version reads 1 to 4; update instant-soup",
    ):
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


def test_a_damaged_record_is_put_aside_and_the_others_go_on(tmp_path: Path) -> None:
    """One bad file must not hide what all the others say."""
    facts = seal(record("snip"))
    facts["test"]["accuracy"] = 0.99
    (tmp_path / "edited.json").write_text(json.dumps(facts), encoding="utf-8")
    (tmp_path / "half.json").write_text('{"schema": 3', encoding="utf-8")
    (tmp_path / "whole.json").write_text(json.dumps(seal(record())), encoding="utf-8")

    collection = records.gather(tmp_path)

    assert [run.method for run in collection.runs] == ["magnitude"]
    edited, half = collection.damaged
    assert "edited.json does not match its checksum" in edited
    assert "could not read" in half
    assert "half.json" in half


def test_names_are_safe_to_show(tmp_path: Path) -> None:
    odd = record(task__name="a\x1b[31m\nb\ud800")
    (run,) = named([odd])
    assert run.task == "a\\x1b[31m\\nb\\ud800"


def test_a_ticket_that_is_judged_as_it_was_drawn_is_called_that_and_not_longer() -> None:
    """With a budget of nothing it was given less than others, and not as much as one of them."""
    judged = [record(seed=seed, budget=0.0) for seed in range(2)]
    assert {run.method for run in named(judged)} == {"magnitude (not fine-tuned)"}
