"""Overview: a task in one table, methods down and sparsities across, as papers print it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from .comparison import Comparison
from .line import Line


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
    for task in comparison.tasks:
        lines = [line for line in comparison.of_task(task) if not line.control]
        # by name first, so that methods that are equally good stand in a fixed order
        lines.sort(key=_method_and_sparsity)
        rows = _rows(lines)
        if not rows:
            continue

        sparsities: set[float] = set()
        for row in rows.values():
            sparsities.update(row)

        yield Overview(
            task=task,
            metric=lines[0].metric,
            dense=dense_line(comparison, task),
            sparsities=tuple(sorted(sparsities)),
            rows=rows,
        )


def _rows(lines: Sequence[Line]) -> dict[str, dict[float, Line]]:
    """Method -> its line at each sparsity, in the order of an overview."""
    rows: dict[str, dict[float, Line]] = defaultdict(dict)
    for line in lines:
        if line.sparsity:
            rows[line.method][line.sparsity] = line

    # what stands at one sparsity only is in the table of that sparsity already
    compared = {method: row for method, row in rows.items() if len(row) > 1}
    return dict(sorted(compared.items(), key=_place))


def _method_and_sparsity(line: Line) -> tuple[str, float]:
    return line.method, line.sparsity


def dense_line(comparison: Comparison, task: str) -> Line | None:
    """The plain fine-tune of all weights on *task*, if it was run."""
    for line in comparison.of_task(task):
        if line.method == "dense":
            return line
    return None


def _place(row: tuple[str, dict[float, Line]]) -> tuple[int, float]:
    """Where a row stands: means over unequally many sparsities are not comparable, so the longest rows come first."""
    _, lines = row
    merits = [line.merit for line in lines.values()]
    return -len(merits), -sum(merits) / len(merits)
