"""Agreement is measured where the tickets are, and noted for where only the records are."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import instant_soup as soup
from instant_soup.core.agreement import agreement
from instant_soup.core.errors import StoreError
from instant_soup.evidence.agreement import agreements
from instant_soup.evidence.runs import collect

METHODS = ("early-bird", "magnitude", "random")


@pytest.fixture
def store(mini_recipe: dict[str, Any], tmp_path: Path) -> soup.Store:
    """Three methods of one seed, a control, what prunes nothing, and one of another seed."""
    found = soup.Store(tmp_path / "runs")
    for method in METHODS:
        soup.run(soup.Recipe.parse({**mini_recipe, "method": {"name": method}}), found)
    soup.run(
        soup.Recipe.parse(
            {**mini_recipe, "method": {"name": "random"}, "control": "layers"}
        ),
        found,
    )
    soup.run(
        soup.Recipe.parse({**mini_recipe, "method": {"name": "dense"}, "sparsity": 0.0}),
        found,
    )
    soup.run(
        soup.Recipe.parse({**mini_recipe, "method": {"name": "random"}, "seed": 1}), found
    )
    return found


def test_each_two_methods_of_a_seed_are_set_against_each_other_and_nothing_else(
    store: soup.Store,
) -> None:
    runs = collect(store.folder)
    pairs = agreements(store.folder, runs)
    assert [(pair.first, pair.second, pair.seed) for pair in pairs] == [
        ("early-bird", "magnitude", 0), ("early-bird", "random", 0), ("magnitude", "random", 0),
    ]  # fmt: skip
    masks = {
        run.method: soup.Ticket.load(store.cell_of(run.key).ticket).mask
        for run in runs
        if run.seed == 0 and run.sparsity and not run.control
    }
    for pair in pairs:
        assert pair.agreement == agreement(masks[pair.first], masks[pair.second])


def test_what_was_measured_is_still_known_where_the_tickets_are_not(
    store: soup.Store,
) -> None:
    before = agreements(store.folder, collect(store.folder))
    for path in store.folder.glob("*/ticket.safetensors"):
        path.unlink()
    assert agreements(store.folder, collect(store.folder)) == before
    (store.folder / "agreement.json").unlink()
    assert agreements(store.folder, collect(store.folder)) == ()


def test_a_folder_that_cannot_be_written_is_read_all_the_same(
    store: soup.Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise StoreError("no space")

    monkeypatch.setattr("instant_soup.evidence.agreement.write_json", full)
    assert len(agreements(store.folder, collect(store.folder))) == 3
    assert not (store.folder / "agreement.json").exists()


@pytest.mark.parametrize(
    "content", ["{", json.dumps({"a-b": {"cosine": 1}}), json.dumps({"a-b": 3})]
)
def test_damaged_notes_are_named(store: soup.Store, content: str) -> None:
    (store.folder / "agreement.json").write_text(content, encoding="utf-8")
    with pytest.raises(StoreError, match=r"agreement\.json"):
        agreements(store.folder, collect(store.folder))
