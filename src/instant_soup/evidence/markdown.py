"""Markdown: a comparison as a page for repositories."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterable, Sequence

from . import tables
from .comparison import Comparison
from .ledger import bill
from .overview import overviews
from .transfers import Matrix

_MARKUP = re.compile(r"([\\`<>\[\]|&]|\*(?!$))")
"""What would be read as markup; a star at the end of a name is ours, and is read as a star."""


def markdown(
    comparison: Comparison, transfers: Sequence[Matrix] = (), *, costs: bool = True
) -> str:
    """What to use, remarks, ranks, transfers, and a section for each task and sparsity."""
    runs = sum(line.figure.n for line in comparison.lines)
    parts = [f"# Comparison of {runs} runs", "", *textwrap.wrap(tables.LEGEND, 118), ""]

    offered = tables.offered(comparison)
    if len(offered) > 1:  # there is more than a head
        parts += ["## What to use at your budget", ""]
        parts += [*grid(offered), "", tables.OFFERED, ""]

    remarks = [f"- {escaped(remark)}" for remark in comparison.remarks]
    parts += ["## What the numbers do not show", "", *remarks, ""]

    ranks = comparison.ranks
    if ranks:
        rows = [tables.RANKED, *tables.ranked(ranks)]
        parts += ["## Ranks", "", *grid(rows), "", tables.ranks_in_words(ranks), ""]

    for overview in overviews(comparison):
        parts += [f"## {escaped(overview.task)} at a glance", ""]
        parts += [*grid(tables.glanced(comparison, overview, "**{}**"), names=1)]
        parts += ["", escaped(tables.glance(comparison, overview)), ""]

    for matrix in transfers:
        parts += [f"## Transfer: {escaped(matrix.title)}", "", tables.TRANSFERRED, ""]
        parts += [*grid(tables.moved(matrix), names=1), "", escaped(matrix.summary), ""]

    for task, sparsity in comparison.blocks:
        parts += _section(comparison, task, sparsity, costs=costs)
    return "\n".join(parts).rstrip() + "\n"


def _section(
    comparison: Comparison, task: str, sparsity: float, *, costs: bool
) -> list[str]:
    lines = comparison.of(task, sparsity)
    heads = [lines[0].metric if head == "figure" else head for head in tables.HEADS]
    body = [tables.cells(comparison, line) for line in lines]
    notes = tables.notes(comparison, task, sparsity)

    parts = [f"## {escaped(tables.title(comparison, task, sparsity))}", ""]
    parts += grid([heads, *body])
    parts += ["", *(f"- {escaped(sentence)}" for sentence in notes), ""]

    if costs:
        rows = [["what it cost", *tables.BILLED]]
        rows += [
            [line.title, *tables.billed(bill(line))] for line in lines if not line.control
        ]
        parts += [*grid(rows), ""]

    return parts


def grid(rows: Sequence[Sequence[str]], names: int | None = None) -> list[str]:
    """A table, its head first. Markup is escaped in all cells, or beneath the head in the first *names* columns."""
    head, *body = rows
    lines = [_row(map(escaped, head)), "|" + "---|" * len(head)]
    for row in body:
        until = len(row) if names is None else names
        lines.append(_row([*map(escaped, row[:until]), *row[until:]]))
    return lines


def _row(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"


def escaped(text: str) -> str:
    """*text* with nothing left in it that would be read as markup."""
    return _MARKUP.sub(r"\\\1", text)
