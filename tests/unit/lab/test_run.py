"""A run that is killed goes on, and what is done is not done again."""

from __future__ import annotations

import json
import random
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import instant_soup as soup
from instant_soup.core.errors import StoreError
from instant_soup.core.files import read_tensors
from instant_soup.lab import run as running

KILLER = Path(__file__).with_name("killer.py")


def test_a_record_says_what_was_run_and_what_it_cost(mini_recipe: dict[str, Any], tmp_path: Path) -> None:
    recipe = soup.Recipe.parse(mini_recipe)
    record = soup.run(recipe, soup.Store(tmp_path))
    assert record["key"] == recipe.key
    assert soup.Recipe.parse(record["recipe"]).key == recipe.key
    assert record["ticket"]["kept"] == round(0.3 * record["ticket"]["prunable"])
    draw, train, full = record["cost"]["draw"], record["cost"]["train"], record["cost"]["full_fine_tune"]
    assert draw["look-ahead"]["steps"] == 3 * 2 * 2
    assert train["train"]["steps"] == full["steps"] == 12
    paid = sum(cost["passes"] for bill in (draw, train) for name, cost in bill.items() if name != "test")
    assert record["cost"]["multiple_of_T"] == pytest.approx(paid / full["passes"])
    assert len(record["ticket"]["notes"]["rounds"]) == 3
    assert set(record["test"]) == {record["metric"]} == {"accuracy"}


def test_the_checkpoint_and_the_ticket_on_disk_are_exactly_as_sparse_as_asked(
    mini_recipe: dict[str, Any], tmp_path: Path
) -> None:
    recipe, store = soup.Recipe.parse(mini_recipe), soup.Store(tmp_path)
    soup.run(recipe, store)
    cell = store.cell(recipe)
    mask = soup.Ticket.load(cell.ticket).mask
    weights, _ = read_tensors(cell.model, StoreError, "checkpoint")
    assert mask.kept == round(0.3 * mask.scope.size)
    for name in mask:
        assert not weights[name][~mask[name]].any()
        assert weights[name][mask[name]].all()


def test_a_finished_run_is_read_back_and_not_done_again(
    mini_recipe: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe, store = soup.Recipe.parse(mini_recipe), soup.Store(tmp_path)
    record = soup.run(recipe, store)
    monkeypatch.setattr(running, "build", lambda _: pytest.fail("loaded the task again"))
    assert soup.run(recipe, store) == record


def test_a_drawn_ticket_is_not_drawn_again(
    mini_recipe: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe, store = soup.Recipe.parse(mini_recipe), soup.Store(tmp_path)
    record = soup.run(recipe, store)
    store.cell(recipe).record.unlink()
    store.cell(recipe).model.unlink()
    monkeypatch.setattr(soup.InstantSoup, "draw", lambda *_: pytest.fail("drew the ticket again"))
    again = soup.run(recipe, store)
    assert without_time(again) == without_time(record)


def test_fine_tuned_weights_are_not_trained_again(
    mini_recipe: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe, store = soup.Recipe.parse(mini_recipe), soup.Store(tmp_path)
    record = soup.run(recipe, store)
    store.cell(recipe).record.unlink()
    monkeypatch.setattr(running.ModuleLearner, "train", lambda *_: pytest.fail("trained again"))
    assert without_time(soup.run(recipe, store)) == without_time(record)


def without_time(record: dict[str, Any]) -> dict[str, Any]:
    return {name: part for name, part in record.items() if name not in ("seconds", "made")}


@pytest.mark.parametrize("method", ["instant-soup", "instant-soup-continued"])
def test_killed_at_ten_random_moments_a_run_ends_with_the_same_ticket(
    mini_recipe: dict[str, Any], tmp_path: Path, method: str
) -> None:
    """SIGKILL, then the same again; each time the ticket, the weights and the bill of a run left alone."""
    if method == "instant-soup-continued":
        mini_recipe["method"] |= {"finish": "continue", "blend": "union"}  # type: ignore[operator]
    (tmp_path / "recipe.json").write_text(json.dumps(mini_recipe), encoding="utf-8")
    done = subprocess.run(
        [sys.executable, str(KILLER), str(tmp_path), "10", str(random.Random(method).randrange(2**31))],
        capture_output=True,
        text=True,
        check=False,
        timeout=240,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    outcome = json.loads(done.stdout.splitlines()[-1])
    assert outcome["kills"] == 10
    assert outcome["places"] >= 3, "the kills came too early or too late to interrupt anything"
    assert outcome["differences"] == []
