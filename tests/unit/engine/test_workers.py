"""The workers by themselves, over a backend that does what a script says, in no time."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import pytest

from instant_soup.core.errors import EngineError, TrainingError
from instant_soup.engine import workers as room
from instant_soup.engine.worker import place
from instant_soup.engine.workers import Event, Workers

Script = Callable[[int, Any, int], Event | None]
"""(hand, errand, how often it was given before) -> what comes of it; None for nothing, ever."""


def ready(hand: int) -> Event:
    return Event(hand, "ready", place())


class Scripted:
    """Workers that answer in the reverse of the order in which they were asked, as *script* has it."""

    advice = "is there any?"

    def __init__(
        self, script: Script, begins: Callable[[int], Event | None] = ready
    ) -> None:
        self.script, self.begins = script, begins
        self.events: deque[Event] = deque()
        self.asked: list[tuple[int, Any]] = []
        self.started: list[int] = []
        self.shared: list[Any] = []
        self.closed = False
        self.late: Event | None = None  # comes when nothing else has for a while
        self.idle = 0

    def start(self, hand: int) -> None:
        self.started.append(hand)
        if event := self.begins(hand):
            self.events.append(event)

    def share(self, shared: Any) -> Any:
        self.shared.append(shared)
        return shared

    def forget(self, handle: Any) -> None:
        self.shared.remove(handle)

    def give(self, hand: int, handle: Any, errand: Any) -> None:
        assert handle in self.shared
        before = sum(other == errand for _, other in self.asked)
        self.asked.append((hand, errand))
        event = self.script(hand, errand, before)
        if event is not None:
            self.events.append(event)
            if event.kind == "lost":
                self.start(hand)

    def wait(self, seconds: float) -> Sequence[Event]:
        del seconds
        lost = [event for event in self.events if event.kind in ("lost", "ready")]
        if lost:
            self.events.remove(lost[0])
            return [lost[0]]
        self.idle = 0 if self.events else self.idle + 1
        if self.late and self.idle == 9:
            self.events.append(self.late)
        return [self.events.pop()] if self.events else []

    def close(self) -> None:
        self.closed = True


def doubled(hand: int, errand: Any, before: int) -> Event:
    return Event(hand, "answer", 2 * errand)


def names(count: int) -> list[str]:
    return [f"errand {number}" for number in range(count)]


@pytest.mark.parametrize("count", [1, 2, 5, 20])
def test_answers_come_in_the_order_of_the_errands_whoever_is_done_first(
    count: int,
) -> None:
    with Workers(backend := Scripted(doubled), count) as workers:
        assert list(workers.each("state", range(11), names(11))) == [
            2 * i for i in range(11)
        ]
        assert sorted(errand for _, errand in backend.asked) == list(range(11))
        assert backend.shared == []
    assert backend.closed


def test_a_worker_that_dies_is_replaced_and_its_errand_done_again() -> None:
    def script(hand: int, errand: Any, before: int) -> Event:
        return (
            Event(hand, "lost", "it was killed")
            if errand == 2 and before < 2
            else doubled(hand, errand, before)
        )

    with Workers(backend := Scripted(script), 3) as workers:
        assert list(workers.each("state", range(5), names(5))) == [0, 2, 4, 6, 8]
    assert sum(errand == 2 for _, errand in backend.asked) == 3
    assert len(backend.started) == 5


@pytest.mark.parametrize("kind", ["lost", "error"])
def test_what_fails_three_times_ends_it_with_its_name_and_why(kind: Any) -> None:
    def script(hand: int, errand: Any, before: int) -> Event:
        return (
            Event(hand, kind, "the lights went out")
            if errand == 1
            else doubled(hand, errand, before)
        )

    workers = Workers(backend := Scripted(script), 2)
    with pytest.raises(
        EngineError,
        match=r"^errand 1 failed 3 times, the last time because the lights went out$",
    ):
        list(workers.each("state", range(4), names(4)))
    assert sum(errand == 1 for _, errand in backend.asked) == 3
    assert backend.shared == []


def test_an_error_of_ours_is_raised_at_once_and_as_it_is() -> None:
    def script(hand: int, errand: Any, before: int) -> Event:
        return (
            Event(hand, "error", TrainingError("the loss is nan"))
            if errand == 1
            else doubled(hand, errand, before)
        )

    answers = Workers(backend := Scripted(script), 1).each("state", range(4), names(4))
    assert next(answers) == 0
    with pytest.raises(TrainingError, match="the loss is nan"):
        next(answers)
    assert [errand for _, errand in backend.asked] == [0, 1]


def test_no_more_is_begun_ahead_of_what_is_asked_for_than_memory_is_meant_for() -> None:
    begun: list[int] = []

    def script(hand: int, errand: Any, before: int) -> Event | None:
        begun.append(errand)
        return None if errand == 0 else doubled(hand, errand, before)

    backend = Scripted(script)
    backend.late = Event(0, "answer", 0)
    answers = Workers(backend, 3).each("state", range(100), names(100))
    assert next(answers) == 0
    assert sorted(begun) == list(range(room.AHEAD * 3))
    assert list(answers) == [2 * i for i in range(1, 100)]


def test_answers_to_what_is_asked_no_more_are_dropped() -> None:
    def script(hand: int, errand: Any, before: int) -> Event | None:
        return None if errand == "old 1" else Event(hand, "answer", errand)

    workers = Workers(backend := Scripted(script), 2)
    answers = workers.each("one", ["old 0", "old 1"], names(2))
    assert next(answers) == "old 0"
    answers.close()
    (late,) = {hand for hand, errand in backend.asked if errand == "old 1"}
    answers = workers.each("two", ["new 0", "new 1", "new 2"], names(3))
    backend.events.append(Event(late, "answer", "late"))
    assert list(answers) == ["new 0", "new 1", "new 2"]


def test_what_is_shared_is_let_go_of_even_if_no_answer_is_ever_asked_for() -> None:
    workers = Workers(backend := Scripted(doubled), 1)
    workers.each("state", range(3), names(3)).close()
    assert list(workers.each("state", [], [])) == []
    assert backend.shared == []


def test_a_straggler_is_overtaken_by_a_second_worker(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(room, "SLOW_AT_LEAST", 0.0)
    monkeypatch.setattr(room, "SLOW", 0.0)

    def script(hand: int, errand: Any, before: int) -> Event | None:
        return None if errand == 0 and before == 0 else doubled(hand, errand, before)

    workers = Workers(backend := Scripted(script), 2)
    assert list(workers.each("state", range(3), names(3))) == [0, 2, 4]
    assert sum(errand == 0 for _, errand in backend.asked) == 2


def test_it_does_not_wait_for_ever_for_a_worker() -> None:
    workers = Workers(Scripted(doubled, begins=lambda _: None), 1, patience=0.0)
    with pytest.raises(EngineError, match=r"no worker was ready for 0 s; is there any\?"):
        list(workers.each("state", [1], names(1)))


def test_workers_of_other_versions_are_refused_and_other_hardware_is_told() -> None:
    for change, kind in (
        ({"versions": {"torch": "0.1"}}, EngineError),
        ({"hardware": "abacus"}, UserWarning),
    ):
        backend = Scripted(doubled, begins=partial(_other, change))
        workers = Workers(backend, 1)
        with pytest.raises(
            kind, match="install the same on all" if kind is EngineError else "abacus"
        ):
            list(workers.each("state", [1], names(1)))


def _other(change: dict[str, Any], hand: int) -> Event:
    return Event(hand, "ready", {**place(), **change})


def test_no_more_workers_are_started_than_there_is_work_for() -> None:
    with Workers(backend := Scripted(doubled), 100) as workers:
        assert backend.started == []
        list(workers.each("state", range(2), names(2)))
        list(workers.each("state", range(3), names(3)))
    assert backend.started == [0, 1, 2]


def test_a_worker_that_cannot_begin_says_why() -> None:
    workers = Workers(
        Scripted(
            doubled,
            begins=lambda hand: Event(hand, "unable", "OSError: no disk, on node-7"),
        ),
        1,
    )
    with pytest.raises(
        EngineError, match="a worker cannot begin: OSError: no disk, on node-7"
    ):
        list(workers.each("state", [1], names(1)))
