"""Overview: a task in one table, methods down and sparsities across, as papers print it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby

from .comparison import Comparison, Line


@dataclass(frozen=True)
class Overview:
    """What methods reach on one task as more is pruned.

    Attributes:
        dense: the plain fine-tune of all weights, if it was run.
        sparsities: rising; two or more.
        rows: method -> its line at each sparsity. Methods with most lines first, the best of them on the mean ahead;
            controls and methods with fewer than two lines are left out.
    """

    task: str
    metric: str
    dense: Line | None
    sparsities: tuple[float, ...]
    rows: dict[str, dict[float, Line]]

    def cost(self, method: str) -> tuple[float, float]:
        """The least and the most that *method* costs at these sparsities, in T."""
        costs = [line.cost.mean for line in self.rows[method].values()]
        return min(costs), max(costs)


def overviews(comparison: Comparison) -> Iterator[Overview]:
    """One of each task on which some method was run at two sparsities or more, in the order of their names."""
    ordered = sorted(
        comparison.lines, key=lambda line: (line.task, line.method, line.sparsity)
    )
    for task, lines in groupby(ordered, key=lambda line: line.task):
        members = [line for line in lines if not line.control]

        rows: dict[str, dict[float, Line]] = defaultdict(dict)
        for line in members:
            if line.sparsity:
                rows[line.method][line.sparsity] = line

        wide = {method: row for method, row in rows.items() if len(row) > 1}
        if not wide:
            continue
        yield Overview(
            task=task,
            metric=members[0].metric,
            dense=dense_of(comparison, task),
            sparsities=tuple(sorted(set().union(*wide.values()))),
            rows=dict(sorted(wide.items(), key=_place)),
        )


def dense_of(comparison: Comparison, task: str) -> Line | None:
    """The plain fine-tune of all weights on *task*, if it was run."""
    for line in comparison.of_task(task):
        if line.method == "dense":
            return line
    return None


def _place(row: tuple[str, dict[float, Line]]) -> tuple[int, float]:
    merits = [line.merit for line in row[1].values()]
    return -len(merits), -sum(merits) / len(merits)
