"""Timing: times contenders that take turns in one process, and compares times of the same turn."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median

Call = Callable[[], object]


@dataclass(frozen=True)
class Pace:
    """How long a contender takes beside a reference.

    Attributes:
        seconds: median.
        ratio: its time divided by that of the reference in the same turn, median over the turns; under 1 is faster.
        low, high: an interval of 95 % for that median, from the order of the ratios alone.
    """

    seconds: float
    ratio: float
    low: float
    high: float

    @property
    def gain(self) -> bool:
        """Whether it is faster by more than chance explains."""
        return self.high < 1


def in_turns(
    contenders: Mapping[str, Call], turns: int, warm: int = 2
) -> dict[str, list[float]]:
    """The seconds of each call, by contender.

    Args:
        turns: how often each contender is called and timed.
        warm: how often each is called before that, without being timed.
    """
    seconds: dict[str, list[float]] = {name: [] for name in contenders}
    for turn in range(-warm, turns):
        order = list(contenders)
        # every other time in reverse, because a call leaves caches to the next one
        if turn % 2:
            order.reverse()

        for name in order:
            start = time.perf_counter()
            contenders[name]()
            elapsed = time.perf_counter() - start
            if turn >= 0:
                seconds[name].append(elapsed)
    return seconds


def paces(seconds: Mapping[str, Sequence[float]], reference: str) -> dict[str, Pace]:
    """The pace of each contender beside *reference*, from the *seconds* of `in_turns`."""
    return {name: _pace(times, seconds[reference]) for name, times in seconds.items()}


def _pace(times: Sequence[float], reference: Sequence[float]) -> Pace:
    pairs = zip(times, reference, strict=True)
    ratios = sorted(own / other for own, other in pairs)
    count = len(ratios)
    # the interval of the sign test, by the normal approximation: 0.98 is half of 1.96
    rank = max(0, math.floor(count / 2 - 0.98 * math.sqrt(count)))
    return Pace(median(times), median(ratios), ratios[rank], ratios[count - 1 - rank])
