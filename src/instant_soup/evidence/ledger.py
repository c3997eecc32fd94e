"""Ledger: what everything cost, by purpose, and what a bill without its look-aheads would have said."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from ..core.budget import Cost
from .comparison import Line
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
    items = {
        purpose: item
        for purpose in PURPOSES
        if (item := _item(line.runs, purpose)) is not None
    }
    ahead = items["look-ahead"].share if "look-ahead" in items else 0.0
    timed = [run for run in line.runs if any(run.clock.values())]

    return Bill(
        items,
        line.cost.mean,
        line.cost.mean - ahead,
        _mean(run.record.cost.reused.passes / run.full.passes for run in line.runs),
        _mean(_seconds(run) for run in timed) if timed else None,
        _mean(float(run.memory or 0) for run in timed) if timed else None,
    )


def _item(runs: Sequence[Run], purpose: str) -> Item | None:
    """None where no run had work of this purpose."""
    if not any(purpose in stage for run in runs for stage in run.bill.values()):
        return None

    def total(run: Run) -> Cost:
        return sum(
            (stage[purpose] for stage in run.bill.values() if purpose in stage), Cost()
        )

    timed = [run for run in runs if any(run.clock.values())]
    return Item(
        _mean(total(run).steps for run in runs),
        _mean(total(run).examples for run in runs),
        _mean(total(run).flops for run in runs),
        _mean(total(run).passes / run.full.passes for run in runs),
        _mean(
            sum(stage.get(purpose, 0.0) for stage in run.clock.values()) for run in timed
        )
        if timed
        else None,
    )


def _seconds(run: Run) -> float:
    """Wall time of the work charged, the test reading left out."""
    own = sum(
        seconds
        for stage in run.clock.values()
        for purpose, seconds in stage.items()
        if purpose != "test"
    )
    return own + run.reused_seconds


def _mean(values: Iterable[float]) -> float:
    found = list(values)
    return sum(found) / len(found)
