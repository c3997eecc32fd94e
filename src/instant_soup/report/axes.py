"""Axes: from values to places on paper, and the ticks between."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import ceil, floor, log10

WIDTH, HEIGHT = 460, 310
WIDE = 700  # of charts with a page to themselves
LEFT, RIGHT, TOP, BOTTOM = 66, 12, 14, 44
_STEPS = (1, 2, 2.5, 5, 10)


@dataclass(frozen=True)
class Scale:
    """A straight or logarithmic line from values to places.

    Attributes:
        low, high: values at its ends.
        start, end: places of its ends, in the units of the drawing.
    """

    low: float
    high: float
    start: float
    end: float
    log: bool = False

    def __call__(self, value: float) -> float:
        """Where *value* is."""
        low, high, at = (
            map(log10, (self.low, self.high, value))
            if self.log
            else (self.low, self.high, value)
        )
        return self.start + (at - low) / (high - low) * (self.end - self.start)

    @property
    def ticks(self) -> list[float]:
        """Round values between the ends, about five of them."""
        if self.log and len(found := self._powers()) > 2:
            return found
        step = _step((self.high - self.low) / 5)
        first, last = ceil(self.low / step - 1e-9), floor(self.high / step + 1e-9)
        return [i * step for i in range(first, last + 1)]

    def _powers(self) -> list[float]:
        steps = (1, 2, 5) if self.high / self.low < 200 else (1,)
        found = [step * 10.0**power for power in range(-6, 9) for step in steps]
        return [
            value
            for value in found
            if self.low <= value * 1.001 and value <= self.high * 1.001
        ]


def across(
    values: Iterable[float],
    *,
    log: bool = False,
    room: float = 0.06,
    right: float = RIGHT,
) -> Scale:
    """A scale from left to right that holds *values*, with some room, and *right* free beside it."""
    return _scale(values, LEFT, WIDTH - right, log=log, room=room)


def upwards(values: Iterable[float], *, room: float = 0.06) -> Scale:
    """A scale from bottom to top that holds *values*, with some room."""
    return _scale(values, HEIGHT - BOTTOM, TOP, log=False, room=room)


def _scale(
    values: Iterable[float], start: float, end: float, *, log: bool, room: float
) -> Scale:
    found = [value for value in values if not log or value > 0]
    low, high = (min(found), max(found)) if found else (1.0, 2.0)
    if log:
        spread = (high / low) ** room if high > low * 1.001 else 1.3
        return Scale(low / spread, high * spread, start, end, log=True)
    margin = (
        (high - low) * room if high - low > 1e-9 * abs(high) else abs(high) * 0.1 or 0.1
    )
    return Scale(low - margin, high + margin, start, end)


def _step(least: float) -> float:
    power: float = 10.0 ** floor(log10(least))
    return next(step * power for step in _STEPS if step * power >= least * 0.999)


def label(value: float, ticks: Sequence[float]) -> str:
    """A tick's value with as many digits as its neighbours need."""
    gap = min((b - a for a, b in pairwise(ticks)), default=abs(value) or 1.0)
    digits = max(0, ceil(-log10(gap) - 1e-9)) if gap > 0 else 0
    digits += round(gap * 10**digits, 6) % 1 != 0
    return f"{0.0 if abs(value) < gap / 1e6 else value:.{digits}f}"


def spread(places: Sequence[float], gap: float, low: float, high: float) -> list[float]:
    """*places*, in rising order, moved apart until no two are nearer than *gap*, and between *low* and *high*."""
    moved: list[float] = []
    for place in places:
        moved.append(max(place, moved[-1] + gap if moved else low))
    limit = high
    for i in range(len(moved) - 1, -1, -1):
        moved[i] = min(moved[i], limit)
        limit = moved[i] - gap
    return moved
