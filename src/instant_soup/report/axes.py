"""Axes: from values to places on paper, and the ticks between."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import ceil, floor, log10

WIDTH = 460
HEIGHT = 310
WIDE = 700  # of charts with a page to themselves
LEFT = 66
RIGHT = 12
TOP = 14
BOTTOM = 44
_STEPS = (1, 2, 2.5, 5, 10)
_SLACK = 1e-9  # of a step: what is a tick but for rounding is one


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
        measure = log10 if self.log else float
        low = measure(self.low)
        high = measure(self.high)
        share = (measure(value) - low) / (high - low)
        return self.start + share * (self.end - self.start)

    @property
    def ticks(self) -> list[float]:
        """Round values between the ends, about five of them."""
        if self.log:
            powers = self._powers()
            if len(powers) > 2:
                return powers

        # a line that is logarithmic over so short a way is nearly straight
        step = _step((self.high - self.low) / 5)
        first = ceil(self.low / step - _SLACK)
        last = floor(self.high / step + _SLACK)
        return [i * step for i in range(first, last + 1)]

    def _powers(self) -> list[float]:
        """Powers of ten between the ends; over few of them their double and their fivefold, too."""
        ratio = self.high / self.low
        steps = (1, 2, 5) if ratio < 200 else (1,)
        powers = []
        for exponent in range(-6, 9):
            for step in steps:
                value = step * 10.0**exponent
                # a thousandth more at both ends, which powers of ten may miss by rounding
                if self.low <= value * 1.001 and value <= self.high * 1.001:
                    powers.append(value)
        return powers


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
    values: Iterable[float],
    start: float,
    end: float,
    *,
    log: bool,
    room: float,
) -> Scale:
    # what is not above zero has no logarithm
    shown = [value for value in values if not log or value > 0]
    low = min(shown, default=1.0)
    high = max(shown, default=2.0)

    if log:
        ratio = (high / low) ** room if high > low * 1.001 else 1.3
        return Scale(low / ratio, high * ratio, start, end, log=True)

    # of values that are all one there is no width to take a share of, and of zeros not even a size
    margin = (high - low) * room
    if high - low <= 1e-9 * abs(high):
        margin = abs(high) * 0.1 or 0.1
    return Scale(low - margin, high + margin, start, end)


def _step(least: float) -> float:
    power: float = 10.0 ** floor(log10(least))
    return next(step * power for step in _STEPS if step * power >= least * 0.999)


def tick_label(value: float, ticks: Sequence[float]) -> str:
    """A tick's value with as many digits as its neighbours need."""
    gaps = [right - left for left, right in pairwise(ticks)]
    gap = min(gaps, default=abs(value) or 1.0)
    digits = 0
    if gap > 0:
        digits = max(0, ceil(-log10(gap) - _SLACK))
    # steps of 2.5 take one digit more than their size says
    digits += round(gap * 10**digits, 6) % 1 != 0

    # a zero that rounding has missed would be shown with a minus
    rounded = 0.0 if abs(value) < gap / 1e6 else value
    return f"{rounded:.{digits}f}"


def kept_apart(
    places: Sequence[float],
    gap: float,
    low: float,
    high: float,
) -> list[float]:
    """*places*, in rising order, moved apart until no two are nearer than *gap*, and between *low* and *high*."""
    moved: list[float] = []
    for place in places:
        least = moved[-1] + gap if moved else low
        moved.append(max(place, least))

    # what was pushed beyond the end goes back, and pushes those before it
    limit = high
    for i in reversed(range(len(moved))):
        moved[i] = min(moved[i], limit)
        limit = moved[i] - gap
    return moved
