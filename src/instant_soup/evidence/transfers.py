"""Transfers: what the tickets of each task reach on each other, beside what was drawn for that very task."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
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


_Transfer = tuple[AskedFor, TransferRecord]
"""What a ticket was drawn by, and what it reached on another task."""


@dataclass(frozen=True)
class Matrix:
    """Task by task, for the tickets of one method at one sparsity. Figures are over the seeds of the transfers.

    Attributes:
        sources: tasks that tickets were drawn on.
        targets: tasks that they were trained and judged on, and the metric of each.
        cells: (source, target) -> test figure; where the two are the same task, that of its ordinary runs.
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
        if not targets:
            return None

        return replace(
            self,
            targets=targets,
            cells=_judged_on(targets, self.cells),
            references=_judged_on(targets, self.references),
        )

    def at(self, row: str, target: str) -> Interval | None:
        """A figure, of a task's ticket or of another method."""
        return self.cells.get((row, target)) or self.references.get((row, target))

    @property
    def summary(self) -> str:
        """How often a ticket of another task does as well as the own one, and as one-shot pruning."""
        foreign: dict[tuple[str, str], float] = {}
        own: dict[str, float] = {}
        for (source, target), cell in self.cells.items():
            if source == target:
                own[target] = cell.mean
            else:
                foreign[source, target] = cell.mean

        one_shot = {
            target: cell.mean
            for (method, target), cell in self.references.items()
            if method == "magnitude"
        }
        parts = [
            *_reaching(foreign, own, "the task's own ticket"),
            *_reaching(foreign, one_shot, "one-shot magnitude pruning"),
        ]
        if not parts:
            return (
                "Nothing was drawn on these tasks themselves to set the tickets against."
            )
        return f"Of tickets from another task, {' and '.join(parts)}."


def _judged_on(
    targets: Collection[str], figures: Mapping[tuple[str, str], Interval]
) -> dict[tuple[str, str], Interval]:
    return {key: figure for key, figure in figures.items() if key[1] in targets}


def _reaching(
    foreign: Mapping[tuple[str, str], float], bar: Mapping[str, float], name: str
) -> Iterator[str]:
    """How many of the *foreign* figures reach that of *bar* for their target; nothing where no target has one."""
    compared = [key for key in foreign if key[1] in bar]
    if compared:
        reaching = sum(foreign[key] >= bar[key[1]] for key in compared)
        yield f"{reaching} of {len(compared)} reach at least what {name} does"


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
    groups: dict[tuple[str, float], list[_Transfer]] = defaultdict(list)
    for record in records:
        asked = record.source.recipe
        if asked and isfinite(record.figure):
            groups[asked.method.name, asked.sparsity].append((asked, record))

    names = {setting_of(run.record.recipe): run.task for run in runs}
    return tuple(
        _matrix(method, sparsity, transfers, runs, names)
        for (method, sparsity), transfers in sorted(groups.items())
    )


def records(folder: Path) -> list[TransferRecord]:
    """Every record of a transfer in *folder*. Raises StoreError when one cannot be read."""
    readable, damaged = gather_transfers(folder)
    if damaged:
        raise StoreError(damaged[0])
    return readable


def gather_transfers(folder: Path) -> tuple[list[TransferRecord], tuple[str, ...]]:
    """Every record of a transfer in *folder* that can be read, and a sentence for each that cannot."""
    records: dict[str, TransferRecord] = {}
    damaged: list[str] = []
    for path in sorted((folder / "transfers").glob("*.json")):
        try:
            record = read_transfer(path)
        except StoreError as reason:
            damaged.append(str(reason))
        else:
            records[record.key] = record
    return list(records.values()), tuple(damaged)


def _matrix(
    method: str,
    sparsity: float,
    transfers: Sequence[_Transfer],
    runs: Sequence[Run],
    names: Mapping[str, str],
) -> Matrix:
    figures: dict[tuple[str, str], list[float]] = defaultdict(list)
    seeds: dict[str, set[int]] = defaultdict(set)
    metrics: dict[str, str] = {}

    for asked, record in transfers:
        source = _name(asked, names)
        target = _name(record.recipe, names)
        # a ticket brought back to its own task says nothing that its ordinary run does not
        if source != target:
            figures[source, target].append(record.figure)
        seeds[target].add(record.recipe.seed)
        metrics[target] = record.metric

    sources = tuple(sorted({source for source, _ in figures}))
    drawn = {record.source.key for _, record in transfers if record.source.key}

    for run in _own(method, sparsity, runs, {*sources, *metrics}, drawn):
        if run.task in metrics and run.seed in seeds[run.task]:
            figures[run.task, run.task].append(run.figure)

    return Matrix(
        method=method,
        sparsity=sparsity,
        sources=sources,
        targets=dict(sorted(metrics.items())),
        cells={key: interval(values) for key, values in figures.items()},
        references=_references(runs, sparsity, seeds),
    )


def _name(asked: AskedFor, names: Mapping[str, str]) -> str:
    """What the ordinary runs of the same setting call the task."""
    return names.get(setting_of(asked), asked.task.name)


def _own(
    method: str, sparsity: float, runs: Iterable[Run], tasks: set[str], drawn: set[str]
) -> list[Run]:
    """The ordinary runs of the method: of its variant that the tickets are of, or else its plain one."""
    alike = []
    for run in runs:
        if run.task in tasks and run.sparsity == sparsity and not run.control:
            alike.append(run)

    variants = {run.task: run.method for run in alike if run.key in drawn}
    return [run for run in alike if run.method == variants.get(run.task, method)]


def _references(
    runs: Sequence[Run], sparsity: float, seeds: Mapping[str, set[int]]
) -> dict[tuple[str, str], Interval]:
    """(method, target) -> what the methods of the target itself reach, over the seeds of the transfers to it."""
    intervals = {}
    for method in REFERENCES:
        level = 0.0 if method == "dense" else sparsity
        for target in seeds:
            wanted = (method, target, level, None)
            figures = []
            for run in runs:
                named = (run.method, run.task, run.sparsity, run.control)
                if named == wanted and run.seed in seeds[target] and isfinite(run.figure):
                    figures.append(run.figure)

            if figures:
                intervals[method, target] = interval(figures)
    return intervals
