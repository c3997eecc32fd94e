"""Transfers: what the tickets of each task reach on each other, beside what was drawn for that very task."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from math import isfinite
from pathlib import Path

from ..core.errors import StoreError
from ..store.parts import AskedFor
from ..store.record import TransferRecord, read_transfer
from .naming import setting_of
from .runs import Run
from .statistics import Interval, interval

REFERENCES = ("magnitude", "random", "dense")
"""Methods of the target that transferred tickets are set against; `dense` prunes nothing."""


@dataclass(frozen=True)
class Matrix:
    """Task by task, for the tickets of one method at one sparsity. Figures are over the seeds of the transfers.

    Attributes:
        sources: tasks that tickets were drawn on.
        targets: tasks that they were trained and judged on, and the metric of each.
        cells: (source, target) -> test figure; where the two are one, it is the ordinary run.
        references: (method, target) -> test figure of what was drawn on the target by other methods.
    """

    method: str
    sparsity: float
    sources: tuple[str, ...]
    targets: Mapping[str, str]
    cells: Mapping[tuple[str, str], Interval]
    references: Mapping[tuple[str, str], Interval]

    @property
    def title(self) -> str:
        """Method and sparsity."""
        return f"{self.method}, {100 * self.sparsity:.4g}% pruned"

    @property
    def rows(self) -> tuple[str, ...]:
        """Names of all rows: tasks, then methods."""
        known = {method for method, _ in self.references}
        return (*self.sources, *(method for method in REFERENCES if method in known))

    def label(self, row: str) -> str:
        """A row, as a person reads it: a task, or the method that drew on each target itself."""
        return row if row in self.sources or row == "dense" else f"by {row}"

    def onto(self, tasks: Collection[str]) -> Matrix | None:
        """Only what was judged on *tasks*; None where nothing was."""
        targets = {
            target: metric for target, metric in self.targets.items() if target in tasks
        }
        cells, references = (
            {key: figure for key, figure in of.items() if key[1] in targets}
            for of in (self.cells, self.references)
        )

        return (
            replace(self, targets=targets, cells=cells, references=references)
            if targets
            else None
        )

    def at(self, row: str, target: str) -> Interval | None:
        """A figure, of a task's ticket or of another method."""
        return self.cells.get((row, target)) or self.references.get((row, target))

    @property
    def said(self) -> str:
        """How often a ticket of another task does as well as the own one, and as one-shot pruning."""
        foreign = {key: cell.mean for key, cell in self.cells.items() if key[0] != key[1]}
        own = {
            target: cell.mean
            for (source, target), cell in self.cells.items()
            if source == target
        }
        plain = {
            target: cell.mean
            for (method, target), cell in self.references.items()
            if method == "magnitude"
        }
        parts = [
            f"{sum(foreign[key] >= of[key[1]] for key in keys)} of {len(keys)} reach at least what {what} does"
            for of, what in (
                (own, "the task's own ticket"),
                (plain, "one-shot magnitude pruning"),
            )
            if (keys := [key for key in foreign if key[1] in of])
        ]

        if not parts:
            return (
                "Nothing was drawn on these tasks themselves to set the tickets against."
            )

        return f"Of tickets from another task, {' and '.join(parts)}."


def matrices(folder: Path, runs: Sequence[Run]) -> tuple[Matrix, ...]:
    """A matrix for each method and sparsity whose tickets were transferred in *folder*; *runs* are its ordinary ones.

    Raises StoreError when a record cannot be read.
    """
    return matrices_of(records(folder), runs)


def matrices_of(
    records: Iterable[TransferRecord], runs: Sequence[Run]
) -> tuple[Matrix, ...]:
    """A matrix for each method and sparsity of *records*; *runs* are the ordinary ones beside them.

    A ticket whose recipe is not known is left out: nobody can say which task it is of.
    """
    found: dict[tuple[str, float], list[tuple[AskedFor, TransferRecord]]] = defaultdict(
        list
    )
    for record in records:
        asked = record.source.recipe
        if asked and isfinite(record.figure):
            found[asked.method.name, asked.sparsity].append((asked, record))
    names = {setting_of(run.record.recipe): run.task for run in runs}
    return tuple(_matrix(*key, of, runs, names) for key, of in sorted(found.items()))


def records(folder: Path) -> list[TransferRecord]:
    """Every record of a transfer in *folder*. Raises StoreError when one cannot be read."""
    every, damaged = gather_transfers(folder)
    if damaged:
        raise StoreError(damaged[0])
    return every


def gather_transfers(folder: Path) -> tuple[list[TransferRecord], tuple[str, ...]]:
    """Every record of a transfer in *folder* that can be read, and a sentence for each that cannot."""
    whole: dict[str, TransferRecord] = {}
    damaged: list[str] = []
    for path in sorted((folder / "transfers").glob("*.json")):
        try:
            record = read_transfer(path)
        except StoreError as reason:
            damaged.append(str(reason))
        else:
            whole[record.key] = record
    return list(whole.values()), tuple(damaged)


def _matrix(
    method: str,
    sparsity: float,
    of: Sequence[tuple[AskedFor, TransferRecord]],
    runs: Sequence[Run],
    names: Mapping[str, str],
) -> Matrix:
    cells: dict[tuple[str, str], list[float]] = defaultdict(list)
    seeds: dict[str, set[int]] = defaultdict(set)
    metrics: dict[str, str] = {}

    for asked, record in of:
        source = _name(asked, names)
        target = _name(record.recipe, names)
        if source != target:
            cells[source, target].append(record.figure)
        seeds[target].add(record.recipe.seed)
        metrics[target] = record.metric

    sources = tuple(sorted({source for source, _ in cells}))
    drawn = {record.source.key for _, record in of if record.source.key}
    own = _own(method, sparsity, runs, {*sources, *metrics}, drawn)

    for run in own:
        if run.task in metrics and run.seed in seeds[run.task]:
            cells[run.task, run.task].append(run.figure)

    references = {
        (name, target): interval(figures)
        for name in REFERENCES
        for target in metrics
        if (
            figures := _figures(
                runs, name, target, 0.0 if name == "dense" else sparsity, seeds[target]
            )
        )
    }
    shown = {key: interval(figures) for key, figures in cells.items()}

    return Matrix(
        method, sparsity, sources, dict(sorted(metrics.items())), shown, references
    )


def _name(asked: AskedFor, names: Mapping[str, str]) -> str:
    """What the ordinary runs of the same setting call the task."""
    return names.get(setting_of(asked), asked.task.name)


def _own(
    method: str, sparsity: float, runs: Iterable[Run], tasks: set[str], drawn: set[str]
) -> list[Run]:
    """The ordinary runs of the method: of its variant that the tickets are of, or else its plain one."""
    of = [
        run
        for run in runs
        if run.task in tasks and run.sparsity == sparsity and not run.control
    ]
    variants = {run.task: run.method for run in of if run.key in drawn}
    return [run for run in of if run.method == variants.get(run.task, method)]


def _figures(
    runs: Iterable[Run], method: str, task: str, sparsity: float, seeds: set[int]
) -> list[float]:
    return [
        run.figure
        for run in runs
        if (run.method, run.task, run.sparsity, run.control)
        == (method, task, sparsity, None)
        and run.seed in seeds
        and isfinite(run.figure)
    ]
