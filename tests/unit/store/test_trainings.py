"""Shelf: whole trainings by what they depend on."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from instant_soup.core.errors import StoreError
from instant_soup.recipes.recipe import Recipe
from instant_soup.store.store import Store
from instant_soup.store.trainings import FolderShelf

TENSORS = {"a": torch.randn(2, 3), "n": torch.tensor(7), "b": torch.ones(3).bfloat16()}
FACTS = {"cost": {"steps": 3, "examples": 24, "passes": 72, "flops": 1}}
KEY, OTHER = "0123456789abcdef" * 4, "f" * 64


def test_what_is_put_is_got(tmp_path: Path) -> None:
    FolderShelf(tmp_path / "shelf", "me").put(KEY, TENSORS, FACTS)
    found = FolderShelf(tmp_path / "shelf", "me").get(KEY)
    assert found is not None
    tensors, facts = found
    assert facts["cost"] == FACTS["cost"]
    assert tensors.keys() == TENSORS.keys()
    assert all(
        torch.equal(tensors[name], part) and tensors[name].dtype == part.dtype
        for name, part in TENSORS.items()
    )


def test_what_was_never_put_is_not_there_and_asking_makes_no_folder(
    tmp_path: Path,
) -> None:
    shelf = FolderShelf(tmp_path / "shelf", "me")
    assert shelf.get(KEY) is None
    assert not (tmp_path / "shelf").exists()
    shelf.put(KEY, TENSORS, FACTS)
    assert shelf.get(OTHER) is None


@pytest.mark.parametrize(("who", "reused"), [("me", False), ("another", True)])
def test_only_what_another_put_there_is_reused(
    tmp_path: Path, who: str, reused: bool
) -> None:
    """A run that was killed finds its own work again, and has paid for it."""
    FolderShelf(tmp_path, "me").put(KEY, TENSORS, FACTS)
    found = FolderShelf(tmp_path, who).get(KEY)
    assert found is not None
    assert found[1]["reused"] is reused


def test_putting_leaves_the_facts_alone(tmp_path: Path) -> None:
    facts = dict(FACTS)
    FolderShelf(tmp_path, "me").put(KEY, TENSORS, facts)
    assert facts == FACTS


def test_what_is_put_again_takes_the_place_of_the_old(tmp_path: Path) -> None:
    shelf = FolderShelf(tmp_path, "me")
    shelf.put(KEY, TENSORS, FACTS)
    shelf.put(KEY, {"a": torch.zeros(1)}, FACTS)
    found = shelf.get(KEY)
    assert found is not None
    assert list(found[0]) == ["a"]
    assert len(list(tmp_path.iterdir())) == 1


@pytest.mark.parametrize("keep", [0, 50, -1])
def test_a_damaged_file_is_a_store_error_that_names_it(tmp_path: Path, keep: int) -> None:
    shelf = FolderShelf(tmp_path, "me")
    shelf.put(KEY, TENSORS, FACTS)
    (path,) = tmp_path.iterdir()
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(
        StoreError, match=rf"{path.name} is not a readable shelved training"
    ):
        shelf.get(KEY)


def test_a_shelf_that_cannot_be_written_to_is_a_store_error(tmp_path: Path) -> None:
    (tmp_path / "shelf").write_text("a file in the way")
    with pytest.raises(StoreError, match="choose another folder"):
        FolderShelf(tmp_path / "shelf", "me").put(KEY, TENSORS, FACTS)


# one shelf for what is comparable


def recipe(**changes: object) -> Recipe:
    return Recipe.parse(
        {
            "task": {"name": "glue/cola"},
            "method": {"name": "lth"},
            "sparsity": 0.5,
            **changes,
        }
    )


@pytest.mark.parametrize(
    "changes",
    [
        {"sparsity": 0.7},
        {"method": {"name": "lottery-pools"}},
        {"control": "layers"},
        {"budget": 2.0},
    ],
)
def test_recipes_on_one_task_share_a_shelf_each_under_its_own_name(
    tmp_path: Path, changes: dict[str, object]
) -> None:
    one, other = (Store(tmp_path).shelf(each) for each in (recipe(), recipe(**changes)))
    assert one.folder == other.folder
    assert one.owner != other.owner


@pytest.mark.parametrize(
    "changes",
    [
        {"seed": 1},
        {"task": {"name": "glue/sst2"}},
        {"task": {"name": "glue/cola", "model": "other"}},
        {"data": {"limit": 100}},
        {"training": {"rate": 1e-3}},
    ],
    ids=str,
)
def test_what_trains_otherwise_has_a_shelf_of_its_own(
    tmp_path: Path, changes: dict[str, object]
) -> None:
    assert (
        Store(tmp_path).shelf(recipe()).folder
        != Store(tmp_path).shelf(recipe(**changes)).folder
    )
