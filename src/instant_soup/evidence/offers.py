"""Offers: what one should use at one's budget, on each task and sparsity and on the mean rank."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence, Set
from math import inf

from .comparison import Block, Line, Offer, Ranks
from .statistics import critical_difference, friedman, mean_ranks

BUDGETS = (1.0, 1.5, 2.0, 4.0, inf)
"""Whole costs in T that a reader may have to spend."""
# a run of T costs a little more, for its validation: so much more is within the budget
WITHIN = 0.05
RANKED = 4
"""The schema from which on records are ranked: in older ones methods had other lines and other totals."""


def offers(
    blocks: Mapping[Block, Sequence[Line]], telling: Mapping[Block, Sequence[Line]]
) -> tuple[Offer, ...]:
    """The best line of each block at each budget, and the ranks over the *telling* blocks at each."""
    return tuple(_offer(budget, blocks, telling) for budget in BUDGETS)


def _offer(
    budget: float,
    blocks: Mapping[Block, Sequence[Line]],
    telling: Mapping[Block, Sequence[Line]],
) -> Offer:
    best = {}
    for block, lines in blocks.items():
        affordable = _affordable(lines, budget)
        if affordable:
            best[block] = max(affordable, key=lambda line: (line.merit, -line.cost.mean))
    return Offer(
        budget,
        best,
        ranks({block: _affordable(lines, budget) for block, lines in telling.items()}),
    )


def _affordable(lines: Sequence[Line], budget: float) -> list[Line]:
    return [
        line
        for line in lines
        if not line.control and line.cost.mean <= budget * (1 + WITHIN)
    ]


def ranks(blocks: Mapping[Block, Sequence[Line]]) -> Ranks | None:
    """Ranks over blocks with something pruned; None where fewer than three methods share two of them.

    Lines with records of older schemas are not ranked.
    """
    tables = []
    for (_, sparsity), lines in blocks.items():
        if sparsity:
            tables.append(
                {
                    line.method: line
                    for line in lines
                    if not line.control and _of_today(line)
                }
            )

    methods = _shared([table.keys() for table in tables])
    tables = [table for table in tables if methods <= table.keys()]
    if len(methods) < 3 or len(tables) < 2:
        return None

    figures: dict[str, list[float]] = {}
    costs: dict[str, tuple[float, float]] = {}
    for method in sorted(methods):
        lines_of = [table[method] for table in tables]
        figures[method] = [line.merit for line in lines_of]
        costs[method] = (
            min(line.cost.mean for line in lines_of),
            max(line.cost.mean for line in lines_of),
        )

    critical = critical_difference(len(methods), len(tables))
    return Ranks(mean_ranks(figures), len(tables), friedman(figures), critical, costs)


def _of_today(line: Line) -> bool:
    return all(run.record.version >= RANKED for run in line.runs)


def _shared(blocks: Sequence[Set[str]]) -> Set[str]:
    """The methods of the largest full table of methods and blocks, so that one small block does not end all ranks."""
    kinds: dict[frozenset[str], int] = defaultdict(int)
    for block in blocks:
        # of many tasks most have the same methods: the pairs of kinds are few
        kinds[frozenset(block)] += 1

    known = list(kinds)
    several = {methods for methods, count in kinds.items() if count > 1}
    several |= {one & other for place, one in enumerate(known) for other in known[:place]}
    sizes = {
        methods: len(methods)
        * sum(count for kind, count in kinds.items() if methods <= kind)
        for methods in several
    }
    wide = [methods for methods in several if len(methods) >= 3]
    return max(
        wide, key=lambda methods: (sizes[methods], sorted(methods)), default=frozenset()
    )
