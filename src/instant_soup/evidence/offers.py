"""Offers: what one should use at one's budget, on each task and sparsity and on the mean rank."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence, Set
from itertools import combinations
from math import inf

from .comparison import Block, Blocks, Line, Offer, Ranks
from .statistics import critical_difference, friedman, mean_ranks

BUDGETS = (1.0, 1.5, 2.0, 4.0, inf)
"""Whole costs in T that a reader may have to spend."""
WITHIN = 0.05
"""How much more may be spent, as a share of the budget: a run of T costs a little more, for its validation."""
FEWEST = 3
"""Methods that ranks take: of two, a paired test says more."""
RANKED = 4
"""The schema from which on records are ranked: in older ones methods had other lines and other totals."""


def offers(blocks: Blocks, telling: Blocks) -> tuple[Offer, ...]:
    """The best line of each block at each budget, and the ranks over the *telling* blocks at each."""
    return tuple(_offer(budget, blocks, telling) for budget in BUDGETS)


def _offer(
    budget: float,
    blocks: Blocks,
    telling: Blocks,
) -> Offer:
    best: dict[Block, Line] = {}
    for block, lines in blocks.items():
        affordable = _affordable(lines, budget)
        if affordable:
            best[block] = max(affordable, key=_merit_and_thrift)

    # ranked anew among what can be paid for: a method that is out of reach must not push others down
    ranked = {}
    for block, lines in telling.items():
        ranked[block] = _affordable(lines, budget)
    return Offer(budget, best, ranks_over(ranked))


def _affordable(lines: Sequence[Line], budget: float) -> list[Line]:
    most = budget * (1 + WITHIN)
    return [line for line in lines if not line.control and line.cost.mean <= most]


def _merit_and_thrift(line: Line) -> tuple[float, float]:
    """What decides which line is best: its figure, then its cost where figures are equal."""
    return line.merit, -line.cost.mean


def ranks_over(blocks: Blocks) -> Ranks | None:
    """Ranks over blocks with something pruned; None where fewer than three methods share two of them.

    Lines with records of older schemas are not ranked.
    """
    tables: list[dict[str, Line]] = []
    for (_, sparsity), lines in blocks.items():
        if sparsity:
            tables.append(_ranked_lines(lines))

    # Friedman's test takes every method on every block, so blocks that lack one are left out
    methods = _shared([table.keys() for table in tables])
    tables = [table for table in tables if methods <= table.keys()]
    if len(methods) < FEWEST or len(tables) < 2:
        return None

    figures: dict[str, list[float]] = {}
    costs: dict[str, tuple[float, float]] = {}
    for method in sorted(methods):
        lines = [table[method] for table in tables]
        spent = [line.cost.mean for line in lines]
        figures[method] = [line.merit for line in lines]
        costs[method] = (min(spent), max(spent))

    return Ranks(
        ranks=mean_ranks(figures),
        blocks=len(tables),
        p=friedman(figures),
        critical_difference=critical_difference(len(methods), len(tables)),
        costs=costs,
    )


def _ranked_lines(lines: Sequence[Line]) -> dict[str, Line]:
    """The lines of one block that are ranked, by their method."""
    ranked = {}
    for line in lines:
        current = all(run.record.version >= RANKED for run in line.runs)
        if current and not line.control:
            ranked[line.method] = line
    return ranked


def _shared(blocks: Sequence[Set[str]]) -> Set[str]:
    """The methods of the largest full table of methods and blocks, so that one small block does not end all ranks.

    Blocks count more than methods: variants that were run on few of them leave the ranks, and not the other blocks.
    """
    # most tasks have the same methods: there are few kinds of blocks, and so few pairs of kinds
    kinds = Counter(frozenset(block) for block in blocks)

    # ranks take two blocks: both of one kind, or of two kinds that have these methods in common
    candidates = {methods for methods, count in kinds.items() if count > 1}
    candidates |= {first & second for first, second in combinations(kinds, 2)}
    rankable = [methods for methods in candidates if len(methods) >= FEWEST]

    def size(methods: Set[str]) -> tuple[int, list[str]]:
        complete = sum(count for kind, count in kinds.items() if methods <= kind)
        # another block tells more than another method: what ranks tell apart grows with blocks alone
        # names decide between tables of one size, so that the choice does not depend on the order of sets
        return len(methods) * complete**2, sorted(methods)

    return max(rankable, key=size, default=frozenset())
