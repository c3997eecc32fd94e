"""Statistics: intervals, paired tests and ranks, on scipy."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Interval:
    """A mean over *n* values with its confidence interval; without one where n is 1."""

    mean: float
    low: float | None
    high: float | None
    n: int
