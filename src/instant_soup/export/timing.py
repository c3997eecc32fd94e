"""Timing: times contenders that take turns in one process, and compares times of the same turn."""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median

Call = Callable[[], object]

NOISE = 0.02
"""How much faster a contender has to be: less than this, one model beside itself may seem to gain or to lose."""


@dataclass(frozen=True)
class Pace:
    """How long a contender takes beside a reference.

    Attributes:
        seconds: median.
        ratio: its time divided by that of the reference in the same turn, median over the turns; under 1 is faster.
        low, high: an interval of at least 95 % for that median, from the order of the ratios alone.
    """

    seconds: float
    ratio: float
    low: float
    high: float

    @property
    def gain(self) -> bool:
        """Whether it is faster by more than chance and `NOISE` explain."""
        return self.high < 1 - NOISE


def in_turns(
    contenders: Mapping[str, Call], turns: int, warm: int = 1
) -> dict[str, list[float]]:
    """The seconds of each call, by contender.

    A call leaves caches and threads to the one after it. So each timed call comes right after one of the same
    contender that is not timed, and over the turns all contenders come after each other equally often.

    Args:
        turns: how often each contender is timed; it is called twice as often.
        warm: how often each is called before that, without being timed.
    """
    for call in contenders.values():
        for _ in range(warm):
            call()

    seconds: dict[str, list[float]] = {name: [] for name in contenders}
    for name in balanced(list(contenders), turns):
        call = contenders[name]
        call()
        start = time.perf_counter()
        call()
        seconds[name].append(time.perf_counter() - start)
    return seconds


def balanced(names: Sequence[str], turns: int) -> list[str]:
    """An order in which all *names* come once in each turn, after each other equally often and never after themselves.

    With up to four names no two of these numbers differ by more than one, whatever the number of turns.
    """
    order: list[str] = []
    times_after: Counter[tuple[str, str]] = Counter()

    for _ in range(turns):
        waiting = list(names)
        while waiting:
            last = order[-1] if order else ""
            # one name alone has nothing else to come after
            others = [name for name in waiting if name != last] or waiting
            following = min(others, key=lambda name: times_after[last, name])

            times_after[last, following] += 1
            waiting.remove(following)
            order.append(following)

    return order


def paces(seconds: Mapping[str, Sequence[float]], reference: str) -> dict[str, Pace]:
    """The pace of each contender beside *reference*, from the *seconds* of `in_turns`."""
    return {name: _pace(times, seconds[reference]) for name, times in seconds.items()}


def _pace(times: Sequence[float], reference: Sequence[float]) -> Pace:
    pairs = zip(times, reference, strict=True)
    ratios = sorted(own / other for own, other in pairs)
    left_out = _left_out(len(ratios))
    low, high = ratios[left_out], ratios[-1 - left_out]
    return Pace(median(times), median(ratios), low, high)


def _left_out(count: int) -> int:
    """How many of *count* sorted values lie on each side of the interval of the sign test."""
    # twice the probability that so many or fewer of *count* coins show heads
    outside = 2 * 0.5**count
    left_out = 0
    while True:
        outside += 2 * math.comb(count, left_out + 1) * 0.5**count
        if outside > 0.05 or left_out + 1 >= count / 2:
            return left_out
        left_out += 1
