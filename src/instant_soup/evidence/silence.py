"""Silence: tables that cannot tell good masks from bad ones, and say so by the two checks that are made here.

Where cutting at random does as well as one-shot pruning, or one-shot pruning loses next to nothing of the dense
figure, every method looks alike whatever its masks are worth. Where the runs that would show it are missing, or are
too few, nothing is known, and the table counts.
"""

from __future__ import annotations

from collections.abc import Sequence
from statistics import stdev

from .comparison import Block, Blocks, Line
from .statistics import ENOUGH, paired

LEVEL = 0.05
SPREADS = 3  # spreads of the dense figure over seeds that one-shot pruning has to lose


def silent(blocks: Blocks) -> dict[Block, str]:
    """Why, for each block that cannot tell."""
    reasons = {}
    for block, lines in blocks.items():
        task, sparsity = block
        if not sparsity:
            continue
        one_shot = _plain(lines, "magnitude")
        dense = _plain(blocks.get((task, 0.0), ()), "dense")
        reason = _as_random(one_shot, _plain(lines, "random")) or _loses_nothing(
            one_shot, dense
        )
        if reason:
            reasons[block] = reason

    return reasons


def _plain(lines: Sequence[Line], method: str) -> Line | None:
    return next(
        (line for line in lines if line.method == method and not line.control), None
    )


def _as_random(one_shot: Line | None, random: Line | None) -> str:
    if one_shot is None or random is None:
        return ""

    mine = one_shot.by_seed
    theirs = random.by_seed
    seeds = sorted(mine.keys() & theirs.keys())
    if len(seeds) < ENOUGH:
        return ""
    test = paired([mine[seed] for seed in seeds], [theirs[seed] for seed in seeds])
    if test.p is None or test.p < LEVEL:
        return ""
    return f"random pruning is not told from one-shot (p = {test.p:.2g} over {len(seeds)} seeds)"


def _loses_nothing(one_shot: Line | None, dense: Line | None) -> str:
    if one_shot is None or dense is None or dense.figure.n < ENOUGH:
        return ""

    spread = stdev(dense.by_seed.values())
    loss = dense.merit - one_shot.merit
    if loss >= SPREADS * spread:
        return ""
    return f"one-shot loses {loss:.3f}, less than {SPREADS} spreads of the dense figure over seeds ({spread:.3f} each)"
