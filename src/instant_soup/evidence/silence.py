"""Silence: tables that cannot tell good masks from bad ones, and say so by the two checks that are made here.

Where cutting at random does as well as one-shot pruning, or one-shot pruning loses next to nothing of the dense
figure, every method looks alike whatever its masks are worth. Where the runs that would show it are missing, or are
too few, nothing is known, and the table counts.
"""

from __future__ import annotations

from collections.abc import Sequence
from statistics import stdev

from .comparison import paired_by_seed
from .line import Block, Blocks, Line
from .statistics import ENOUGH

LEVEL = 0.05
SPREADS = 3  # spreads of the dense figure over seeds that one-shot pruning has to lose


def silent(blocks: Blocks) -> dict[Block, str]:
    """Why, for each block that cannot tell."""
    reasons = {}
    for block, lines in blocks.items():
        task, sparsity = block
        if not sparsity:
            continue
        one_shot = _ticket_line(lines, "magnitude")
        random = _ticket_line(lines, "random")
        dense = _ticket_line(blocks.get((task, 0.0), ()), "dense")
        reason = _as_random(one_shot, random) or _loses_nothing(one_shot, dense)
        if reason:
            reasons[block] = reason

    return reasons


def _ticket_line(lines: Sequence[Line], method: str) -> Line | None:
    for line in lines:
        if line.method == method and not line.control:
            return line
    return None


def _as_random(one_shot: Line | None, random: Line | None) -> str:
    if one_shot is None or random is None:
        return ""

    test = paired_by_seed(one_shot, random)
    if test is None or test.difference.n < ENOUGH:
        return ""
    # without a p every seed differs by the same, which is no sign that the two are alike
    if test.p is None or test.p < LEVEL:
        return ""
    return f"random pruning is not told from one-shot (p = {test.p:.2g} over {test.difference.n} seeds)"


def _loses_nothing(one_shot: Line | None, dense: Line | None) -> str:
    if one_shot is None or dense is None or dense.figure.n < ENOUGH:
        return ""

    # merits, so that a perplexity that rises is a loss too
    spread = stdev(dense.by_seed.values())
    loss = dense.merit - one_shot.merit
    if loss >= SPREADS * spread:
        return ""
    return f"one-shot loses {loss:.3f}, less than {SPREADS} spreads of the dense figure over seeds ({spread:.3f} each)"
