"""Contenders that take turns."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise, permutations

import pytest

from instant_soup.export import timing
from instant_soup.export.timing import balanced, in_turns, paces


class Machine:
    """A machine with a clock, whose calls are slow after other work, and after heavy work for one call more."""

    def __init__(self) -> None:
        self.now = 0.0
        self.latest = ["", ""]

    def run(self, work: str) -> None:
        earlier, last = self.latest
        self.now += 1.0
        if last != work:
            self.now += 0.5
        if earlier == "heavy":
            self.now += 0.3
        self.latest = [last, work]


@pytest.mark.parametrize("count", [1, 2, 3, 4])
def test_all_come_once_a_turn_and_equally_often_after_each_other(count: int) -> None:
    names = list("abcd"[:count])
    for turns in (1, 2, 5, 8, 30):
        order = balanced(names, turns)
        for turn in range(turns):
            assert sorted(order[turn * count : (turn + 1) * count]) == names

        after = Counter(pairwise(order))
        if count > 1:
            assert not any(after[name, name] for name in names)
            times = [after[pair] for pair in permutations(names, 2)]
            assert max(times) - min(times) <= 1


def test_a_timed_call_comes_after_one_of_its_own() -> None:
    called: list[str] = []
    taken = in_turns({name: lambda name=name: called.append(name) for name in "abc"}, 4)
    assert called[:3] == ["a", "b", "c"]
    assert called[3::2] == called[4::2] == balanced(["a", "b", "c"], 4)
    assert {name: len(times) for name, times in taken.items()} == {"a": 4, "b": 4, "c": 4}


@pytest.mark.parametrize(
    "names", [*permutations(("dense", "sparse", "one", "other")), ("one", "other")]
)
def test_one_function_under_two_names_is_no_gain_whatever_runs_before(
    names: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    machine = Machine()
    monkeypatch.setattr(timing.time, "perf_counter", lambda: machine.now)
    work = {"dense": "heavy", "sparse": "heavy", "one": "light", "other": "light"}
    contenders = {name: lambda name=name: machine.run(work[name]) for name in names}

    for turns in (8, 30):
        seconds = in_turns(contenders, turns)
        for name, reference in (("one", "other"), ("other", "one")):
            pace = paces(seconds, reference)[name]
            assert pace.low <= 1 <= pace.high
            assert not pace.gain


def test_an_interval_of_8_turns_is_all_of_them_and_of_30_leaves_9_out_at_each_side() -> (
    None
):
    """By the binomial distribution: 2 * 9 / 256 is more than 5 %, and 2 * P(9 or fewer of 30) is 4.3 %."""
    for turns, low, high in ((8, 1.0, 8.0), (30, 10.0, 21.0), (2, 1.0, 2.0)):
        times = [float(number + 1) for number in range(turns)]
        pace = paces({"dense": [1.0] * turns, "sparse": times}, "dense")["sparse"]
        assert (pace.low, pace.high) == (low, high)


def test_a_hundredth_is_no_gain_however_surely_it_is_measured() -> None:
    seconds = {"dense": [1.0] * 30, "level": [0.99] * 30, "faster": [0.97] * 30}
    found = paces(seconds, "dense")
    assert not found["level"].gain
    assert found["faster"].gain


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
