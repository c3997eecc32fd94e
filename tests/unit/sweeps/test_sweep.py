"""A sweep runs what is missing, once; what fails is noted and tried again; a store that is full stops it."""

from __future__ import annotations

import json
import os
import shutil
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import tomli_w
from typer.testing import CliRunner, Result

import instant_soup as soup
from instant_soup.cli.main import app
from instant_soup.core.errors import EngineError, StoreError, TrainingError
from instant_soup.engine.child import child
from instant_soup.recipes.grid import Wanted
from instant_soup.store.plain import read_json, seal, write_json
from instant_soup.store.record import Record, read_run
from instant_soup.store.store import Store
from instant_soup.sweeps import processes, sweep
from instant_soup.sweeps.progress import Progress
from instant_soup.sweeps.status import Board, sweeps
from instant_soup.sweeps.sweep import Sweep

Made = Callable[..., Sweep]


@pytest.fixture
def recipe(mini_recipe: dict[str, Any]) -> Callable[..., soup.Recipe]:
    def made(method: str, sparsity: float = 0.5, **changes: Any) -> soup.Recipe:
        knobs = {"compression": 0.25} if method == "lth" else {}
        if method == "instant-soup":
            knobs = dict(mini_recipe["method"])
        fields = {
            **mini_recipe,
            "method": {"name": method, **knobs},
            "sparsity": sparsity,
            **changes,
        }
        return soup.Recipe.parse(fields)

    return made


@pytest.fixture
def made(recipe: Callable[..., soup.Recipe], tmp_path: Path) -> Made:
    """A sweep of a dense run, IMP at two sparsities, a soup and what is as long as it."""

    def sweep_of(*names: str, slim: bool = False) -> Sweep:
        ours = recipe("instant-soup")
        wanted = {
            "dense": Wanted("dense", recipe("dense", 0.0)),
            "lth 50": Wanted("lth 50", recipe("lth", 0.5)),
            "lth 70": Wanted("lth 70", recipe("lth", 0.7)),
            "longer": Wanted("longer", recipe("magnitude"), ours),
            "soup": Wanted("soup", ours),
        }
        chosen = tuple(one for name, one in wanted.items() if not names or name in names)
        return Sweep(chosen, Store(tmp_path / "runs"), "a file", slim=slim)

    return sweep_of


def states(found: Sweep) -> dict[str, str]:
    return {one.name: found.state(one) for one in found.wanted}


def records(found: Sweep) -> dict[str, Record]:
    known = {one.name: found.ready(one) for one in found.wanted}
    return {
        name: read_run(found.store.cell(one.recipe).record)
        for name, one in known.items()
        if one
    }


def test_everything_is_run_and_what_several_need_is_trained_once(made: Made) -> None:
    found = made()
    assert states(found) == {
        "dense": "to do", "lth 50": "to do", "lth 70": "to do", "longer": "waits", "soup": "to do",
    }  # fmt: skip
    found.work()
    assert set(states(found).values()) == {"done"}
    done = records(found)
    levels = {name: done[name].cost.reused.steps / 12 for name in ("lth 50", "lth 70")}
    # the level at 0 % is the dense run; that at 25 % is shared
    assert levels == {"lth 50": 1, "lth 70": 2}
    assert done["longer"].recipe.budget == done["soup"].cost.as_budget > 1


def test_what_is_done_is_not_done_again(
    made: Made, monkeypatch: pytest.MonkeyPatch
) -> None:
    made("dense", "soup").work()
    monkeypatch.setattr(sweep, "build", lambda _: pytest.fail("loaded a task again"))
    made("dense", "soup").work()


@pytest.mark.parametrize("part", ["data", "model"])
def test_what_was_made_with_other_data_or_another_model_is_refused_as_a_run_is(
    recipe: Callable[..., soup.Recipe],
    mini_recipe: dict[str, Any],
    tmp_path: Path,
    part: str,
) -> None:
    data = shutil.copytree(mini_recipe["data"]["folder"], tmp_path / "data")
    model = shutil.copytree(mini_recipe["task"]["model"], tmp_path / "model")
    ours = recipe(
        "magnitude",
        data={**mini_recipe["data"], "folder": str(data)},
        task={**mini_recipe["task"], "model": str(model)},
    )
    made = Sweep((Wanted("one", ours),), Store(tmp_path / "runs"), "a file")
    made.begin()
    made.work()
    made.begin()

    changed = model / "config.json" if part == "model" else data / "train.parquet"
    changed.write_bytes(changed.read_bytes() + b"\n")
    with pytest.raises(StoreError, match=f"the {part} in .* changed since"):
        made.begin()


