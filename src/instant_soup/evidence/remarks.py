"""Remarks: what the numbers of a comparison do not show, in sentences."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from math import isfinite, sqrt
from typing import TYPE_CHECKING

from .runs import Run
from .statistics import ENOUGH

if TYPE_CHECKING:
    from .compare import Comparison

AS_GOOD = 0.97  # share of the dense figure
DEAR = 1.5  # multiples of T


def about(found: Comparison) -> tuple[str, ...]:
    """Every remark there is to make."""
    makers = (_seeds, _noise, _reference, _test_size, _unclear, _equal, _old)
    return tuple(remark for make in makers for remark in make(found))


def odd(runs: Iterable[Run]) -> tuple[str, ...]:
    """What is to be said of runs that cannot be compared."""
    return tuple(
        f"Left out, for its {run.metric} on the test split is {run.figure}: {run.method} on {run.task} at "
        f"{run.sparsity:.0%}, seed {run.seed}. The means are those of the runs that went well."
        for run in runs
        if not isfinite(run.figure)
    )


def _seeds(found: Comparison) -> Iterator[str]:
    few = [line for line in found.lines if line.figure.n < ENOUGH]
    if not few:
        return
    ones = sum(line.figure.n == 1 for line in few)
    yield (
        f"{len(few)} of {len(found.lines)} lines have fewer than {ENOUGH} seeds, {ones} of them just one: "
        f"too few to call anything different."
    )


def _noise(found: Comparison) -> Iterator[str]:
    verdicts = Counter(one.verdict for one in found.differences)
    told = verdicts["better"] + verdicts["worse"]
    if tested := told + verdicts["within noise"]:
        yield (
            f"Of {tested} differences that could be tested, {told or 'none'} {'is' if told == 1 else 'are'} told apart "
            f"from noise at 5 % (paired t-test over seeds, Holm's correction within a task and sparsity)."
        )


def _reference(found: Comparison) -> Iterator[str]:
    there = {(line.task, line.sparsity) for line in found.lines if line.method == found.reference}
    for task, sparsity in found.blocks:
        if sparsity and not {(task, sparsity), (task, 0.0)} & there:
            yield f"There is no run of {found.reference} on {task} at {sparsity:.0%}: nothing is set against it there."


def _test_size(found: Comparison) -> Iterator[str]:
    """A figure of one reading of a test split is itself uncertain; seeds do not show that."""
    seen = set()
    for line in found.lines:
        if line.metric == "accuracy" and line.task not in seen:
            seen.add(line.task)
            rows = line.runs[0].record.examples.test
            error = sqrt(max(line.figure.mean * (1 - line.figure.mean), 0.0) / rows)
            yield (
                f"{line.task} has {rows:,} test examples: one accuracy is known to about {1.96 * error:.3f} either "
                f"way, whatever the seeds say."
            )


def _unclear(found: Comparison) -> Iterator[str]:
    """Where cutting at random does as well as not cutting, tickets cannot be told apart."""
    for line in found.lines:
        if line.method == "random" and line.recovery and line.recovery.mean >= AS_GOOD:
            yield (
                f"On {line.task} at {line.sparsity:.0%} random pruning reaches {line.recovery.mean:.0%} of the dense "
                f"{line.metric}: this does not tell good masks from bad ones."
            )


def _equal(found: Comparison) -> Iterator[str]:
    """Tasks where dearer methods were never set against a reference with as much to spend."""
    met = {(one.task, one.sparsity) for one in found.equal}
    dear: dict[str, float] = {}
    for line in found.lines:
        bare = not line.control and (line.task, line.sparsity) not in met
        if line.sparsity and bare and line.cost.mean > DEAR:
            dear[line.task] = max(line.cost.mean, dear.get(line.task, 0.0))
    for task, cost in dear.items():
        yield (
            f"On {task} lines cost up to {cost:.1f} T, and no run of {found.reference} was given as much "
            f"(budget.as in a sweep): better figures may be bought by steps alone."
        )


def _old(found: Comparison) -> Iterator[str]:
    old = sum(not any(run.clock.values()) for line in found.lines for run in line.runs)
    if old:
        yield f"{old} records are of an older schema and say nothing of wall time by purpose, memory or layers."
