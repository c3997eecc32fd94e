"""Records are read strictly, whatever their schema, and written to the letter as they were read."""

from __future__ import annotations

import json
from collections.abc import Callable
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from instant_soup.core.budget import Cost
from instant_soup.core.errors import StoreError
from instant_soup.store.plain import seal, sealed
from instant_soup.store.record import (
    Record,
    read,
    read_run,
    read_transfer,
    upgraded,
    write,
)

ROOT = Path(__file__).parents[3]
CORPUS = ROOT / "tests" / "corpus" / "records"
Facts = dict[str, Any]


def facts() -> Facts:
    """A record of schema 3 as it lies in its file."""
    loaded: Facts = json.loads((CORPUS / "schema-3-lth.json").read_text(encoding="utf-8"))
    return loaded


def put(folder: Path, changed: Facts) -> Path:
    """*changed* in a file, with a checksum that is right."""
    path = folder / "runs" / "cell" / "record.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(seal(changed)), encoding="utf-8")
    return path


def test_a_sealed_record_is_known_as_sealed_until_anything_changes() -> None:
    whole = seal(facts())
    assert sealed(whole)
    assert seal(whole) == whole
    for name in whole:
        changed = deepcopy(whole)
        changed[name] = "other"
        assert not sealed(changed), name
        del changed[name]
        assert not sealed(changed), name
    unsealed = facts()
    del unsealed["checksum"]
    assert not sealed(unsealed)


# types


def test_a_record_is_typed_through_and_through() -> None:
    record = read_run(CORPUS / "schema-3-lth.json")
    assert record.version == 3
    assert record.recipe.method.name == "lth"
    assert record.recipe.training.line == "linear"
    assert isinstance(record.cost.train["select"], Cost)
    assert record.cost.full_fine_tune.passes > 0
    assert all(kept <= size for kept, size in record.ticket.layers.values())
    with pytest.raises(ValidationError, match="frozen"):
        record.metric = "other"


@pytest.mark.parametrize("path", sorted(CORPUS.iterdir()), ids=lambda path: path.name)
def test_a_record_of_any_schema_is_written_and_read_again_as_it_was(
    path: Path, tmp_path: Path
) -> None:
    record = read_run(path)
    write(tmp_path / "record.json", record)
    again = read_run(tmp_path / "record.json")
    without = {"checksum"}
    assert again.model_dump(exclude=without) == record.model_dump(exclude=without)


def test_what_a_later_version_notes_beside_is_kept() -> None:
    whole = upgraded({**facts(), "later": {"a": [1, None]}})
    record = Record.model_validate(whole)
    assert record.facts() == whole


def test_an_old_record_gets_the_places_of_knobs_that_today_has() -> None:
    old = json.loads((CORPUS / "schema-1-instant-soup.json").read_text(encoding="utf-8"))
    method = read_run(CORPUS / "schema-1-instant-soup.json").recipe.method.facts()
    assert "subset" not in method
    assert method["protocols"]["subset"] == old["recipe"]["method"]["subset"]


# strictness


def test_an_edited_figure_is_refused_by_the_name_of_its_file(tmp_path: Path) -> None:
    path = put(tmp_path, facts())
    whole = json.loads(path.read_text(encoding="utf-8"))
    whole["test"] = dict.fromkeys(whole["test"], 0.999)
    path.write_text(json.dumps(whole), encoding="utf-8")
    with pytest.raises(
        StoreError, match=r"record\.json does not match its checksum.*doctor .*runs"
    ):
        read(path)


def test_a_record_without_its_checksum_is_refused_from_schema_3_on(
    tmp_path: Path,
) -> None:
    path = put(tmp_path, facts())
    whole = json.loads(path.read_text(encoding="utf-8"))
    del whole["checksum"]
    path.write_text(json.dumps(whole), encoding="utf-8")
    with pytest.raises(StoreError, match="does not match its checksum"):
        read(path)


