"""A link in the place of a folder of the store is never followed: what it leads to is not ours to empty."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from instant_soup.core.errors import StoreError
from instant_soup.recipes.recipe import Recipe
from instant_soup.store.doctor import examine
from instant_soup.store.store import Store

RECIPE = Recipe.parse(
    {"task": {"name": "glue/cola"}, "method": {"name": "magnitude"}, "sparsity": 0.5}
)

ACTS: dict[str, Callable[[Store], object]] = {
    "locks": lambda store: store.cell(RECIPE).hold().__enter__(),
    "shelf": lambda store: store.shelf(RECIPE),
    "sweeps": lambda store: store.sweep("0" * 64),
    "transfers": lambda store: store.transfer_cell("0" * 64),
}


def linked(tmp_path: Path, name: str) -> tuple[Store, Path]:
    """A store in which *name* is a link to a folder with a file of somebody else."""
    theirs = tmp_path / "theirs"
    theirs.mkdir()
    (theirs / ".record.json.0123abcd").write_text("keep me", encoding="utf-8")
    store = Store(tmp_path / "runs")
    store.folder.mkdir()
    (store.folder / name).symlink_to(theirs)
    return store, theirs / ".record.json.0123abcd"


@pytest.mark.parametrize("name", ACTS)
def test_a_shared_folder_that_is_a_link_is_refused(tmp_path: Path, name: str) -> None:
    store, kept = linked(tmp_path, name)
    with pytest.raises(StoreError, match=rf"{name} is a symbolic link"):
        ACTS[name](store)
    assert kept.exists()


def test_a_cell_that_is_a_link_is_refused(tmp_path: Path) -> None:
    name = Store(tmp_path / "runs").cell(RECIPE).folder.name
    store, kept = linked(tmp_path, name)
    with pytest.raises(StoreError, match="is a symbolic link"):
        store.cell(RECIPE)
    assert store.cells() == []
    assert kept.exists()


def test_the_place_of_a_stage_that_is_a_link_is_refused(tmp_path: Path) -> None:
    store, kept = linked(tmp_path, "elsewhere")
    cell = store.cell(RECIPE)
    cell.folder.mkdir()
    (cell.folder / "draw").symlink_to(kept.parent)
    with pytest.raises(StoreError, match="draw is a symbolic link"):
        cell.bookmark("draw").save("leg", {"a": torch.zeros(1)}, {})
    cell.bookmark("draw").clear()
    assert kept.exists()


@pytest.mark.parametrize("name", [*ACTS, "quarantine"])
def test_doctor_names_links_and_follows_none(tmp_path: Path, name: str) -> None:
    store, kept = linked(tmp_path, name)
    (finding,) = examine(store, mend=False).findings
    assert "is a symbolic link" in finding.what
    assert (store.folder / name).is_symlink()
    assert kept.exists()


def test_doctor_puts_a_link_aside_and_leaves_what_it_leads_to(tmp_path: Path) -> None:
    store, kept = linked(tmp_path, "shelf")
    (finding,) = examine(store).findings
    assert finding.aside is not None
    assert finding.aside.is_symlink()
    assert not (store.folder / "shelf").is_symlink()
    assert kept.exists()


def test_a_store_that_is_itself_behind_a_link_works(tmp_path: Path) -> None:
    (tmp_path / "large-disk").mkdir()
    (tmp_path / "runs").symlink_to(tmp_path / "large-disk")
    cell = Store(tmp_path / "runs").cell(RECIPE)
    with cell.hold():
        cell.describe(RECIPE)
    assert (tmp_path / "large-disk" / cell.folder.name / "recipe.toml").exists()


def test_doctor_does_not_move_things_through_a_link(tmp_path: Path) -> None:
    store, _ = linked(tmp_path, "quarantine")
    (store.folder / "index.json").write_text("{", encoding="utf-8")
    with pytest.raises(StoreError, match="quarantine is a symbolic link"):
        examine(store)
