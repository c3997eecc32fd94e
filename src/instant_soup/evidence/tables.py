"""Tables: what a comparison says, in cells and in sentences, for whoever shows them."""

from __future__ import annotations

from collections.abc import Callable
from math import isinf
from typing import TypeVar

from .compare import ALIKE, LEVEL
from .comparison import Comparison, Difference, Offer, Ranks
from .ledger import PURPOSES, Bill
from .line import Block, Line
from .overview import Overview
from .statistics import Interval, alike

_Cell = TypeVar("_Cell")
_SIGNS = {
    "better": "better",
    "worse": "worse",
    "within noise": "noise",
    "too few seeds": "few seeds",
    "no spread": "no spread",
}

_REVERSED = {"better": "worse", "worse": "better"}

LEGEND = (
    "Figures are on the test split, means over seeds with 95 % intervals; differences are to the same seeds of the "
    "reference, or of its ticket for a control. T is one full fine-tune, look-aheads, scoring and validation counted. "
    "`*` marks what no other line beats at no more cost, `few seeds` what has fewer than three. A control keeps as "
    "many weights of each layer as its ticket, others. `longer` is a method with as many steps as another spent, "
    "`budget=` one that was given so many T."
)
SHOWN = 3
"""Lines that are named beside the one that they are level with."""
HEADS = ["method", "figure", "seeds", "of dense", "cost, T", "difference", "", "p"]
RANKED = ["method", "mean rank", "alike", "cost, T"]
BILLED = [
    *(f"{purpose}, T" for purpose in PURPOSES),
    "all, T",
    "no look-ahead, T",
    "FLOPs",
    "seconds",
    "MiB",
]
"""Columns of a bill; ``no look-ahead`` leaves the look-aheads out, as the paper's budgets do."""
OFFERED = (
    "Of each task and sparsity the line that is best on the validation split, by the seeds that all have in common if "
    "these are two or more, of those that cost no more in all, up to 5 % for the validation that every run pays: its "
    "figure on the test split with the 95 % interval, seeds, and its cost. A line of one seed stands there only where "
    "no other has more; what is level with it on validation and in cost is named. The last row is the best mean rank "
    "on validation over tables that can tell, and its rank on test. A method's plain name is the variant of it that "
    "has most runs on that task, so it may be another on another task."
)


# figures


def with_interval(interval: Interval) -> str:
    """Mean and half the interval."""
    half = f" ± {interval.half:.3f}" if interval.half is not None else ""
    return f"{interval.mean:.3f}{half}"


def percentage(sparsity: float) -> str:
    """A sparsity, as short as it can be said."""
    return f"{100 * sparsity:.4g}%"


def cost_range(costs: tuple[float, float]) -> str:
    """Costs from the least to the most."""
    # set against each other as they are shown: what differs by less is one cost
    least, most = (f"{cost:.2f}" for cost in costs)
    return least if least == most else f"{least} to {most}"


# one task and sparsity


def title(comparison: Comparison, task: str, sparsity: float) -> str:
    """What a table is about, and whether it can tell anything."""
    pruned = f"{percentage(sparsity)} pruned" if sparsity else "nothing pruned"
    silent = " (cannot tell)" if comparison.why_silent(task, sparsity) else ""
    return f"{task}, {pruned}{silent}"


def line_heads(metric: str) -> list[str]:
    """The head of one task and sparsity, its figures under the name of their *metric*."""
    return [metric if head == "figure" else head for head in HEADS]


def line_cells(comparison: Comparison, line: Line) -> list[str]:
    """A line of a table for people; a control is set against its ticket."""
    if line.control:
        name = f"↳ {line.control} control"
    else:
        name = f"{line.title} *" if line.frontier else line.title

    recovery = f"{line.recovery.mean:.0%}" if line.recovery else ""
    difference = comparison.against(line)
    return [
        name,
        with_interval(line.figure),
        str(line.figure.n),
        recovery,
        f"{line.cost.mean:.2f}",
        *verdict_cells(difference, control=bool(line.control)),
    ]