def test_a_sweep_is_read_back_as_it_was_noted(made: Made) -> None:
    found = made()
    with pytest.raises(StoreError, match="nothing to resume"):
        found.must_have_begun()
    found.begin()
    found.must_have_begun()
    again = Sweep.begun(found.place, found.store)
    assert (again.wanted, again.source, again.since) == (
        found.wanted,
        found.source,
        found.since,
    )
    assert again.key == found.key
    write_json(found.place, {"source": "x"})
    with pytest.raises(StoreError, match="is no sweep of this version"):
        Sweep.begun(found.place, found.store)


@pytest.mark.parametrize(
    "odd",
    [
        {"name": 3},
        {"recipe": []},
        {"like": "x"},
        {"source": 3},
        {"slim": "no"},
        {"since": None},
    ],
)
def test_a_note_of_a_sweep_with_a_value_of_another_kind_is_refused(
    made: Made, odd: dict[str, Any]
) -> None:
    found = made()
    found.begin()
    facts = read_json(found.place)
    if facts.keys() >= odd.keys():
        facts |= odd
    else:
        facts["wanted"][0] |= odd
    write_json(found.place, seal(facts))
    with pytest.raises(StoreError, match="is no sweep of this version"):
        Sweep.begun(found.place, found.store)


def test_a_note_of_a_failure_that_says_nothing_is_named(made: Made) -> None:
    found = made("dense")
    cell = found.store.cell(found.wanted[0].recipe)
    cell.fail({"error": {}, "at": 3})
    with pytest.raises(StoreError, match=r"failed\.json does not say why a run failed"):
        found.state(found.wanted[0])


