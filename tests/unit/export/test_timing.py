"""Contenders that take turns."""

from __future__ import annotations

import pytest

from instant_soup.export.timing import in_turns, paces


def test_all_take_their_turn_and_the_order_alternates() -> None:
    called: list[str] = []
    taken = in_turns(
        {name: lambda name=name: called.append(name) for name in "ab"}, 3, warm=1
    )
    assert called == ["b", "a", "a", "b", "b", "a", "a", "b"]
    assert {name: len(times) for name, times in taken.items()} == {"a": 3, "b": 3}


def test_a_pace_is_the_median_of_what_happened_side_by_side() -> None:
    slow = [1.0, 10.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0]
    found = paces(
        {"dense": slow, "half": [time / 2 for time in slow], "same": slow}, "dense"
    )
    assert (
        found["half"].ratio
        == found["half"].low
        == found["half"].high
        == pytest.approx(0.5)
    )
    assert found["half"].seconds == pytest.approx(0.5)
    assert found["half"].gain
    assert not found["same"].gain


def test_a_gain_that_chance_may_explain_is_none() -> None:
    ratios = [0.7, 0.8, 0.9, 0.9, 0.9, 0.95, 1.1, 1.2, 1.3, 1.0]
    found = paces({"dense": [1.0] * 10, "sparse": ratios}, "dense")["sparse"]
    assert found.ratio < 1 < found.high
    assert not found.gain
