"""Ledger: what everything cost, by purpose, and what a bill without its look-aheads would have said."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from ..core.budget import Cost
from .line import Line
from .runs import Run

PURPOSES = ("train", "look-ahead", "score", "select")
"""In the order of a bill; reading the test split is left out of the cost."""


@dataclass(frozen=True)
class Item:
    """Work of one purpose, the mean over the runs of a line.

    Attributes:
        share: of T, in passes.
        seconds: wall time; None where no record says.
    """

    steps: float
    examples: float
    flops: float
    share: float
    seconds: float | None


@dataclass(frozen=True)
class Bill:
    """What a line cost, the mean over its runs.

    Attributes:
        items: by purpose, drawing and fine-tuning together.
        total: in multiples of T; *uncounted* leaves the look-aheads out, as the paper's budgets do.
        reused: the share of *total* that another run had done already, in multiples of T.
        seconds: wall time if nothing had been reused; None where no record says.
        memory: most bytes at a time; None where no record says.
    """

    items: Mapping[str, Item]
    total: float
    uncounted: float
    reused: float
    seconds: float | None
    memory: float | None


def bill(line: Line) -> Bill:
    """The bill of one line."""
    items: dict[str, Item] = {}
    for purpose in PURPOSES:
        item = _item(line.runs, purpose)
        if item is not None:
            items[purpose] = item

    look_aheads = 0.0
    if "look-ahead" in items:
        look_aheads = items["look-ahead"].share

    reused = []
    for run in line.runs:
        reused.append(run.record.cost.reused.passes / run.full.passes)

    # times and memory came with one schema, so a record that has the one has the other
    seconds = None
    memory = None
    timed = _timed(line.runs)
    if timed:
        seconds = _mean(map(_seconds, timed))
        memory = _mean(run.memory or 0 for run in timed)

    return Bill(
        items=items,
        total=line.cost.mean,
        uncounted=line.cost.mean - look_aheads,
        reused=_mean(reused),
        seconds=seconds,
        memory=memory,
    )


def _item(runs: Sequence[Run], purpose: str) -> Item | None:
    """What one purpose cost; None where no run had work of it."""
    if not any(_has(run, purpose) for run in runs):
        return None

    costs = [spent_on(purpose, run) for run in runs]
    shares = []
    for cost, run in zip(costs, runs, strict=True):
        # each run by its own T, as its whole cost is
        shares.append(cost.passes / run.full.passes)

    seconds = None
    timed = _timed(runs)
    if timed:
        seconds = _mean(_seconds_on(purpose, run) for run in timed)

    return Item(
        steps=_mean(cost.steps for cost in costs),
        examples=_mean(cost.examples for cost in costs),
        flops=_mean(cost.flops for cost in costs),
        share=_mean(shares),
        seconds=seconds,
    )


def _has(run: Run, purpose: str) -> bool:
    return any(purpose in stage for stage in run.bill.values())


def spent_on(purpose: str, run: Run) -> Cost:
    """The work of one purpose in all stages of a run."""
    total = Cost()
    for stage in run.bill.values():
        total += stage.get(purpose, Cost())
    return total


def _seconds_on(purpose: str, run: Run) -> float:
    """Wall time of one purpose in all stages of a run."""
    return sum(stage.get(purpose, 0.0) for stage in run.clock.values())


def _timed(runs: Iterable[Run]) -> list[Run]:
    """Runs whose records say how long work took; those of schema 1 and 2 do not."""
    return [run for run in runs if any(run.clock.values())]


def _seconds(run: Run) -> float:
    """Wall time of the work charged, the test reading left out."""
    own = 0.0
    for stage in run.clock.values():
        for purpose, seconds in stage.items():
            # every run pays for the test reading alike, so it is in no cost either
            if purpose != "test":
                own += seconds
    return own + run.reused_seconds


def _mean(values: Iterable[float]) -> float:
    numbers = list(values)
    return sum(numbers) / len(numbers)
