"""Store: one folder per key."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from instant_soup.core.errors import StoreError, TicketError
from instant_soup.core.mask import Mask
from instant_soup.core.scope import Scope
from instant_soup.core.task import Base
from instant_soup.core.ticket import Ticket
from instant_soup.recipes.recipe import Recipe
from instant_soup.store.cell import Cell
from instant_soup.store.plain import read_json, seal, sealed, write_json
from instant_soup.store.store import Store


def recipe(**changes: Any) -> Recipe:
    plain = {
        "task": {"name": "glue/cola"},
        "method": {"name": "magnitude"},
        "sparsity": 0.5,
    }
    return Recipe.parse({**plain, **changes})


def ticket() -> Ticket:
    scope = Scope({"a": (3, 5)})
    return Ticket(
        Mask(scope, {"a": torch.arange(15).view(3, 5) > 6}),
        {"head": torch.ones(2)},
        Base("tiny", "d"),
    )


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


# cells


def test_a_cell_is_named_after_what_it_holds_and_nothing_is_written_for_asking(
    tmp_path: Path,
) -> None:
    cell = Store(tmp_path / "runs").cell(recipe())
    assert (
        cell.folder
        == tmp_path / "runs" / f"glue-cola_magnitude_0.5_seed0_{recipe().key[:16]}"
    )
    assert cell.key == recipe().key[:16]
    assert names(tmp_path) == set()


def test_each_recipe_has_its_own_cell_and_always_the_same(tmp_path: Path) -> None:
    store = Store(tmp_path)
    assert store.cell(recipe()) == store.cell(recipe())
    assert store.cell(recipe()).folder != store.cell(recipe(seed=1)).folder


def test_a_cell_says_which_recipe_it_is_of(tmp_path: Path) -> None:
    cell = Store(tmp_path / "runs").cell(recipe())
    cell.describe(recipe())
    assert names(cell.folder) == {"recipe.toml"}
    assert Recipe.read(cell.folder / "recipe.toml").key == recipe().key


def test_the_recipe_in_a_cell_is_the_one_that_it_is_named_after(tmp_path: Path) -> None:
    wanted = recipe(training={"clip": 0})
    cell = Store(tmp_path).cell(wanted)
    cell.describe(wanted)
    assert Recipe.read(cell.folder / "recipe.toml").key == wanted.key


def test_a_store_that_cannot_be_written_to_is_a_store_error(tmp_path: Path) -> None:
    (tmp_path / "runs").write_text("a file in the way")
    with pytest.raises(StoreError, match="choose another folder"):
        Store(tmp_path / "runs").cell(recipe()).describe(recipe())


# what a cell keeps


def test_a_ticket_is_read_back_from_its_cell(tmp_path: Path) -> None:
    cell = Cell(tmp_path)
    cell.save_ticket(ticket())
    assert cell.ticket.exists()
    assert cell.load_ticket().digest == ticket().digest
    assert cell.ticket.name == "ticket.safetensors"


def test_a_damaged_ticket_is_a_ticket_error(tmp_path: Path) -> None:
    cell = Cell(tmp_path)
    cell.ticket.write_bytes(b"not a ticket")
    with pytest.raises(TicketError, match=r"ticket\.safetensors"):
        cell.load_ticket()


def test_fine_tuned_weights_are_read_back_from_their_cell(tmp_path: Path) -> None:
    cell = Cell(tmp_path)
    weights = {
        "a": torch.randn(3, 5),
        "b": torch.ones(2).bfloat16(),
        "n": torch.tensor(3),
    }
    cell.save_model(weights)
    read = cell.load_model()
    assert read.keys() == weights.keys()
    assert all(
        torch.equal(read[name], t) and read[name].dtype == t.dtype
        for name, t in weights.items()
    )


def test_a_damaged_checkpoint_is_a_store_error(tmp_path: Path) -> None:
    cell = Cell(tmp_path)
    cell.save_model({"a": torch.randn(3, 5)})
    cell.model.write_bytes(cell.model.read_bytes()[:-1])
    with pytest.raises(
        StoreError, match=r"model\.safetensors is not a readable checkpoint"
    ):
        cell.load_model()


def test_the_bill_of_a_finished_stage_is_read_back(tmp_path: Path) -> None:
    cell, facts = Cell(tmp_path), {"bill": {"train": {"steps": 3}}, "seconds": 1.25}
    cell.finish("draw", facts)
    found = cell.finished("draw")
    assert sealed(found)
    assert {**facts, "checksum": found["checksum"]} == found
    assert names(tmp_path) == {"draw.json"}


def test_the_record_is_what_finishing_it_writes(tmp_path: Path) -> None:
    cell = Cell(tmp_path)
    assert not cell.record.exists()
    cell.finish("record", {"metric": "accuracy"})
    assert read_json(cell.record) == seal({"metric": "accuracy"})


def test_a_stage_that_is_not_finished_has_no_bill(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=r"could not read .*train\.json"):
        Cell(tmp_path).finished("train")


def test_each_stage_keeps_its_place_in_its_own_folder(tmp_path: Path) -> None:
    cell = Cell(tmp_path)
    for stage in ("draw", "train"):
        cell.bookmark(stage).save("leg", {"a": torch.zeros(1)}, {"stage": stage})
    assert names(tmp_path) == {"draw", "train"}
    found = cell.bookmark("draw").load("leg")
    assert found is not None
    assert found[1] == {"stage": "draw"}


def test_how_often_places_are_saved_is_the_stores_to_say(tmp_path: Path) -> None:
    always, never = (
        Store(tmp_path, save_every=seconds).cell(recipe()).bookmark("draw")
        for seconds in (0, 1e9)
    )
    assert always.due
    assert not never.due


def test_tidying_removes_what_a_killed_write_left_and_nothing_else(
    tmp_path: Path,
) -> None:
    cell = Store(tmp_path).cell(recipe())
    cell.describe(recipe())
    cell.save_ticket(ticket())
    cell.finish("draw", {})
    (cell.folder / f".record.json.{'0' * 32}").write_bytes(b"half, of an earlier version")
    staging = cell.folder / f".ticket.safetensors.{'a1' * 16}"
    staging.mkdir()
    (staging / ".tmp1").write_bytes(b"half")
    cell.tidy()
    assert names(cell.folder) == {"recipe.toml", "ticket.safetensors", "draw.json"}
    assert cell.load_ticket().digest == ticket().digest


def test_tidying_leaves_what_only_looks_half_written(tmp_path: Path) -> None:
    cell = Store(tmp_path).cell(recipe())
    cell.describe(recipe())
    theirs = {".record.json.backup", ".record.json.4567", f".mine.json.{'0' * 32}"}
    for name in theirs:
        (cell.folder / name).write_text("keep", encoding="utf-8")
    cell.tidy()
    assert theirs <= names(cell.folder)


def test_tidying_does_not_stumble_over_a_hidden_folder(tmp_path: Path) -> None:
    """Notebooks and editors leave such folders."""
    (tmp_path / ".ipynb_checkpoints").mkdir()
    Cell(tmp_path).tidy()


# plain data


@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir], ids=["a pipe", "a folder"])
def test_what_is_no_regular_file_is_refused_and_not_waited_for(
    tmp_path: Path, make: Callable[[Path], None]
) -> None:
    make(tmp_path / "index.json")
    with pytest.raises(StoreError, match="is no regular file"):
        read_json(tmp_path / "index.json")


def test_plain_data_is_written_in_a_fixed_order_for_people_and_diffs(
    tmp_path: Path,
) -> None:
    write_json(tmp_path / "x.json", {"b": 1, "a": {"d": None, "c": [1.5, "é"]}})
    text = (tmp_path / "x.json").read_text(encoding="utf-8")
    assert text.index('"a"') < text.index('"b"')
    assert text.index('"c"') < text.index('"d"')
    assert text.endswith("}\n")
    assert read_json(tmp_path / "x.json") == {"b": 1, "a": {"d": None, "c": [1.5, "é"]}}


@pytest.mark.parametrize("content", [b"", b"{", b"\xff\xfe", b'{"a": }'], ids=repr)
def test_damaged_plain_data_is_a_store_error_that_says_what_to_do(
    tmp_path: Path, content: bytes
) -> None:
    (tmp_path / "x.json").write_bytes(content)
    with pytest.raises(
        StoreError,
        match=r"could not read .*x\.json .*instant-soup doctor .* puts damage aside",
    ):
        read_json(tmp_path / "x.json")