def verdict_cells(
    difference: Difference | None, *, control: bool
) -> tuple[str, str, str]:
    """A difference, what it amounts to, and its adjusted p; for a control, its own difference to its ticket."""
    if difference is None:
        return "", "", ""

    mean = difference.difference.mean
    word = _SIGNS[difference.verdict]
    if control:
        # the ticket was set against the control, and the row is about the control
        mean = -mean
        word = f"{_REVERSED.get(word, word)} (to its ticket)"

    p = "" if difference.adjusted is None else f"{difference.adjusted:.3f}"
    return f"{mean:+.3f}", word, p


def beats_reference(comparison: Comparison, line: Line) -> bool:
    """Whether a line is better than the reference beyond noise; never of a control."""
    difference = None if line.control else comparison.against(line)
    return difference is not None and difference.verdict == "better"


def equal_cost_notes(comparison: Comparison, task: str, sparsity: float) -> list[str]:
    """Sentences on what methods gain over the reference when that has as much to spend."""
    costs = {line.title: line.cost.mean for line in comparison.of(task, sparsity)}
    sentences = []
    for pair in comparison.equal_of(task, sparsity):
        sentences.append(
            f"At equal cost ({costs[pair.method]:.2f} T): {pair.method} against {pair.reference} "
            f"{pair.difference.mean:+.3f} ({pair.verdict})"
        )
    return sentences


def notes(comparison: Comparison, task: str, sparsity: float) -> list[str]:
    """Everything that has to be said beneath one table."""
    sentences = equal_cost_notes(comparison, task, sparsity)
    lines = comparison.of(task, sparsity)
    steps = [line.steps for line in lines if not line.control]

    if steps and max(steps) > (1 + ALIKE) * min(steps):
        sentences.append(
            f"Not at equal steps: the lines take from {min(steps):.2f} to {max(steps):.2f} T of steps in all."
        )

    silent = comparison.why_silent(task, sparsity)
    if silent:
        sentences.append(
            f"This table cannot tell good masks from bad ones, and is left out of the ranks: {silent}."
        )

    return sentences


def bill_cells(bill: Bill) -> list[str]:
    """A bill in cells."""
    shares = []
    for purpose in PURPOSES:
        item = bill.items.get(purpose)
        # empty where nothing of the kind was done, which is not work that rounds to 0.00
        shares.append(f"{item.share:.2f}" if item else "")

    totals = [f"{bill.total:.2f}", f"{bill.uncounted:.2f}"]
    flops = sum(item.flops for item in bill.items.values())
    seconds = f"{bill.seconds:.0f}" if bill.seconds is not None else ""
    memory = f"{bill.memory / 2**20:,.0f}" if bill.memory else ""
    return [*shares, *totals, f"{flops:.1e}", seconds, memory]


# what to use


def budget_text(offer: Offer) -> str:
    """A budget, as a person says it."""
    return "any cost" if isinf(offer.budget) else f"up to {offer.budget:g} T"


def offer_rows(comparison: Comparison) -> list[list[str]]:
    """What to use at which budget, in cells, its head first."""
    rows = [["task, pruned", *map(budget_text, comparison.offers)]]
    for task, sparsity in comparison.blocks:
        if sparsity:
            row = [title(comparison, task, sparsity)]
            for offer in comparison.offers:
                row.append(offer_cell(offer, (task, sparsity)))
            rows.append(row)

    if any(offer.ranks for offer in comparison.offers):
        rows.append(["mean rank", *map(leader_cell, comparison.offers)])
    return rows


def offer_cell(offer: Offer, block: Block) -> str:
    """The best line of a table in one cell, and what is level with it."""
    line = offer.best.get(block)
    if line is None:
        return ""
    figure = with_interval(line.figure)
    best = f"{line.method}: {figure}, {seeds_text(line)}, {line.cost.mean:.2f} T"
    return "; ".join(part for part in (best, level_text(offer, block)) if part)


def level_text(offer: Offer, block: Block) -> str:
    """What is level with the best line of a table, with its own test figures; empty where nothing is."""
    lines = offer.level.get(block, ())
    if not lines:
        return ""
    parts = [f"{line.method}: {with_interval(line.figure)}" for line in lines[:SHOWN]]
    more = f" and {len(lines) - SHOWN} more" if len(lines) > SHOWN else ""
    return f"level with {', '.join(parts)}{more}"


