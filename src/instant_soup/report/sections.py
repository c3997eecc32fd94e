"""Sections: the charts of a page, in order, or a sentence that says why there are none."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from ..evidence.agreement import Pair
from ..evidence.comparison import Comparison
from ..evidence.line import Block, Line
from ..evidence.transfers import Matrix
from .agreement import alike
from .costs import by_purpose
from .drawing import Chart
from .figures import by_cost, by_sparsity
from .layers import layers
from .marks import Looks
from .ranking import by_rank
from .soups import barriers, chosen
from .transfers import travel
from .votes import FACTS, votes

CELLS = 8000
"""Cells of heat maps from which on a cell is a layer, not a parameter."""

CHARTED = 40
"""Tasks that charts are drawn of; a page of more would open slowly, and nobody would look at them all."""
MANY = 24
"""Charts of one kind from which on each task has only one of them; where it says so, at its fullest sparsity."""


@dataclass(frozen=True)
class Section:
    """Charts of one kind.

    Attributes:
        lead: what they answer.
        nothing: why there are none; empty where there are some.
    """

    ident: str
    title: str
    lead: str
    charts: tuple[Chart, ...]
    nothing: str


def sections(
    comparison: Comparison,
    pairs: Sequence[Pair],
    looks: Looks,
    transfers: Sequence[Matrix] = (),
) -> tuple[Section, ...]:
    """Every section, also those that have nothing to show; that of transfers only where there are some."""
    tasks = comparison.tasks[:CHARTED]
    blocks = [block for block in _charted_blocks(comparison) if block[0] in tasks]
    by_task: dict[str, list[Line]] = {task: [] for task in tasks}
    for task, sparsity in blocks:
        by_task[task] += comparison.of(task, sparsity)

    # what is left out is said where it is left out
    less = ""
    if len(blocks) < len(comparison.blocks):
        less = " For each task at the sparsity that has most methods."
    few = ""
    priced = comparison.blocks
    if len(tasks) < len(comparison.tasks):
        few = f" The first {CHARTED} of {len(comparison.tasks)} tasks."
        priced = tuple(blocks)

    soups = []
    for task in tasks:
        soups.append(chosen(task, comparison, looks))
        soups.append(barriers(task, comparison, looks))
    rounds = []
    for task, lines in by_task.items():
        for fact in FACTS:
            rounds.append(votes(task, fact, lines, looks))

    return (
        _sparsity(comparison, looks, tasks, few),
        _cost(comparison, looks, priced, few),
        _ranks(comparison, looks),
        _bill(comparison, looks, blocks, less),
        _layers(comparison, looks, blocks, less),
        _agreement(pairs, looks),
        *_transfers(transfers),
        _section(
            "votes",
            "How sure are the votes?",
            "Each round of Instant Soup Pruning looks ahead several times; each look-ahead votes with a "
            f"mask.{less}",
            rounds,
            "No run took votes in rounds, as Instant Soup Pruning does.",
        ),
        _section(
            "soups",
            "What went into the soups?",
            "Soups of models, and pools of tickets.",
            soups,
            "No run made a soup of models or a pool of tickets.",
        ),
    )


def _sparsity(
    comparison: Comparison,
    looks: Looks,
    tasks: Sequence[str],
    few: str,
) -> Section:
    return _section(
        "sparsity",
        "How far can one prune?",
        f"What is left of the figure when more goes.{few}",
        [by_sparsity(task, comparison, looks) for task in tasks],
        "Nothing was pruned, so there is no figure against sparsity.",
    )


def _cost(
    comparison: Comparison,
    looks: Looks,
    blocks: Sequence[Block],
    few: str,
) -> Section:
    return _section(
        "cost",
        "What does it take?",
        f"Up is better, left is cheaper: the paper's Figure 1, measured. T is one full fine-tune.{few}",
        [by_cost(*block, comparison, looks) for block in blocks],
        "No task and sparsity has two methods or more, so there is nothing to set against its cost.",
    )


def _ranks(comparison: Comparison, looks: Looks) -> Section:
    return _section(
        "ranks",
        "Which methods are told apart?",
        "Ranks over all tasks and sparsities on which the same methods were run.",
        [by_rank(comparison.ranks, looks)] if comparison.ranks else [],
        "Ranks take two pairs of task and sparsity on which the same three methods or more were run; there are "
        "not as many.",
    )


def _bill(
    comparison: Comparison,
    looks: Looks,
    blocks: Sequence[Block],
    less: str,
) -> Section:
    return _section(
        "bill",
        "What was the cost for?",
        f"Training, looking ahead, scoring and choosing; reading the test split is left out.{less}",
        [by_purpose(*block, comparison, looks) for block in blocks],
        "No task and sparsity has two methods or more, so there are no bills to set side by side.",
    )


def _layers(
    comparison: Comparison,
    looks: Looks,
    blocks: Sequence[Block],
    less: str,
) -> Section:
    by_layer = _count_cells(comparison, blocks) > CELLS
    charts = []
    for task, sparsity in blocks:
        # where nothing is pruned, every layer is whole
        if sparsity:
            lines = comparison.of(task, sparsity)
            charts.append(layers(lines, looks, by_layer=by_layer))

    return _section(
        "layers",
        "Where are weights kept?",
        f"How much of each part of the model survives.{less}",
        charts,
        "No record says how much was kept of each parameter; records of schema 1 and 2 do not.",
    )


def _agreement(pairs: Sequence[Pair], looks: Looks) -> Section:
    charts = []
    for group in _charted_pairs(pairs):
        charts.append(alike(group, looks, beyond=True))
        charts.append(alike(group, looks, beyond=False))

    return _section(
        "alike",
        "How alike are the tickets?",
        "Two masks that keep the same weights have a cosine of 1.",
        charts,
        "The tickets are not in this folder, nor was their agreement noted in it.",
    )


def _transfers(matrices: Sequence[Matrix]) -> tuple[Section, ...]:
    """One section, or none: few folders hold transfers, and the others need no word of them."""
    if not matrices:
        return ()

    section = _section(
        "travel",
        "Do tickets travel?",
        "A row is the task that a ticket was drawn on, a column the task that it was fine-tuned and judged on, "
        "with as many steps as any other. Read down a column: the framed figure is the task's own ticket.",
        [travel(matrix) for matrix in matrices],
        "",
    )
    return (section,)


def _section(
    ident: str,
    title: str,
    lead: str,
    charts: Iterable[Chart | None],
    nothing: str,
) -> Section:
    drawn = tuple(chart for chart in charts if chart is not None)
    return Section(ident, title, lead, drawn, "" if drawn else nothing)


def _charted_blocks(comparison: Comparison) -> list[Block]:
    """All pairs of task and sparsity, or for each task the one that has most methods, the sparsest of several."""
    if len(comparison.blocks) <= MANY:
        return list(comparison.blocks)

    fullest: dict[str, Block] = {}
    methods: dict[str, int] = {}
    # in rising order, so that of equals the sparsest stays
    for task, sparsity in comparison.blocks:
        count = len(comparison.of(task, sparsity))
        if count >= methods.get(task, 0):
            fullest[task] = (task, sparsity)
            methods[task] = count
    return list(fullest.values())


def _count_cells(comparison: Comparison, blocks: Iterable[Block]) -> int:
    cells = 0
    for block in blocks:
        for line in comparison.of(*block):
            cells += len(line.runs[0].layers)
    return cells


def _charted_pairs(pairs: Sequence[Pair]) -> list[list[Pair]]:
    """Pairs by task and sparsity; where those are many, for each task at the sparsity that has most pairs."""
    groups: dict[Block, list[Pair]] = defaultdict(list)
    for pair in pairs:
        groups[pair.task, pair.sparsity].append(pair)
    # each group makes two charts
    if len(groups) <= MANY // 2:
        return list(groups.values())

    fullest: dict[str, list[Pair]] = {}
    for (task, _), group in sorted(groups.items()):
        if len(group) >= len(fullest.get(task, ())):
            fullest[task] = group
    return list(fullest.values())
