"""Workers: they carry out errands; answers come in the order of the errands, whoever is done first.

An errand is a pure function of what is shared and of itself, so it does not matter who does it, or whether two do. It
is done again elsewhere when its worker dies, and by a second worker when it takes far longer than the others.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Generator, Sequence
from dataclasses import dataclass, field
from statistics import median
from types import TracebackType
from typing import Any, Literal, Protocol, Self

from ..core.errors import EngineError, SoupError
from .worker import Facts, compare, place

FAILURES = 3  # of one errand, or of a worker's start, before it is given up
# errands per worker that may be begun before the first of them is asked for: their answers take memory
AHEAD = 2
SLOW = 4.0  # times the median, after which an errand is given to a second worker
SLOW_AT_LEAST = 30.0  # seconds, before which it never is
_BEAT = 1.0  # seconds between looks at the clock


@dataclass(frozen=True)
class Event:
    """What a backend tells.

    Attributes:
        hand: the number of the worker.
        kind: it is ready for its first errand, has an answer, failed at its errand, cannot begin, or is gone.
        value: facts of its place, the answer, the error, or why.
    """

    hand: int
    kind: Literal["ready", "answer", "error", "unable", "lost"]
    value: Any


class Backend(Protocol):
    """Where workers run. One that is lost is replaced without being asked for, and says when it is ready."""

    @property
    def advice(self) -> str:
        """What to look at where no worker comes up."""

    def start(self, hand: int) -> None:
        """Start the worker of this number, without waiting for it."""

    def share(self, shared: Any) -> Any:
        """Put what all errands of a round share where workers find it, once; gives a handle."""

    def forget(self, handle: Any) -> None:
        """Let it go again."""

    def give(self, hand: int, handle: Any, errand: Any) -> None:
        """Give an errand to a worker that is ready."""

    def wait(self, seconds: float) -> Sequence[Event]:
        """What has happened since; waits so long for something to happen."""

    def close(self) -> None:
        """End all workers."""


@dataclass
class _Round:
    """The errands of one call, and how far they are."""

    names: Sequence[str]
    waiting: deque[int] = field(init=False)
    answers: dict[int, Any] = field(default_factory=dict)
    done: set[int] = field(default_factory=set)
    failures: dict[int, list[str]] = field(default_factory=dict)
    seconds: list[float] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.waiting = deque(range(len(self.names)))

    def answer(self, index: int, value: Any, seconds: float) -> None:
        if index in self.done:
            return  # another worker was faster

        self.answers[index] = value
        self.done.add(index)
        self.seconds.append(seconds)

    def fail(self, index: int, why: str) -> None:
        """Have an errand done again. Raises EngineError when it has failed too often."""
        if index in self.done:
            return

        reasons = self.failures.setdefault(index, [])
        reasons.append(why)
        if len(reasons) >= FAILURES:
            raise EngineError(
                f"{self.names[index]} failed {FAILURES} times, the last time because {why}"
            )

        if index not in self.waiting:
            self.waiting.appendleft(index)


@dataclass
class _Work:
    """An errand that a worker is at."""

    round: _Round
    index: int
    since: float


class Workers:
    """Workers of one backend. A context manager: at its end they are gone.

    Args:
        backend: where they run.
        count: how many of them at most; they are started when there is something for them to do.
        patience: seconds to wait while no worker is ready or at work, before that is an error.

    Attributes:
        places: where each worker was when it was last ready, see `instant_soup.engine.worker.place`.
    """

    def __init__(self, backend: Backend, count: int, *, patience: float = 600.0) -> None:
        self.backend = backend
        self.count = count
        self.places: dict[int, Facts] = {}
        self._patience = patience
        self._own_place = place()

        # by the number of the worker: those that take errands, what they are at, how often they died too early
        self._ready: set[int] = set()
        self._busy: dict[int, _Work] = {}
        self._stillborn: dict[int, int] = {}
        self._started = 0
        self._idle_since = 0.0

    def each(
        self, shared: Any, errands: Sequence[Any], names: Sequence[str]
    ) -> Generator[Any]:
        """The answer to each errand, in their order; the first are begun at once. *names*: what errors call them.

        Raises EngineError when an errand fails for the third time, no worker can begin, or none is there for too long;
        an error of our own that an errand raises is raised as it is.
        """
        while self._started < min(self.count, len(errands)):
            self.backend.start(self._started)
            self._started += 1

        self._idle_since = time.monotonic()
        answers = self._answers(_Round(names), self.backend.share(shared), errands)
        # a generator that was never begun would not run its `finally`, and what is shared would stay
        next(answers)
        return answers

    def _answers(
        self, round_: _Round, handle: Any, errands: Sequence[Any]
    ) -> Generator[Any]:
        """Nothing, as soon as the first errands are begun; then the answers."""
        try:
            self._hand_out(round_, handle, errands, 0)
            yield

            for index in range(len(errands)):
                self._hand_out(round_, handle, errands, index)
                while index not in round_.answers:
                    self._heed(round_)
                    self._hand_out(round_, handle, errands, index)
                yield round_.answers.pop(index)
        finally:
            self.backend.forget(handle)

    def _hand_out(
        self, round_: _Round, handle: Any, errands: Sequence[Any], index: int
    ) -> None:
        """Give every idle worker something to do, but nothing that is asked for only much later."""
        for hand in sorted(self._ready - self._busy.keys()):
            # answers that nobody has asked for yet take memory
            if round_.waiting and round_.waiting[0] < index + AHEAD * self.count:
                todo = round_.waiting.popleft()
            else:
                slow = self._slow(round_)
                if slow is None:
                    return
                todo = slow

            self._busy[hand] = _Work(round_, todo, time.monotonic())
            self.backend.give(hand, handle, errands[todo])

    def _slow(self, round_: _Round) -> int | None:
        """An errand that only one worker is at, for far longer than the others took."""
        if not round_.seconds:
            return None

        limit = time.monotonic() - max(SLOW_AT_LEAST, SLOW * median(round_.seconds))
        open_work = []
        for work in self._busy.values():
            if work.round is round_ and work.index not in round_.done:
                open_work.append(work)

        for work in sorted(open_work, key=lambda work: work.since):
            helpers = sum(other.index == work.index for other in open_work)
            if work.since < limit and helpers == 1:
                return work.index
        return None

    def _heed(self, round_: _Round) -> None:
        """Wait for something to happen, and take it in."""
        for event in self.backend.wait(_BEAT):
            if event.kind == "ready":
                compare(event.value, self._own_place)
                self.places[event.hand] = event.value
                self._ready.add(event.hand)
                self._stillborn.pop(event.hand, None)
            elif event.kind == "unable":
                if isinstance(event.value, SoupError):
                    raise event.value
                raise EngineError(f"a worker cannot begin: {event.value}")
            else:
                self._end(event, round_)

        self._lose_patience()

    def _end(self, event: Event, round_: _Round) -> None:
        """A worker has ended its errand, or itself."""
        work = self._busy.pop(event.hand, None)
        if event.kind == "lost":
            self._ready.discard(event.hand)
            self._count_stillborn(event)

        if work is None or work.round is not round_:
            return
        if event.kind == "answer":
            round_.answer(work.index, event.value, time.monotonic() - work.since)
        elif isinstance(event.value, SoupError):
            raise event.value
        else:
            round_.fail(work.index, str(event.value))

    def _count_stillborn(self, event: Event) -> None:
        self._stillborn[event.hand] = self._stillborn.get(event.hand, 0) + 1
        if self._stillborn[event.hand] > FAILURES and not self._ready:
            raise EngineError(
                f"a worker died {FAILURES} times before it was ready, the last time because {event.value}"
            )

    def _lose_patience(self) -> None:
        if self._ready:
            self._idle_since = time.monotonic()
        elif time.monotonic() - self._idle_since > self._patience:
            raise EngineError(
                f"no worker was ready for {self._patience:.0f} s; {self.backend.advice}"
            )

    def close(self) -> None:
        """End all workers."""
        self.backend.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        _: BaseException | None,
        __: TracebackType | None,
    ) -> None:
        self.close()
