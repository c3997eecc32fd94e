"""Offers: what one should use at one's budget, on each task and sparsity and on the mean rank.

The choice is made as somebody has to make it who has not seen the test split: by the figure on validation, its mean
over the seeds that all candidates have, for seeds differ more than methods do. What is then shown is the figure of that
choice on the test split, which the choice has not made better. A line of one seed may be best by luck, so it is chosen
only where no line of several seeds can be paid for. Of lines that are level the cheapest is chosen; those that are
level in cost too are all named, for the order of their names says nothing.

Three things this does not take away. Seeds share one validation split, so a lead of a few of its examples is no proof;
differences and intervals say what is. The best of many variants is best by luck in part. And a method that chooses
among its own weights by validation, as lottery pools and greedy soups do, has a figure there that is a little too good.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence, Set
from itertools import combinations
from math import inf

from .comparison import Offer, Ranks
from .line import Block, Blocks, Line
from .statistics import critical_difference, friedman, mean_ranks

BUDGETS = (1.0, 1.5, 2.0, 4.0, inf)
"""Whole costs in T that a reader may have to spend."""
WITHIN = 0.05
"""How much more may be spent, as a share of the budget: a run of T costs a little more, for its validation."""
FEWEST = 3
"""Methods that ranks take: of two, a paired test says more."""
DIGITS = 9
"""Decimals up to which figures have to agree to be level."""
SHARED = 2
"""Seeds that lines have to have in common to be set beside one another by those alone."""
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
    level: dict[Block, tuple[Line, ...]] = {}
    for block, lines in blocks.items():
        chosen = best_of(_affordable(lines, budget))
        if chosen:
            best[block] = chosen[0]
        if len(chosen) > 1:
            level[block] = chosen[1:]

    # ranked anew among what can be paid for: a method that is out of reach must not push others down
    affordable = {}
    for block, lines in telling.items():
        affordable[block] = _affordable(lines, budget)
    return Offer(budget, best, ranks_over(affordable), level, _leaders(affordable))


def best_of(lines: Sequence[Line]) -> tuple[Line, ...]:
    """The line that is best on validation, as this module chooses; all of them where several are level."""
    several = [line for line in lines if line.figure.n > 1]
    candidates = several or list(lines)
    if not candidates:
        return ()

    seeds = _common_seeds(candidates)
    worth = [_merit_and_thrift(line, seeds) for line in candidates]
    best = max(worth)
    return tuple(
        line for line, value in zip(candidates, worth, strict=True) if value == best
    )


def _affordable(lines: Sequence[Line], budget: float) -> list[Line]:
    most = budget * (1 + WITHIN)
    return [line for line in lines if not line.control and line.cost.mean <= most]


def _common_seeds(lines: Sequence[Line]) -> Set[int]:
    """The seeds by which *lines* are set beside one another: those that all of them have.

    Where those are fewer than `SHARED`, each line is taken over all seeds that it has, and the set is empty.
    """
    seeds = frozenset.intersection(*(line.seeds for line in lines))
    return seeds if len(seeds) >= SHARED else frozenset()


def _merit_and_thrift(line: Line, seeds: Set[int]) -> tuple[float, float]:
    """What decides which line is best: its figure on validation, then its cost, as it is shown."""
    # means of equal figures may differ in their last bits, by the order in which they were added
    validation = line.validation_over(seeds or line.seeds)
    return round(validation, DIGITS), -round(line.cost.mean, 2)


def ranks_over(blocks: Blocks) -> Ranks | None:
    """Ranks over blocks with something pruned; None where fewer than three methods share two of them.

    Lines with records of older schemas are not ranked.
    """
    methods, tables = _rankable(blocks)
    if not tables:
        return None

    figures = _figures(methods, tables, Line.merit_over)
    costs: dict[str, tuple[float, float]] = {}
    for method in sorted(methods):
        spent = [table[method].cost.mean for table in tables]
        costs[method] = (min(spent), max(spent))

    return Ranks(
        ranks=mean_ranks(figures),
        blocks=len(tables),
        p=friedman(figures),
        critical_difference=critical_difference(len(methods), len(tables)),
        costs=costs,
    )


def _leaders(blocks: Blocks) -> tuple[str, ...]:
    """The methods of the best mean rank on validation over *blocks*; none where there are no ranks."""
    methods, tables = _rankable(blocks)
    if not tables:
        return ()

    ranks = mean_ranks(_figures(methods, tables, Line.validation_over))
    first = round(min(ranks.values()), DIGITS)
    return tuple(method for method, rank in ranks.items() if round(rank, DIGITS) == first)


def _figures(
    methods: Set[str],
    tables: Sequence[Mapping[str, Line]],
    figure: Callable[[Line, Set[int]], float],
) -> dict[str, list[float]]:
    """The *figure* of each method on each table, over the seeds that all methods have there."""
    figures: dict[str, list[float]] = {method: [] for method in sorted(methods)}
    for table in tables:
        lines = {method: table[method] for method in figures}
        seeds = _common_seeds([*lines.values()])
        for method, line in lines.items():
            # means of equal figures may differ in their last bits, by the order in which they were added
            figures[method].append(round(figure(line, seeds or line.seeds), DIGITS))
    return figures


def _rankable(blocks: Blocks) -> tuple[Set[str], list[dict[str, Line]]]:
    """The methods that can be ranked, and their lines in each table; no table where there are too few of either."""
    tables: list[dict[str, Line]] = []
    for (_, sparsity), lines in blocks.items():
        if sparsity:
            tables.append(_ranked_lines(lines))

    # Friedman's test takes every method on every block, so blocks that lack one are left out
    methods = _shared([table.keys() for table in tables])
    tables = [table for table in tables if methods <= table.keys()]
    if len(methods) < FEWEST or len(tables) < 2:
        return methods, []
    return methods, tables


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
