"""Transfers: what the tickets of each task reach on each other, beside what was drawn for that very task."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from math import isfinite
from pathlib import Path

from ..core.errors import StoreError
from ..store.parts import AskedFor
from ..store.record import LOWER_IS_BETTER, TransferRecord, read_transfer
from .naming import setting_of
from .places import Places
from .runs import Run
from .statistics import Interval, interval
from .tables import with_interval

REFERENCES = ("magnitude", "random", "dense")
"""Methods of the target that transferred tickets are set against; `dense` prunes nothing."""


Cells = Mapping[tuple[str, str], Interval]
"""(source or method, target) -> what was reached on the target, over seeds."""

_Transfer = tuple[AskedFor, TransferRecord]
"""What a ticket was drawn by, and what it reached on another task."""
TRANSFERRED = (
    "A row is the task that the ticket was drawn on, a column the task that it was fine-tuned and judged on, at one T. "
    "In brackets: the task's own ticket, from its ordinary run. Below: what other methods reach on the same seeds."
)


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
    cells: Cells
    references: Cells

    @property
    def title(self) -> str:
        """Method and sparsity."""
        return f"{self.method}, {100 * self.sparsity:.4g}% pruned"

    @property
    def rows(self) -> tuple[str, ...]:
        """Names of all rows: tasks, then methods."""
        drawn_by = {method for method, _ in self.references}
        references = [method for method in REFERENCES if method in drawn_by]
        return (*self.sources, *references)

    def label(self, row: str) -> str:
        """A row, as a person reads it: a task, or the method that drew on each target itself."""
        return row if row in self.sources or row == "dense" else f"by {row}"

    def onto(self, tasks: Collection[str]) -> Matrix | None:
        """Only what was judged on *tasks*; None where nothing was."""
        targets = {}
        for target, metric in self.targets.items():
            if target in tasks:
                targets[target] = metric
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
        place = (row, target)
        return self.cells.get(place) or self.references.get(place)

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

        one_shot: dict[str, float] = {}
        for (method, target), figure in self.references.items():
            if method == "magnitude":
                one_shot[target] = figure.mean

        parts = [
            *self._reaching(foreign, own, "the task's own ticket"),
            *self._reaching(foreign, one_shot, "one-shot magnitude pruning"),
        ]
        if not parts:
            return (
                "Nothing was drawn on these tasks themselves to set the tickets against."
            )
        return f"Of tickets from another task, {' and '.join(parts)}."

    def _reaching(
        self,
        foreign: Mapping[tuple[str, str], float],
        bar: Mapping[str, float],
        name: str,
    ) -> Iterator[str]:
        """How many of the *foreign* figures reach that of *bar* for their target; nothing where no target has one."""
        compared = 0
        reaching = 0
        for (_, target), figure in foreign.items():
            if target in bar:
                compared += 1
                # a perplexity reaches what it does not exceed
                sign = -1 if self.targets[target] in LOWER_IS_BETTER else 1
                reaching += sign * figure >= sign * bar[target]

        if compared:
            yield f"{reaching} of {compared} reach at least what {name} does"


def _judged_on(
    targets: Collection[str], figures: Cells
) -> dict[tuple[str, str], Interval]:
    judged = {}
    for (row, target), figure in figures.items():
        if target in targets:
            judged[row, target] = figure
    return judged


def matrices(folder: Path, runs: Sequence[Run]) -> tuple[Matrix, ...]:
    """A matrix for each method and sparsity whose tickets were transferred in *folder*; *runs* are its ordinary ones.

    Raises StoreError when a record cannot be read.
    """
    return matrices_of(transfer_records(folder), runs)


def matrices_of(
    records: Iterable[TransferRecord], runs: Sequence[Run]
) -> tuple[Matrix, ...]:
    """A matrix for each method and sparsity of *records*; *runs* are the ordinary ones beside them.

    A ticket whose recipe is not known is left out: nobody can say which task it is of.
    """
    transferred = list(records)
    groups: dict[tuple[str, float], list[_Transfer]] = defaultdict(list)
    for record in transferred:
        recipe = record.source.recipe
        # one transfer that diverged would make the mean of its cell no number
        if recipe and isfinite(record.figure):
            groups[recipe.method.name, recipe.sparsity].append((recipe, record))

    names = TaskNames.of(runs, transferred)
    matrices = []
    for (method, sparsity), transfers in sorted(groups.items()):
        matrices.append(_matrix(method, sparsity, transfers, runs, names))
    return tuple(matrices)


@dataclass(frozen=True)
class TaskNames:
    """What ordinary runs call the task of each setting: *titles*, by setting; *places* say which data are the same."""

    titles: Mapping[str, str]
    places: Places

    @classmethod
    def of(cls, runs: Iterable[Run], transferred: Iterable[TransferRecord]) -> TaskNames:
        """The names that *runs* give to the tasks of *transferred* tickets."""
        records = [run.record for run in runs]
        places = Places.of([*records, *transferred])
        titles = {}
        for run in runs:
            record = run.record
            titles[setting_of(record.recipe, record.contents, places)] = run.task
        return cls(titles, places)

    def name(self, recipe: AskedFor, contents: Mapping[str, str]) -> str:
        """What the ordinary runs of the same setting call the task; its bare name where there are none."""
        setting = setting_of(recipe, contents, self.places)
        return self.titles.get(setting, recipe.task.name)


def transfer_records(folder: Path) -> list[TransferRecord]:
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
            # by key, for a folder of results may hold one transfer under two names
            records[record.key] = record
    return list(records.values()), tuple(damaged)


def _matrix(
    method: str,
    sparsity: float,
    transfers: Sequence[_Transfer],
    runs: Sequence[Run],
    names: TaskNames,
) -> Matrix:
    figures: dict[tuple[str, str], list[float]] = defaultdict(list)
    seeds: dict[str, set[int]] = defaultdict(set)
    metrics: dict[str, str] = {}

    for recipe, record in transfers:
        # a ticket does not say which bytes its own task read
        source = names.name(recipe, {})
        target = names.name(record.recipe, record.contents)
        # a ticket brought back to its own task says nothing that its ordinary run does not
        if source != target:
            figures[source, target].append(record.figure)
        seeds[target].add(record.recipe.seed)
        metrics[target] = record.metric

    sources = tuple(sorted({source for source, _ in figures}))
    drawn = {record.source.key for _, record in transfers if record.source.key}

    for run in _ordinary_runs(method, sparsity, runs, {*sources, *metrics}, drawn):
        # the same seeds as the transfers to that task, or a column would compare luck
        if run.task in metrics and run.seed in seeds[run.task]:
            figures[run.task, run.task].append(run.figure)

    cells = {pair: interval(values) for pair, values in figures.items()}
    return Matrix(
        method=method,
        sparsity=sparsity,
        sources=sources,
        targets=dict(sorted(metrics.items())),
        cells=cells,
        references=_reference_figures(runs, sparsity, seeds),
    )


def _ordinary_runs(
    method: str, sparsity: float, runs: Iterable[Run], tasks: set[str], drawn: set[str]
) -> list[Run]:
    """The ordinary runs of the variant of the method that the tickets are of, or of the plain method."""
    candidates = []
    variants: dict[str, str] = {}
    for run in runs:
        if run.task in tasks and run.sparsity == sparsity and not run.control:
            candidates.append(run)
            if run.key in drawn:
                variants[run.task] = run.method

    # records whose runs were not carried along say nothing of variants
    return [run for run in candidates if run.method == variants.get(run.task, method)]


def _reference_figures(
    runs: Sequence[Run], sparsity: float, seeds: Mapping[str, set[int]]
) -> dict[tuple[str, str], Interval]:
    """(method, target) -> what the methods of the target itself reach, over the seeds of the transfers to it."""
    by_line: dict[tuple[str, str, float], list[Run]] = defaultdict(list)
    for run in runs:
        if not run.control and isfinite(run.figure):
            by_line[run.method, run.task, run.sparsity].append(run)

    intervals = {}
    for method in REFERENCES:
        pruned = 0.0 if method == "dense" else sparsity
        for target, transferred in seeds.items():
            figures = []
            for run in by_line.get((method, target, pruned), ()):
                if run.seed in transferred:
                    figures.append(run.figure)

            if figures:
                intervals[method, target] = interval(figures)
    return intervals


# as cells


def transfer_rows(matrix: Matrix) -> list[list[str]]:
    """A matrix in cells, its head first."""
    targets = [f"{target}, {metric}" for target, metric in matrix.targets.items()]
    rows = [["ticket of", *targets]]
    for row in matrix.rows:
        rows.append([matrix.label(row), *_matrix_cells(matrix, row)])
    return rows


def _matrix_cells(matrix: Matrix, row: str) -> list[str]:
    """The figures of one row; that of the task's own ticket in brackets."""
    cells = []
    for target in matrix.targets:
        figure = matrix.at(row, target)
        if figure is None:
            cells.append("")
        elif target == row:
            cells.append(f"[{with_interval(figure)}]")
        else:
            cells.append(with_interval(figure))
    return cells
