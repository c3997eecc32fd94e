"""Runs on other bytes are never seeds of one line, and one data under two paths is one data."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from instant_soup.evidence.runs import gather
from instant_soup.store.plain import seal

from .made_records import named, record


def placed(
    folder: str, digest: str = "", *, seed: int = 0, figure: float = 0.8, **more: str
) -> dict[str, Any]:
    """A record of data in *folder*, which held what *digest* says."""
    facts = record(seed=seed, figure=figure)
    facts["recipe"]["data"] = {"folder": folder}
    facts["key"] = f"{folder}/{seed}".encode().hex().ljust(64, "0")
    facts["contents"] = {"data": digest, **more} if digest else {}
    return facts


def tasks(*records: dict[str, Any]) -> dict[int, str]:
    """What the task of each seed is called."""
    return {run.seed: run.task for run in named(records)}


def test_other_bytes_at_one_place_are_other_tasks() -> None:
    names = tasks(
        placed("data", "a" * 64),
        placed("data", "a" * 64, seed=1),
        placed("data", "b" * 64, seed=2),
    )
    assert names == {
        0: "glue/sst2",
        1: "glue/sst2",
        2: "glue/sst2 (folder=data with contents bbbbbbbb)",
    }


def test_the_same_bytes_at_two_places_are_one_task() -> None:
    names = tasks(placed("/home/a/data", "a" * 64), placed("/mnt/b", "a" * 64, seed=1))
    assert set(names.values()) == {"glue/sst2"}


def test_a_record_without_digests_is_taken_for_what_others_found_there() -> None:
    names = tasks(placed("data"), placed("data", "a" * 64, seed=1))
    assert set(names.values()) == {"glue/sst2"}


def test_where_bytes_have_changed_a_record_without_digests_stands_alone() -> None:
    names = tasks(
        placed("data"),
        placed("data", "a" * 64, seed=1),
        placed("data", "b" * 64, seed=2),
    )
    assert len(set(names.values())) == 3


def test_digests_from_before_the_test_text_had_its_own_are_not_set_against_later_ones() -> (
    None
):
    names = tasks(placed("data", "a" * 64), placed("data", "b" * 64, seed=1, test="c"))
    assert set(names.values()) == {"glue/sst2"}


def test_other_bytes_under_one_recipe_are_named_and_the_first_record_is_shown(
    tmp_path: Path,
) -> None:
    kept = placed("data", "a" * 64, figure=0.7)
    changed = placed("data", "b" * 64, figure=0.9)
    for name, facts in {"first.json": kept, "second.json": changed}.items():
        (tmp_path / name).write_text(json.dumps(seal(facts)), encoding="utf-8")

    collection = gather(tmp_path)
    assert [run.figure for run in collection.runs] == [0.7]
    (sentence,) = collection.damaged
    assert "second.json" in sentence
    assert "other data or another model" in sentence


def test_one_run_that_was_copied_counts_once_without_a_word(tmp_path: Path) -> None:
    for name in ("first.json", "second.json"):
        facts = placed("data", "a" * 64)
        (tmp_path / name).write_text(json.dumps(seal(facts)), encoding="utf-8")

    collection = gather(tmp_path)
    assert len(collection.runs) == 1
    assert not collection.damaged


def test_a_figure_that_came_out_otherwise_is_named(tmp_path: Path) -> None:
    for name, figure in {"first.json": 0.7, "second.json": 0.8}.items():
        facts = placed("data", "a" * 64, figure=figure)
        (tmp_path / name).write_text(json.dumps(seal(facts)), encoding="utf-8")

    (sentence,) = gather(tmp_path).damaged
    assert "another figure, 0.8 for 0.7" in sentence
