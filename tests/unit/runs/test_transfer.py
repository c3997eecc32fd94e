"""A ticket is judged on another task: once, to the bit as an ordinary run would, and also after a kill."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import instant_soup as soup
from instant_soup.core.errors import ScopeError
from instant_soup.core.files import staging_of
from instant_soup.core.ticket import Ticket
from instant_soup.evidence.runs import collect
from instant_soup.runs import transfer as moving
from instant_soup.runs.run import build, draw
from instant_soup.runs.transfer import key_of, transfer
from instant_soup.store.doctor import examine
from instant_soup.store.plain import sealed
from instant_soup.training import masked as training


@pytest.fixture
def store(tmp_path: Path) -> soup.Store:
    return soup.Store(tmp_path / "runs", save_every=0.0)


def recipe_of(fields: dict[str, Any], name: str, **changes: Any) -> soup.Recipe:
    return soup.Recipe.parse(
        {**fields, "task": {**fields["task"], "name": name}, **changes}
    )


@pytest.fixture
def ticket(mini_recipe: dict[str, Any], store: soup.Store) -> Ticket:
    """Of another task."""
    recipe = recipe_of(mini_recipe, "other", method={"name": "magnitude"})
    return draw(recipe, build(recipe), store)


def test_a_transfer_reaches_what_an_ordinary_run_with_the_same_mask_reaches(
    ticket: Ticket, mini_recipe: dict[str, Any], store: soup.Store
) -> None:
    """The largest weights are the same on every task, so the two runs are the same training."""
    target = recipe_of(mini_recipe, "mini", method={"name": "magnitude"})
    found, usual = transfer(ticket, target, store), soup.run(target, store)
    assert found.test == usual.test
    assert found.validation == usual.validation
    assert found.cost.multiple_of_T == usual.cost.multiple_of_T
    assert found.ticket.mask == usual.ticket.mask
    assert found.fit.same_base
    assert found.fit.counts == {"matched": 12, "start": 0, "dense": 0, "dropped": 2}


def test_the_record_says_where_the_ticket_comes_from_and_is_sealed(
    ticket: Ticket, mini_recipe: dict[str, Any], store: soup.Store
) -> None:
    target = recipe_of(mini_recipe, "mini")
    found = transfer(ticket, target, store)
    path = store.transfers / f"{found.key[:16]}.json"
    assert json.loads(path.read_text(encoding="utf-8")) == found.facts()
    assert sealed(found.facts())
    assert found.source.ticket == ticket.digest
    assert found.source.recipe.task.name == "other"
    assert found.source.key == ticket.recipe
    assert soup.Recipe.parse(found.recipe.facts()).key == target.key
    assert found.made.packages["torch"]
    unknown = transfer(
        replace(ticket, recipe="0" * 64), recipe_of(mini_recipe, "mini", seed=1), store
    )
    assert unknown.source.recipe is None
    assert not [
        path
        for path in store.transfers.iterdir()
        if path.is_dir() and path.name != "locks"
    ]


def test_the_same_transfer_is_not_done_twice_whatever_the_method_of_the_recipe(
    ticket: Ticket,
    mini_recipe: dict[str, Any],
    store: soup.Store,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    first = transfer(ticket, recipe_of(mini_recipe, "mini"), store)
    monkeypatch.setattr(moving, "build", lambda _: pytest.fail("loaded the task again"))
    again = recipe_of(mini_recipe, "mini", method={"name": "magnitude"}, sparsity=0.3)
    assert transfer(ticket, again, store) == first


def test_what_is_trained_the_map_and_the_ticket_are_in_the_key(
    ticket: Ticket, mini_recipe: dict[str, Any]
) -> None:
    recipe = recipe_of(mini_recipe, "mini")
    keys = [
        key_of(ticket, recipe),
        key_of(ticket, recipe, {"a": "b"}),
        key_of(ticket, recipe, heads=4),
        key_of(ticket, recipe, heads=2),
        key_of(replace(ticket, start={}), recipe),
        key_of(ticket, recipe_of(mini_recipe, "mini", seed=1)),
        key_of(
            ticket,
            recipe_of(mini_recipe, "mini", method={"name": "magnitude"}, budget=2.0),
        ),
        key_of(
            ticket,
            recipe_of(
                mini_recipe, "mini", training={**mini_recipe["training"], "steps": 13}
            ),
        ),
    ]
    assert len(set(keys)) == len(keys)


RECORDED = sorted((Path(__file__).parents[3] / "results" / "transfers").glob("*.json"))


@pytest.mark.parametrize("path", RECORDED, ids=lambda path: path.stem)
def test_transfers_that_were_recorded_are_found_under_their_keys(path: Path) -> None:
    """A new field, another default or another way to hash would have each of them done anew."""
    record = json.loads(path.read_text(encoding="utf-8"))
    ticket = SimpleNamespace(digest=record["source"]["ticket"])
    assert key_of(ticket, soup.Recipe.parse(record["recipe"])) == record["key"]  # type: ignore[arg-type]


def test_where_a_transfer_is_done_is_in_no_key_and_no_record(
    ticket: Ticket, mini_recipe: dict[str, Any], store: soup.Store
) -> None:
    here = recipe_of(mini_recipe, "mini")
    named = {**mini_recipe["training"], "device": "cpu"}
    there = recipe_of(mini_recipe, "mini", training=named)
    assert key_of(ticket, there) == key_of(ticket, here)
    assert "device" not in transfer(ticket, there, store).recipe.training.facts()


def test_a_killed_transfer_goes_on_and_comes_out_the_same(
    ticket: Ticket,
    mini_recipe: dict[str, Any],
    store: soup.Store,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    target = recipe_of(mini_recipe, "mini")
    whole = transfer(ticket, target, soup.Store(tmp_path / "whole"))
    taken = []

    def killed(*args: Any, **kwargs: Any) -> Any:
        taken.append(1)
        if len(taken) == 7:
            raise KeyboardInterrupt
        return step(*args, **kwargs)

    step = training.step
    monkeypatch.setattr(training, "step", killed)
    with pytest.raises(KeyboardInterrupt):
        transfer(ticket, target, store)
    assert examine(store, mend=False).findings == ()
    assert len(store.unfinished_transfers()) == 1
    again = transfer(ticket, target, store)
    assert len(taken) == 13  # twelve steps, and the one that was killed
    assert (again.test, again.validation) == (whole.test, whole.validation)
    assert again.cost == whole.cost


def test_a_ticket_of_another_model_is_refused_before_anything_is_written(
    mini_recipe: dict[str, Any], store: soup.Store
) -> None:
    scope = soup.Scope({"tower.0.weight": (3, 3)})
    foreign = Ticket(soup.Mask.dense(scope), {}, soup.core.task.Base("x", "y"))  # type: ignore[attr-defined]
    with pytest.raises(ScopeError, match="nothing of this BertForSequenceClassification"):
        transfer(foreign, recipe_of(mini_recipe, "mini"), store)
    assert not list(store.folder.rglob("*.json"))


def test_records_of_transfers_are_none_of_runs_and_doctor_knows_them(
    ticket: Ticket, mini_recipe: dict[str, Any], store: soup.Store
) -> None:
    target = recipe_of(mini_recipe, "mini")
    found = transfer(ticket, target, store)
    soup.run(recipe_of(mini_recipe, "mini", method={"name": "magnitude"}), store)
    assert [run.method for run in collect(store.folder)] == ["magnitude"]
    assert len(store.cells()) == 2
    whole = examine(store)
    assert (whole.transfers, whole.findings) == (1, ())
    path = store.transfers / f"{found.key[:16]}.json"
    path.write_bytes(path.read_bytes().replace(b'"accuracy": 0', b'"accuracy": 1'))
    half = staging_of(path)
    half.mkdir()
    (half / path.name).write_text("{", encoding="utf-8")
    said = {finding.path.name: finding.what for finding in examine(store).findings}
    assert said[path.name] == "does not match its checksum"
    assert said[half.name].startswith("half-written")
    assert not path.exists()
    assert transfer(ticket, target, store).test == found.test
