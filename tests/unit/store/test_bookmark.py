"""Bookmark: a place in a folder, and the time it took to get there. The clock is ours; nothing waits."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from instant_soup.core.errors import StoreError
from instant_soup.store import bookmark as room
from instant_soup.store.bookmark import FolderBookmark

TENSORS = {
    "weights/a": torch.arange(6.0).view(2, 3),
    "mask/a": torch.tensor([5], dtype=torch.uint8),
}
FACTS = {
    "clock": {"steps": 3, "notes": {"rounds": [1, 2]}},
    "bill": {"train": {"steps": 3}},
}


class Clock:
    """Seconds that pass when they are told to."""

    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(room, "time", SimpleNamespace(monotonic=clock.monotonic))
    return clock


def test_a_place_is_read_back_as_it_was_saved(tmp_path: Path) -> None:
    FolderBookmark(tmp_path / "draw").save("leg", TENSORS, FACTS)
    found = FolderBookmark(tmp_path / "draw").load("leg")
    assert found is not None
    tensors, facts = found
    assert facts == FACTS
    assert tensors.keys() == TENSORS.keys()
    assert all(torch.equal(tensors[name], tensor) for name, tensor in TENSORS.items())


def test_a_place_never_saved_is_not_there(tmp_path: Path) -> None:
    bookmark = FolderBookmark(tmp_path / "draw")
    assert bookmark.load("leg") is None
    bookmark.save("round", TENSORS, FACTS)
    assert bookmark.load("leg") is None


def test_a_place_is_the_last_one_saved_there(tmp_path: Path) -> None:
    bookmark = FolderBookmark(tmp_path)
    bookmark.save("leg", TENSORS, {"n": 1})
    bookmark.save("leg", {"other": torch.zeros(1)}, {"n": 2})
    bookmark.save("round", TENSORS, {"n": 3})
    found = bookmark.load("leg")
    assert found is not None
    assert (list(found[0]), found[1]) == (["other"], {"n": 2})


def test_no_folder_is_made_before_there_is_something_to_save(tmp_path: Path) -> None:
    bookmark = FolderBookmark(tmp_path / "draw")
    bookmark.load("leg")
    bookmark.clear()
    assert list(tmp_path.iterdir()) == []


def test_clearing_forgets_every_place(tmp_path: Path) -> None:
    bookmark = FolderBookmark(tmp_path / "draw")
    bookmark.save("leg", TENSORS, FACTS)
    bookmark.save("round", TENSORS, FACTS)
    bookmark.clear()
    assert bookmark.load("leg") is None
    assert bookmark.load("round") is None
    assert list(tmp_path.iterdir()) == []


def test_saving_does_not_change_the_facts_it_is_given(tmp_path: Path) -> None:
    facts = dict(FACTS)
    FolderBookmark(tmp_path).save("leg", TENSORS, facts)
    assert facts == FACTS


def test_a_save_is_due_after_so_many_seconds_and_not_again_right_after(
    tmp_path: Path, clock: Clock
) -> None:
    bookmark = FolderBookmark(tmp_path, every=60)
    due = []
    for seconds in (0, 59.9, 0.2, 30):
        clock.now += seconds
        due.append(bookmark.due)
    bookmark.save("leg", TENSORS, FACTS)
    for seconds in (0, 59, 1.5):
        clock.now += seconds
        due.append(bookmark.due)
    assert due == [False, False, True, True, False, False, True]


def test_with_no_time_between_saves_one_is_always_due(
    tmp_path: Path, clock: Clock
) -> None:
    bookmark = FolderBookmark(tmp_path, every=0)
    assert bookmark.due
    bookmark.save("leg", TENSORS, FACTS)
    assert bookmark.due


def test_seconds_count_this_attempt(tmp_path: Path, clock: Clock) -> None:
    bookmark = FolderBookmark(tmp_path)
    clock.now += 12
    assert bookmark.seconds == 12


def test_seconds_add_up_over_attempts_to_their_last_save(
    tmp_path: Path, clock: Clock
) -> None:
    first = FolderBookmark(tmp_path)
    clock.now += 40
    first.save("leg", TENSORS, FACTS)
    clock.now += 25  # lost in the kill
    clock.now += 1000  # while nothing ran
    second = FolderBookmark(tmp_path)
    clock.now += 2
    second.load("leg")
    clock.now += 5
    assert second.seconds == 45
    second.save("leg", TENSORS, FACTS)
    third = FolderBookmark(tmp_path)
    third.load("leg")
    assert third.seconds == 45


def test_of_two_places_the_later_one_says_how_long_it_took(
    tmp_path: Path, clock: Clock
) -> None:
    first = FolderBookmark(tmp_path)
    clock.now += 10
    first.save("round", TENSORS, FACTS)
    clock.now += 10
    first.save("leg", TENSORS, FACTS)
    for order in (("leg", "round"), ("round", "leg")):
        second = FolderBookmark(tmp_path)
        for place in order:
            second.load(place)
        assert second.seconds == 20


def test_a_damaged_place_is_a_store_error(tmp_path: Path) -> None:
    bookmark = FolderBookmark(tmp_path)
    bookmark.save("leg", TENSORS, FACTS)
    (path,) = tmp_path.iterdir()
    path.write_bytes(path.read_bytes()[:50])
    with pytest.raises(StoreError, match="bookmark"):
        bookmark.load("leg")


def test_a_place_that_cannot_be_saved_is_a_store_error(tmp_path: Path) -> None:
    (tmp_path / "draw").write_text("a file in the way")
    with pytest.raises(StoreError, match="could not write"):
        FolderBookmark(tmp_path / "draw").save("leg", TENSORS, FACTS)