def test_one_failure_is_noted_the_others_go_on_and_a_later_sweep_tries_again(
    made: Made, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = sweep.run

    def fails(recipe: soup.Recipe, *rest: Any) -> dict[str, Any]:
        if recipe.method["name"] == "instant-soup":
            raise TrainingError("the loss is nan")
        return whole(recipe, *rest)

    first = made("dense", "soup", "longer")
    monkeypatch.setattr(sweep, "run", fails)
    first.work()
    assert states(first) == {"dense": "done", "soup": "failed", "longer": "failed"}
    assert first.failure(first.wanted[-1]) == "the loss is nan"
    monkeypatch.setattr(sweep, "run", whole)
    second = made("dense", "soup", "longer")
    assert states(second) == {"dense": "done", "soup": "begun", "longer": "waits"}
    second.work()
    assert set(states(second).values()) == {"done"}


def test_a_fault_of_ours_is_one_failure_too(
    made: Made, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: Any) -> None:
        raise ZeroDivisionError("oh")

    monkeypatch.setattr(sweep, "run", fails)
    found = made("dense")
    found.work()
    assert found.failure(found.wanted[0]) == "ZeroDivisionError: oh"


def test_a_store_that_is_full_stops_the_sweep_and_with_room_again_it_ends(
    made: Made, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced, sync = [], os.fsync

    def full(file: int) -> None:
        synced.append(file)
        if len(synced) > 9:
            raise OSError(28, "No space left on device")
        sync(file)

    found = made("dense", "soup")
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(StoreError, match=r"No space left on device.* free some space"):
        found.work()
    monkeypatch.setattr(os, "fsync", sync)
    assert "failed" not in states(found).values()
    assert not [path for path in found.store.folder.rglob(".*") if path.is_file()]
    found.work()
    assert set(states(found).values()) == {"done"}


def test_slim_keeps_tickets_and_records_and_nothing_else_differs(made: Made) -> None:
    found = made("dense", "soup", slim=True)
    found.work()
    for one in found.wanted:
        cell = found.store.cell(one.recipe)
        assert cell.ticket.exists()
        assert not cell.model.exists()
        assert read_json(cell.record)["key"] == one.recipe.key


def test_what_another_process_is_at_is_running_and_is_not_taken(
    made: Made, recipe: Callable[..., soup.Recipe], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The other one ends while this one waits."""
    found, naps = made("dense"), []
    cell = found.store.cell(recipe("dense", 0.0))
    hold = cell.hold()
    hold.__enter__()
    assert states(found) == {"dense": "running"}

    def nap(_: float) -> None:
        naps.append(1)
        hold.__exit__(None, None, None)
        soup.run(recipe("dense", 0.0), found.store)

    monkeypatch.setattr(sweep.time, "sleep", nap)
    monkeypatch.setattr(Sweep, "take", lambda *_: False)
    found.work()
    assert naps == [1]


def test_a_run_that_kills_its_workers_fails_at_the_third(made: Made) -> None:
    found, deaths = made("dense"), Counter[Path]()
    cell = found.store.cell(found.wanted[0].recipe)
    for death in range(1, 4):
        write_json(Progress.of(found.store, found.wanted[0].recipe).path, {"pid": 7})
        processes._blame(found, SimpleNamespace(pid=8), deaths)  # type: ignore[arg-type]
        assert not cell.failure.exists()
        processes._blame(found, SimpleNamespace(pid=7), deaths)  # type: ignore[arg-type]
        assert cell.failure.exists() == (death == 3)
    assert "killed 3 times" in found.failure(found.wanted[0])


# how far it is


def test_a_board_says_how_far_everything_is(made: Made) -> None:
    found = made("dense", "soup", "longer")
    board = Board([found])
    before = board.look()
    assert before.left is None  # nothing is known of the task yet
    assert before.counts == {"to do": 2, "waits": 1}
    made("dense").work()
    after = board.look()
    assert after.counts == {"done": 1, "to do": 1, "waits": 1}
    assert after.left is not None
    assert after.left > 0
    assert after.having("done")[0].note.startswith("accuracy 0.")
    assert after.having("waits")[0].note == f"for {found.wanted[-1].recipe.label}"
    found.work()
    assert board.look().counts == {"done": 3}
    assert board.look().left == 0


def test_what_cannot_be_done_ends_neither_the_board_nor_the_others(
    made: Made, mini_recipe: dict[str, Any]
) -> None:
    # of the twelve steps of T
    far = {**mini_recipe["method"], "carry": "mean", "lookahead_steps": 9}
    dense = made("dense")
    found = replace(
        dense,
        wanted=(
            *dense.wanted,
            Wanted("far", soup.Recipe.parse({**mini_recipe, "method": far})),
        ),
    )
    board = Board([found])
    assert board.look().left is None
    found.take(found.wanted[0])
    assert board.look().left == 0, "takes no time"
    found.work()
    standing = board.look()
    assert standing.counts == {"done": 1, "failed": 1}
    assert "the budget T has 12" in standing.having("failed")[0].note


PROGRESS = {
    "pid": 1,
    "host": "h",
    "since": 0.0,
    "expected": 0,
    "passes": 0,
    "stage": "s",
}
"""What a run notes of how far it is."""


def test_what_runs_says_where_it_stands(made: Made) -> None:
    found = made("dense")
    one = found.wanted[0]
    facts = {
        **PROGRESS,
        "expected": 100,
        "passes": 25,
        "stage": "fine-tune: train",
        "loss": 0.5,
    }
    with found.store.cell(one.recipe).hold():
        write_json(Progress.of(found.store, one.recipe).path, facts)
        (row,) = Board([found]).look().rows
    assert (row.state, row.share, row.left, row.note) == (
        "running",
        0.25,
        75,
        "fine-tune: train, loss 0.500",
    )


@pytest.mark.parametrize(
    "odd",
    [{"passes": "x"}, {"expected": None}, {"stage": 3}, {"since": []}, {"host": {}}],
)
def test_a_note_of_progress_with_a_value_of_another_kind_is_left_out(
    made: Made, odd: dict[str, Any]
) -> None:
    found = made("dense")
    one = found.wanted[0]
    with found.store.cell(one.recipe).hold():
        path = Progress.of(found.store, one.recipe).path
        write_json(path, {**PROGRESS, **odd})
        (row,) = Board([found]).look().rows
        assert (row.state, row.note) == ("running", "")

        # a run that has nothing to do has done all of it
        write_json(path, PROGRESS)
        (row,) = Board([found]).look().rows
        assert (row.share, row.note) == (1.0, "s")


def test_progress_is_noted_while_a_run_goes_on_and_forgotten_when_it_is_over(
    made: Made, monkeypatch: pytest.MonkeyPatch
) -> None:
    found, seen = made("soup"), []
    monkeypatch.setattr("instant_soup.sweeps.progress.EVERY", 0.0)
    note = Progress.of(found.store, found.wanted[0].recipe)
    found.work(
        lambda _, stage, pulse: seen.append(
            (stage, pulse.spent.passes, note.read()["passes"])
        )
    )
    assert {stage for stage, _, _ in seen} == {"draw", "fine-tune"}
    noted = [passes for _, _, passes in seen]
    assert noted == sorted(noted)
    assert noted[-1] > 0
    assert not note.path.exists()


def test_the_sweeps_of_a_store_are_found_and_a_run_that_two_ask_for_counts_once(
    made: Made,
) -> None:
    with pytest.raises(StoreError, match="no folder at"):
        sweeps(made().store)
    for found in (made(), made("dense", "soup")):
        found.begin()
    assert len(sweeps(found.store)) == 2
    assert len(Board(sweeps(found.store)).look().rows) == 5


def test_workers_that_die_before_they_take_a_run_are_not_replaced_for_ever(
    made: Made, monkeypatch: pytest.MonkeyPatch
) -> None:
    started = []

    def dies(*_: Any) -> Any:
        started.append(child(os.abort))
        return started[-1]

    monkeypatch.setattr(processes, "child", dies)
    with pytest.raises(EngineError, match="6 workers in a row died before"):
        list(processes.by_processes(made("dense"), 2))
    assert len(started) == 7
    assert not any(process.is_alive() for process in started)


# the command line


def test_the_command_runs_resumes_and_says_what_failed(
    mini_recipe: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cells = {
        "a": {"method": {"name": "magnitude"}},
        "b": {"method": {"name": "snip"}, "sparsity": 0.99},
    }
    fields = {**mini_recipe, "cells": cells}
    (tmp_path / "sweep.toml").write_text(tomli_w.dumps(fields), encoding="utf-8")
    monkeypatch.chdir(tmp_path)

    def call(*words: str) -> Result:
        return CliRunner().invoke(app, list(words))

    refused = call("sweep", "sweep.toml", "--resume")
    assert (refused.exit_code, "nothing to resume" in refused.stderr) == (2, True)
    assert call("status", "runs").exit_code == 2
    ended = call("sweep", "sweep.toml", "--quiet")
    assert ended.exit_code == 3  # a matrix of this miniature loses all its weights
    assert "1 of 2 runs are done" in ended.stdout
    assert "failed: b: at sparsity 0.99 nothing is left of" in ended.stdout
    eased = call("sweep", "sweep.toml", "--resume", "--json")
    assert eased.exit_code == 3
    assert json.loads(eased.stdout)["counts"] == {"done": 1, "failed": 1}
    shown = call("status", "runs")
    assert shown.exit_code == 0
    assert "2 runs: 1 done" in shown.stdout
    assert call("doctor", "runs").exit_code == 0
    record = next((tmp_path / "runs").glob("*/record.json"))
    record.write_text("{}", encoding="utf-8")
    told = json.loads(call("status", "runs", "--json").stdout)
    assert told["counts"] == {"failed": 2}
    assert any("record.json is no record of a run" in row["note"] for row in told["runs"])
    checked = call("doctor", "runs", "--check")
    assert (checked.exit_code, "1 damaged." in checked.stdout, record.exists()) == (
        2,
        True,
        True,
    )
    mended = call("doctor", "runs")
    assert (
        mended.exit_code,
        "; now runs/quarantine/" in mended.stdout,
        record.exists(),
    ) == (2, True, False)
