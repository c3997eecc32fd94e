"""Comparison: all that can be said of methods from their runs, as plain values that others show."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal

from ..core.notebook import table
from .line import Block, Line, grouped
from .statistics import Interval, Paired, paired

Verdict = Literal["better", "worse", "within noise", "too few seeds", "no spread"]
_Place = tuple[str, float, str]
"""A task, a sparsity and the title of a line."""


@dataclass(frozen=True)
class Difference:
    """A line against another of its task and sparsity, paired by seed.

    Attributes:
        method, reference: titles of the two lines.
        difference: of the figures; positive where *method* is higher.
        p: of a paired t-test; *adjusted* for all methods of the task and sparsity (Holm).
        effect: standardised mean difference of pairs with Hedges' correction.
    """

    task: str
    sparsity: float
    method: str
    reference: str
    difference: Interval
    p: float | None
    adjusted: float | None
    effect: float | None
    verdict: Verdict

    @property
    def block(self) -> Block:
        """The table that it stands in."""
        return self.task, self.sparsity


@dataclass(frozen=True)
class Ranks:
    """Average ranks over all tasks and sparsities on which every one of the methods was run; 1 is best.

    Attributes:
        blocks: how many those are.
        p: of Friedman's test that all methods are alike.
        critical_difference: of Nemenyi's test at 5 %; ranks closer than this are not told apart.
        costs: the least and the most that each method costs in all on these, in T.
    """

    ranks: Mapping[str, float]
    blocks: int
    p: float | None
    critical_difference: float | None
    costs: Mapping[str, tuple[float, float]]


@dataclass(frozen=True)
class Offer:
    """What is best for who has so much to spend.

    Attributes:
        budget: the whole cost that is allowed, in T; infinite where any is.
        best: table -> the line that is best on validation of those that cost no more; no entry where nothing does.
        ranks: of all that costs no more, on the test split; None where too few methods share too few tables.
        level: table -> the lines that are level with the best one, on validation and in cost; no entry where none is.
        leaders: the methods of the best mean rank on validation, one unless they are level; none without ranks.
    """

    budget: float
    best: Mapping[Block, Line]
    ranks: Ranks | None
    level: Mapping[Block, tuple[Line, ...]] = field(default_factory=dict)
    leaders: tuple[str, ...] = ()


@dataclass(frozen=True)
class Comparison:
    """All that a comparison says.

    Attributes:
        reference: what methods are set against; empty where there are no runs of the usual one.
        differences: of each method to the *reference*; to `dense` where nothing is pruned.
        controls: of each ticket to its own controls.
        equal: of each method to the reference that was given about as much as it spent in all.
        offers: what is best at each budget, from the smallest to any.
        silent: tables that cannot tell good masks from bad ones -> why; they are left out of all ranks.
        remarks: sentences about what the numbers do not show.
    """

    reference: str
    lines: tuple[Line, ...]
    differences: tuple[Difference, ...]
    ranks: Ranks | None
    remarks: tuple[str, ...]
    controls: tuple[Difference, ...] = ()
    equal: tuple[Difference, ...] = ()
    offers: tuple[Offer, ...] = ()
    silent: Mapping[Block, str] | None = None

    @cached_property
    def blocks(self) -> tuple[Block, ...]:
        """Every task and sparsity, in order."""
        return tuple(sorted(self._by_block))

    @cached_property
    def tasks(self) -> tuple[str, ...]:
        """Every task, in order."""
        return tuple(sorted(self._by_task))

    def of(self, task: str, sparsity: float) -> tuple[Line, ...]:
        """The lines of one table: variants of one method together, best first, controls beneath their ticket."""
        return self._ordered.get((task, sparsity), ())

    def of_task(self, task: str) -> tuple[Line, ...]:
        """The lines of one task at any sparsity, as they stand in *lines*."""
        return tuple(self._by_task.get(task, ()))

    def base(self, task: str, sparsity: float) -> str:
        """What the lines of one table are set against; empty where that is nothing."""
        return self._bases.get((task, sparsity), self.reference)

    def against(self, line: Line) -> Difference | None:
        """*line* against the reference, or a control against its ticket; None where there is no such pair."""
        pairs = self._against_tickets if line.control else self._against_reference
        return pairs.get((line.task, line.sparsity, line.title))

    def why_silent(self, task: str, sparsity: float) -> str:
        """Why a table cannot tell good masks from bad ones; empty where it can, or nobody knows."""
        return (self.silent or {}).get((task, sparsity), "")

    def equal_of(self, task: str, sparsity: float) -> tuple[Difference, ...]:
        """The differences at equal cost of one table."""
        return tuple(self._equal_by_block.get((task, sparsity), ()))

    def __repr__(self) -> str:
        runs = sum(line.figure.n for line in self.lines)
        return f"Comparison({runs} runs, {len(self.blocks)} tables, against {self.reference or 'nothing'})"

    def _repr_html_(self) -> str:
        """What to use at which budget, where a notebook shows it."""
        head = ["task", "pruned", "budget, T", "best", "figure", "seeds", "cost, T"]
        rows = []
        for task, sparsity in self.blocks:
            for offer in self.offers:
                best = offer.best.get((task, sparsity))
                if best is None:
                    continue

                level = [line.method for line in offer.level.get(best.block, ())]
                rows.append(
                    [
                        task,
                        f"{sparsity:.0%}",
                        f"{offer.budget:g}",
                        ", level with ".join([best.method, *level]),
                        f"{best.figure.mean:.3f}",
                        str(best.figure.n),
                        f"{best.cost.mean:.2f}",
                    ]
                )

        return table(repr(self), head, rows)

    # looked up again and again, by pages of many tables

    @cached_property
    def _by_block(self) -> dict[Block, list[Line]]:
        return grouped(self.lines)

    @cached_property
    def _by_task(self) -> dict[str, list[Line]]:
        lines: dict[str, list[Line]] = defaultdict(list)
        for line in self.lines:
            lines[line.task].append(line)
        return dict(lines)

    @cached_property
    def _ordered(self) -> dict[Block, tuple[Line, ...]]:
        return {block: _in_families(lines) for block, lines in self._by_block.items()}

    # where several pairs share a key, the first of them counts

    @cached_property
    def _bases(self) -> dict[Block, str]:
        bases: dict[Block, str] = {}
        for pair in self.differences:
            bases.setdefault(pair.block, pair.reference)
        return bases

    @cached_property
    def _against_reference(self) -> dict[_Place, Difference]:
        pairs: dict[_Place, Difference] = {}
        for pair in self.differences:
            pairs.setdefault((*pair.block, pair.method), pair)
        return pairs

    @cached_property
    def _against_tickets(self) -> dict[_Place, Difference]:
        # the ticket was set against its control, so the control is the reference of that pair
        pairs: dict[_Place, Difference] = {}
        for pair in self.controls:
            pairs.setdefault((*pair.block, pair.reference), pair)
        return pairs

    @cached_property
    def _equal_by_block(self) -> dict[Block, list[Difference]]:
        pairs: dict[Block, list[Difference]] = defaultdict(list)
        for pair in self.equal:
            pairs[pair.block].append(pair)
        return dict(pairs)


def paired_by_seed(line: Line, other: Line) -> Paired | None:
    """*line* against *other* on the seeds that both have; None where they share no seed."""
    figures = []
    references = []
    # a seed fixes the data order and the new head of both runs, so their difference is free of that noise
    for seed, figure in sorted(line.by_seed.items()):
        if seed in other.by_seed:
            figures.append(figure)
            references.append(other.by_seed[seed])
    return paired(figures, references) if figures else None


def _in_families(lines: Sequence[Line]) -> tuple[Line, ...]:
    """Methods by their best variant, best first; a method's variants stay together, controls follow their ticket."""
    tickets = [line for line in lines if not line.control]
    tickets.sort(key=lambda line: -line.merit)

    controls: dict[str, list[Line]] = defaultdict(list)
    for line in lines:
        if line.control:
            controls[line.method].append(line)

    # tickets come best first, so a family takes the place of its best variant
    families: dict[str, list[Line]] = defaultdict(list)
    for ticket in tickets:
        families[ticket.family] += [ticket, *controls.pop(ticket.method, [])]

    ordered: list[Line] = []
    for family in families.values():
        ordered += family
    # controls whose ticket was never fine-tuned itself
    for orphans in controls.values():
        ordered += orphans
    return tuple(ordered)
