"""Tables: what a comparison says, in cells and in sentences, for whoever shows them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import isinf
from typing import TypeVar

from .compare import LEVEL
from .comparison import Comparison, Difference, Line, Offer, Ranks
from .ledger import PURPOSES, Bill
from .overview import Overview
from .statistics import Interval, alike
from .transfers import Matrix

_Cell = TypeVar("_Cell")
_SIGNS = {
    "better": "better",
    "worse": "worse",
    "within noise": "noise",
    "too few seeds": "few seeds",
}

LEGEND = (
    "Figures are on the test split, means over seeds with 95 % intervals; differences are to the same seeds of the "
    "reference, or of its ticket for a control. T is one full fine-tune, look-aheads, scoring and validation counted. "
    "`*` marks what no other line beats at no more cost, `few seeds` what has fewer than three. A control keeps as "
    "many weights of each layer as its ticket, others. `longer` is a method with as many steps as another spent, "
    "`budget=` one that was given so many T."
)
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
    "The best line of each task and sparsity that costs no more in all, up to 5 % for the validation that every run "
    "pays: its figure with the 95 % interval, seeds, and its cost. The last row is over tables that can tell."
)
TRANSFERRED = (
    "A row is the task that the ticket was drawn on, a column the task that it was fine-tuned and judged on, at one T. "
    "In brackets: the task's own ticket, from its ordinary run. Below: what other methods reach on the same seeds."
)


# figures


def shown(interval: Interval) -> str:
    """Mean and half the interval."""
    half = f" ± {interval.half:.3f}" if interval.half is not None else ""
    return f"{interval.mean:.3f}{half}"


def share(sparsity: float) -> str:
    """A sparsity, as short as it can be said."""
    return f"{100 * sparsity:.4g}%"


def span(costs: tuple[float, float]) -> str:
    """Costs from the least to the most."""
    least, most = (f"{cost:.2f}" for cost in costs)
    return least if least == most else f"{least} to {most}"


# one task and sparsity


def title(comparison: Comparison, task: str, sparsity: float) -> str:
    """What a table is about, and whether it can tell anything."""
    pruned = f"{share(sparsity)} pruned" if sparsity else "nothing pruned"
    silent = " (cannot tell)" if comparison.why_silent(task, sparsity) else ""
    return f"{task}, {pruned}{silent}"


def cells(comparison: Comparison, line: Line) -> list[str]:
    """A line of a table for people; a control is set against its ticket."""
    if line.control:
        name = f"↳ {line.control} control"
    else:
        name = f"{line.title} *" if line.frontier else line.title

    recovery = f"{line.recovery.mean:.0%}" if line.recovery else ""
    signs = verdict(comparison.against(line), control=bool(line.control))
    count = str(line.figure.n)
    return [name, shown(line.figure), count, recovery, f"{line.cost.mean:.2f}", *signs]


def verdict(difference: Difference | None, *, control: bool) -> tuple[str, str, str]:
    """A difference, what it amounts to, and its adjusted p. A control is shown as what it is against its ticket."""
    if difference is None:
        return "", "", ""

    mean = difference.difference.mean
    word = _SIGNS[difference.verdict]
    if control:
        # the ticket was set against the control, and the row is about the control
        mean = -mean
        word = {"better": "worse", "worse": "better"}.get(word, word) + " (to its ticket)"

    p = "" if difference.adjusted is None else f"{difference.adjusted:.3f}"
    return f"{mean:+.3f}", word, p


def ahead(comparison: Comparison, line: Line) -> bool:
    """Whether a line is better than the reference beyond noise; never of a control."""
    difference = None if line.control else comparison.against(line)
    return difference is not None and difference.verdict == "better"


def equal(comparison: Comparison, task: str, sparsity: float) -> list[str]:
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
    sentences = equal(comparison, task, sparsity)
    steps = [line.steps for line in comparison.of(task, sparsity) if not line.control]

    if steps and max(steps) > 1.05 * min(steps):
        sentences.append(
            f"Not at equal steps: the lines take from {min(steps):.2f} to {max(steps):.2f} T of steps in all."
        )

    silent = comparison.why_silent(task, sparsity)
    if silent:
        sentences.append(
            f"This table cannot tell good masks from bad ones, and is left out of the ranks: {silent}."
        )

    return sentences


def billed(bill: Bill) -> list[str]:
    """A bill in cells."""
    shares = []
    for purpose in PURPOSES:
        item = bill.items.get(purpose)
        shares.append(f"{item.share:.2f}" if item else "")

    totals = [f"{bill.total:.2f}", f"{bill.uncounted:.2f}"]
    flops = sum(item.flops for item in bill.items.values())
    seconds = f"{bill.seconds:.0f}" if bill.seconds is not None else ""
    memory = f"{bill.memory / 2**20:,.0f}" if bill.memory else ""
    return [*shares, *totals, f"{flops:.1e}", seconds, memory]


# what to use


def budget(offer: Offer) -> str:
    """A budget, as a person says it."""
    return "any cost" if isinf(offer.budget) else f"up to {offer.budget:g} T"


def offered(comparison: Comparison) -> list[list[str]]:
    """What to use at which budget, in cells, its head first."""
    head = ["task, pruned", *(budget(offer) for offer in comparison.offers)]
    rows = [head]
    for task, sparsity in comparison.blocks:
        if sparsity:
            bests = [offer.best.get((task, sparsity)) for offer in comparison.offers]
            name = title(comparison, task, sparsity)
            rows.append([name, *(offer_of(line) for line in bests)])

    if any(offer.ranks for offer in comparison.offers):
        leaders = [best_ranked(offer.ranks) for offer in comparison.offers]
        rows.append(["mean rank", *leaders])
    return rows


def offer_of(line: Line | None) -> str:
    """A best line in one cell."""
    if line is None:
        return ""
    return f"{line.method}: {shown(line.figure)}, {seeds(line)}, {line.cost.mean:.2f} T"


def seeds(line: Line) -> str:
    """How many seeds a line is of, in words."""
    plural = "s" if line.figure.n > 1 else ""
    return f"{line.figure.n} seed{plural}"


def best_ranked(ranks: Ranks | None) -> str:
    """The method of the best mean rank in one cell."""
    if ranks is None:
        return ""
    method, rank = next(iter(ranks.ranks.items()))
    return f"{method}: {rank:.2f} of {len(ranks.ranks)}, {span(ranks.costs[method])} T"


# one task over sparsities


def glanced(
    comparison: Comparison, overview: Overview, strong: str = "{}"
) -> list[list[str]]:
    """A task in cells, its head first; *strong* is how a figure is written that is better than the reference."""

    def figure(line: Line) -> str:
        text = shown(line.figure)
        return strong.format(text) if ahead(comparison, line) else text

    rows = [glance_heads(overview)]
    for method, figures, cost in glance_rows(overview, figure, ""):
        rows.append([method, *figures, cost])
    return rows


def glance_heads(overview: Overview) -> list[str]:
    """The head of a task in one table."""
    return [f"{overview.metric} at", *map(share, overview.sparsities), "cost, T"]


def glance_rows(
    overview: Overview, figure: Callable[[Line], _Cell], nothing: _Cell
) -> list[tuple[str, list[_Cell], str]]:
    """Each method of a task, what *figure* makes of its lines, *nothing* where it has none, and its cost."""
    rows = []
    for method, lines in overview.rows.items():
        cells = []
        for sparsity in overview.sparsities:
            cells.append(figure(lines[sparsity]) if sparsity in lines else nothing)
        rows.append((method, cells, spent(overview, method)))
    return rows


def glance(comparison: Comparison, overview: Overview) -> str:
    """What a task in one table is to be read against."""
    lines = [line for row in overview.rows.values() for line in row.values()]
    sentences = []
    if overview.dense:
        sentences.append(
            f"Dense: {shown(overview.dense.figure)} at {overview.dense.cost.mean:.2f} T."
        )
    if any(line.figure.n == 1 for line in lines):
        sentences.append("Without an interval: one seed.")
    if any(ahead(comparison, line) for line in lines):
        sentences.append(f"Bold: better than {comparison.reference} beyond noise.")
    return " ".join(sentences)


def spent(overview: Overview, method: str) -> str:
    """The cost of a method in T, from its least to its most over the sparsities."""
    return span(overview.cost(method))


# transfers


def moved(matrix: Matrix) -> list[list[str]]:
    """A matrix in cells, its head first."""
    targets = [f"{target}, {metric}" for target, metric in matrix.targets.items()]
    rows = [["ticket of", *targets]]
    for row in matrix.rows:
        rows.append([matrix.label(row), *_moved(matrix, row)])
    return rows


def _moved(matrix: Matrix, row: str) -> Sequence[str]:
    cells = []
    for target in matrix.targets:
        figure = matrix.at(row, target)
        text = shown(figure) if figure else ""
        # the task's own ticket
        cells.append(f"[{text}]" if figure and target == row else text)
    return cells


# ranks


def ranked(ranks: Ranks) -> list[list[str]]:
    """Mean ranks, best first, and what each method costs in all; those that share a letter are not told apart."""
    letters = {chr(ord("a") + i): group for i, group in enumerate(groups(ranks))}

    rows = []
    for method, rank in ranks.ranks.items():
        marks = [letter if method in group else "·" for letter, group in letters.items()]
        rows.append([method, f"{rank:.2f}", "".join(marks), span(ranks.costs[method])])
    return rows


def groups(ranks: Ranks) -> list[tuple[str, ...]]:
    """Methods that are not told apart, group by group, best first."""
    if not _rejected(ranks):
        # Nemenyi's test means nothing where Friedman's finds no difference
        return [tuple(ranks.ranks)]
    return alike(ranks.ranks, ranks.critical_difference or 0.0)


def ranks_in_words(ranks: Ranks) -> str:
    """What the ranks are over, and what they tell apart."""
    over = (
        f"Over {ranks.blocks} pairs of task and sparsity on which all of these were run. Friedman's test that all "
        f"are alike: p = {ranks.p:.2g}"
    )
    if not _rejected(ranks):
        return f"{over}, so no method is told apart from another."
    critical = ranks.critical_difference or 0.0
    return f"{over}. Critical difference {critical:.2f} (Nemenyi, 5 %): what shares a letter is closer than that."


def _rejected(ranks: Ranks) -> bool:
    """Whether Friedman's test finds that not all methods are alike."""
    return ranks.p is not None and ranks.p < LEVEL
