"""Line: what one method reached on one task at one sparsity, over seeds, and tables of such lines."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass
from math import inf, isfinite

from ..store.record import LOWER_IS_BETTER
from .runs import Run
from .statistics import Interval

Block = tuple[str, float]
"""A task and a sparsity: what one table is about."""


@dataclass(frozen=True)
class Line:
    """What one method (or a control of it) reached on one task at one sparsity, over seeds.

    Attributes:
        metric: the task's first figure.
        figure: that figure on the test split.
        cost: whole cost in multiples of T.
        recovery: the share of the dense figure that is reached, paired by seed; None without a dense run.
        frontier: whether no other line of its task and sparsity is better at no more cost; never of a control.
    """

    task: str
    sparsity: float
    method: str
    control: str | None
    metric: str
    figure: Interval
    cost: Interval
    recovery: Interval | None
    runs: tuple[Run, ...]
    frontier: bool = False

    @property
    def title(self) -> str:
        """Method and control, as a person reads them."""
        return f"{self.method}, {self.control} control" if self.control else self.method

    @property
    def merit(self) -> float:
        """The mean figure, or minus that where lower is better: what is best has most."""
        return self.merit_over(self.seeds)

    @property
    def validation(self) -> float:
        """The mean figure on validation, by which lines are chosen: what is best has most; -inf without a figure."""
        return self.validation_over(self.seeds)

    @property
    def seeds(self) -> frozenset[int]:
        """The seeds of its runs."""
        return frozenset(run.seed for run in self.runs)

    def merit_over(self, seeds: Set[int]) -> float:
        """As `merit`, over *seeds* alone, all of which it has."""
        figures = [run.figure for run in self.runs if run.seed in seeds]
        mean = sum(figures) / len(figures)
        return -mean if self.lower_is_better else mean

    def validation_over(self, seeds: Set[int]) -> float:
        """As `validation`, over *seeds* alone, all of which it has."""
        # records hold minus a perplexity there
        figures = [run.validation for run in self.runs if run.seed in seeds]
        return sum(figures) / len(figures) if all(map(isfinite, figures)) else -inf

    @property
    def lower_is_better(self) -> bool:
        """Whether a lower figure is the better one, as of a perplexity."""
        return self.metric in LOWER_IS_BETTER

    @property
    def block(self) -> Block:
        """The table that it stands in."""
        return self.task, self.sparsity

    @property
    def by_seed(self) -> dict[int, float]:
        """The figure of each seed."""
        return {run.seed: run.figure for run in self.runs}

    @property
    def family(self) -> str:
        """The method's bare name, which all its variants share."""
        return self.runs[0].family

    @property
    def knobs(self) -> str:
        """The method and its knobs; alike for lines that differ in their budget only."""
        return self.runs[0].knobs

    @property
    def budget(self) -> float:
        """The budget of its runs in multiples of T, the mean over seeds."""
        # runs that are as long as another method's have a budget of their own for each seed
        budgets = [run.record.recipe.budget for run in self.runs]
        return sum(budgets) / len(budgets)

    @property
    def steps(self) -> float:
        """Optimiser steps in all, look-aheads included, as a multiple of those of T; the mean over seeds."""
        shares = [run.steps / run.full.steps for run in self.runs]
        return sum(shares) / len(shares)


Blocks = Mapping[Block, Sequence[Line]]
"""The lines of each table."""


def grouped(lines: Sequence[Line]) -> dict[Block, list[Line]]:
    """Lines by the table that they stand in, in the order in which they come."""
    blocks: dict[Block, list[Line]] = defaultdict(list)
    for line in lines:
        blocks[line.block].append(line)
    return dict(blocks)
