"""Timing: contenders take turns in one process, and what is compared is what happened side by side."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median

Act = Callable[[], object]


@dataclass(frozen=True)
class Pace:
    """How long a contender takes beside a reference.

    Attributes:
        seconds: median.
        ratio: median over the turns of its time by that of the reference in the same turn; under 1 is faster.
        low, high: an interval of 95 % for that median, from the order of the ratios alone.
    """

    seconds: float
    ratio: float
    low: float
    high: float

    @property
    def gain(self) -> bool:
        """Whether it is faster, beyond what chance may do."""
        return self.high < 1


def in_turns(
    contenders: Mapping[str, Act], turns: int, warm: int = 2
) -> dict[str, list[float]]:
    """Seconds of each call. All take their turn, every other time in reverse order, after *warm* rounds to warm up."""
    taken: dict[str, list[float]] = {name: [] for name in contenders}
    for turn in range(-warm, turns):
        order = list(contenders)
        if turn % 2:
            order.reverse()
        for name in order:
            start = time.perf_counter()
            contenders[name]()
            if turn >= 0:
                taken[name].append(time.perf_counter() - start)
    return taken


def paces(taken: Mapping[str, Sequence[float]], reference: str) -> dict[str, Pace]:
    """What `in_turns` found, beside *reference*."""
    return {name: _pace(times, taken[reference]) for name, times in taken.items()}


def _pace(times: Sequence[float], reference: Sequence[float]) -> Pace:
    ratios = sorted(own / other for own, other in zip(times, reference, strict=True))
    count = len(ratios)
    # the sign test's interval, by the normal approximation
    off = max(0, math.floor(count / 2 - 0.98 * math.sqrt(count)))
    return Pace(median(times), median(ratios), ratios[off], ratios[count - 1 - off])