def seeds_text(line: Line) -> str:
    """How many seeds a line is of, in words."""
    plural = "s" if line.figure.n > 1 else ""
    return f"{line.figure.n} seed{plural}"


def leader_cell(offer: Offer) -> str:
    """The method of the best mean rank in one cell, and what is level with it."""
    ranks = offer.ranks
    if ranks is None:
        return ""
    method, *level = offer.leaders
    cost = cost_range(ranks.costs[method])
    best = f"{method}: {ranks.ranks[method]:.2f} of {len(ranks.ranks)}, {cost} T"
    return f"{best}; level with {', '.join(level)}" if level else best


# one task over sparsities


def overview_rows(
    comparison: Comparison, overview: Overview, strong: str = "{}"
) -> list[list[str]]:
    """A task in cells, its head first; *strong* is how a figure is written that is better than the reference."""

    def figure(line: Line) -> str:
        text = with_interval(line.figure)
        return strong.format(text) if beats_reference(comparison, line) else text

    rows = [overview_head(overview)]
    for method, figures, cost in overview_cells(overview, figure, ""):
        rows.append([method, *figures, cost])
    return rows


def overview_head(overview: Overview) -> list[str]:
    """The head of a task in one table."""
    return [f"{overview.metric} at", *map(percentage, overview.sparsities), "cost, T"]


def overview_cells(
    overview: Overview, figure: Callable[[Line], _Cell], nothing: _Cell
) -> list[tuple[str, list[_Cell], str]]:
    """Each method of a task, what *figure* makes of its lines, *nothing* where it has none, and its cost."""
    rows = []
    for method, lines in overview.rows.items():
        cells = []
        for sparsity in overview.sparsities:
            line = lines.get(sparsity)
            cells.append(nothing if line is None else figure(line))
        rows.append((method, cells, cost_range(overview.cost(method))))
    return rows


def overview_note(comparison: Comparison, overview: Overview) -> str:
    """What a task in one table is to be read against."""
    lines: list[Line] = []
    for row in overview.rows.values():
        lines += row.values()

    sentences = []
    dense = overview.dense
    if dense:
        figure = with_interval(dense.figure)
        sentences.append(f"Dense: {figure} at {dense.cost.mean:.2f} T.")
    # only what the table shows: a word on bold figures where none is bold puzzles
    if any(line.figure.n == 1 for line in lines):
        sentences.append("Without an interval: one seed.")
    if any(beats_reference(comparison, line) for line in lines):
        sentences.append(f"Bold: better than {comparison.reference} beyond noise.")
    return " ".join(sentences)


# ranks


def rank_rows(ranks: Ranks) -> list[list[str]]:
    """Mean ranks, best first, and what each method costs in all; those that share a letter are not told apart."""
    groups = alike_groups(ranks)
    rows = []
    for method, rank in ranks.ranks.items():
        # a column for each letter, so that one sees groups beneath each other
        letters = ""
        for i, group in enumerate(groups):
            letters += chr(ord("a") + i) if method in group else "·"
        rows.append([method, f"{rank:.2f}", letters, cost_range(ranks.costs[method])])
    return rows


def alike_groups(ranks: Ranks) -> list[tuple[str, ...]]:
    """Methods that are not told apart, group by group, best first."""
    if not _differ(ranks):
        # Nemenyi's test means nothing where Friedman's finds no difference
        return [tuple(ranks.ranks)]
    return alike(ranks.ranks, ranks.critical_difference or 0.0)


def ranks_in_words(ranks: Ranks) -> str:
    """What the ranks are over, and what they tell apart."""
    over = (
        f"Over {ranks.blocks} pairs of task and sparsity on which all of these were run. Friedman's test that all "
        f"are alike: p = {ranks.p:.2g}"
    )
    if not _differ(ranks):
        return f"{over}, so no method is told apart from another."
    critical = ranks.critical_difference or 0.0
    return f"{over}. Critical difference {critical:.2f} (Nemenyi, 5 %): what shares a letter is closer than that."


def _differ(ranks: Ranks) -> bool:
    """Whether Friedman's test says that not all methods are alike."""
    return ranks.p is not None and ranks.p < LEVEL
