"""Offers: what one should use at one's budget, on each task and sparsity and on the mean rank."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence, Set
from itertools import combinations
from math import inf

from .comparison import Block, Line, Offer, Ranks
from .statistics import critical_difference, friedman, mean_ranks

BUDGETS = (1.0, 1.5, 2.0, 4.0, inf)
"""Whole costs in T that a reader may have to spend."""
# a run of T costs a little more, for its validation: so much more is within the budget
WITHIN = 0.05
FEWEST = 3
"""Methods that ranks take: of two, a paired test says more."""
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
    best: dict[Block, Line] = {}
    for block, lines in blocks.items():
        affordable = _affordable(lines, budget)
        if affordable:
            best[block] = max(affordable, key=lambda line: (line.merit, -line.cost.mean))

    ranked = {block: _affordable(lines, budget) for block, lines in telling.items()}
    return Offer(budget, best, ranks(ranked))


def _affordable(lines: Sequence[Line], budget: float) -> list[Line]:
    most = budget * (1 + WITHIN)
    return [line for line in lines if not line.control and line.cost.mean <= most]


def ranks(blocks: Mapping[Block, Sequence[Line]]) -> Ranks | None:
    """Ranks over blocks with something pruned; None where fewer than three methods share two of them.

    Lines with records of older schemas are not ranked.
    """
    tables: list[dict[str, Line]] = []
    for (_, sparsity), lines in blocks.items():
        if sparsity:
            ranked = [line for line in lines if not line.control and _of_today(line)]
            tables.append({line.method: line for line in ranked})

    methods = _shared([table.keys() for table in tables])
    tables = [table for table in tables if methods <= table.keys()]
    if len(methods) < FEWEST or len(tables) < 2:
        return None

    figures: dict[str, list[float]] = {}
    costs: dict[str, tuple[float, float]] = {}
    for method in sorted(methods):
        row = [table[method] for table in tables]
        figures[method] = [line.merit for line in row]
        spent = [line.cost.mean for line in row]
        costs[method] = (min(spent), max(spent))

    return Ranks(
        ranks=mean_ranks(figures),
        blocks=len(tables),
        p=friedman(figures),
        critical_difference=critical_difference(len(methods), len(tables)),
        costs=costs,
    )


def _of_today(line: Line) -> bool:
    return all(run.record.version >= RANKED for run in line.runs)


def _shared(blocks: Sequence[Set[str]]) -> Set[str]:
    """The methods of the largest full table of methods and blocks, so that one small block does not end all ranks."""
    kinds: dict[frozenset[str], int] = defaultdict(int)
    for block in blocks:
        # of many tasks most have the same methods: the pairs of kinds are few
        kinds[frozenset(block)] += 1

    # only what some blocks have in common can be shared by two of them
    candidates = {methods for methods, count in kinds.items() if count > 1}
    candidates |= {first & second for first, second in combinations(kinds, 2)}
    wide = [methods for methods in candidates if len(methods) >= FEWEST]

    def size(methods: Set[str]) -> tuple[int, list[str]]:
        complete = sum(count for kind, count in kinds.items() if methods <= kind)
        # names decide between tables of one size, so that the choice does not depend on the order of sets
        return len(methods) * complete, sorted(methods)

    return max(wide, key=size, default=frozenset())