def set_to(*way: str, value: Any) -> Callable[[Facts], None]:
    def change(facts: Facts) -> None:
        *above, last = way
        for step in above:
            facts = facts[step]
        facts[last] = value

    return change


ODD = {
    "recipe is a list": set_to("recipe", value=[]),
    "no name of a method": set_to("recipe", "method", value={}),
    "a seed of text": set_to("recipe", "seed", value="0"),
    "a sparsity above one": set_to("recipe", "sparsity", value=1.5),
    "a budget below nothing": set_to("recipe", "budget", value=-0.5),
    "a cost that is infinite": set_to("cost", "multiple_of_T", value=float("inf")),
    "a cost below zero": set_to("cost", "multiple_of_T", value=-1.0),
    "T of no passes": set_to("cost", "full_fine_tune", "passes", value=0),
    "work that is text": set_to("cost", "train", value={"train": "much"}),
    "work below zero": set_to(
        "cost",
        "train",
        value={"train": {"steps": -1, "examples": 1, "passes": 1, "flops": 1}},
    ),
    "a unit of its own": set_to("cost", "train", value={"train": {"stairs": 1}}),
    "steps true": set_to("cost", "train", value={"train": {"steps": True}}),
    "a metric that was not measured": set_to("metric", value="f1"),
    "figures in a list": set_to("test", value=[0.5]),
    "a figure of text": set_to("test", value={"accuracy": "0.5"}),
    "layers of one number": set_to("ticket", "layers", value={"a": [1]}),
    "a ticket of nothing": set_to("ticket", value=None),
    "rounds of nothing": set_to("ticket", "notes", value={"rounds": [None]}),
    "seconds by purpose": set_to("seconds", value={}),
    "a key of a number": set_to("key", value=7),
    "made of text": set_to("made", value="today"),
    "a count beyond reach": set_to("examples", "test", value=10**30),
    "a clock of text": set_to("clock", value="12:00"),
}


@pytest.mark.parametrize("change", ODD.values(), ids=ODD)
def test_an_odd_record_is_refused_with_the_file_and_the_field(
    tmp_path: Path, change: Callable[[Facts], None]
) -> None:
    odd = facts()
    change(odd)
    with pytest.raises(
        StoreError,
        match=r"record\.json is no record that a run would write: .+; `instant-soup doctor",
    ):
        read(put(tmp_path, odd))


@pytest.mark.parametrize("schema", [None, True, "3", 0, 99, 3.0, [3]])
def test_an_odd_schema_is_refused(tmp_path: Path, schema: Any) -> None:
    with pytest.raises(StoreError, match=r"is of schema .*; this version reads 1 to"):
        read(put(tmp_path, {**facts(), "schema": schema}))


@pytest.mark.parametrize(
    "text",
    ["", "{", '{"schema": ' + "1" * 5000 + "}", "[" * 100_000, "\ufeff{}", '"\\ud800'],
    ids=range(6),
)
def test_what_is_no_json_is_named(tmp_path: Path, text: str) -> None:
    (tmp_path / "record.json").write_text(text, encoding="utf-8")
    with pytest.raises(StoreError, match=r"could not read .*record\.json"):
        read(tmp_path / "record.json")


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    import os

    os.mkfifo(tmp_path / "record.json")
    with pytest.raises(StoreError, match="no regular file"):
        read(tmp_path / "record.json")


def test_a_transfer_is_read_as_strictly(tmp_path: Path) -> None:
    path = next((ROOT / "results" / "transfers").glob("*.json"))
    whole = json.loads(path.read_text(encoding="utf-8"))
    assert read_transfer(path).source.task
    for change, said in (
        ({"fit": None}, "fit: "),
        ({"test": {}}, "metric is"),
        ({"schema": 9}, "of schema 9"),
    ):
        odd = tmp_path / "odd.json"
        odd.write_text(json.dumps(seal({**whole, **change})), encoding="utf-8")
        with pytest.raises(StoreError, match=said):
            read_transfer(odd)
