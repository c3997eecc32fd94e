"""Markdown: a comparison as a page for repositories."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterable, Sequence

from ..core.printable import printable
from . import tables
from .comparison import Comparison
from .ledger import bill
from .overview import overviews
from .transfers import TRANSFERRED, Matrix, transfer_rows

_MARKUP = re.compile(r"([\\`<>\[\]|&~]|\*(?!$))")
"""What would be read as markup; a star at the end of a name is ours, and is read as a star."""
_LINK = re.compile(r"(?<=:)//|(?<=www)\.", re.IGNORECASE)
"""What readers of Markdown make links of without being asked."""


def markdown(
    comparison: Comparison, transfers: Sequence[Matrix] = (), *, costs: bool = True
) -> str:
    """What to use, remarks, ranks, transfers, and a section for each task and sparsity."""
    runs = sum(line.figure.n for line in comparison.lines)
    parts = [f"# Comparison of {runs} runs", ""]
    parts += textwrap.wrap(tables.LEGEND, 118)
    parts += [""]

    offers = tables.offer_rows(comparison)
    # a table of its head alone has nothing to offer
    if len(offers) > 1:
        parts += ["## What to use at your budget", ""]
        parts += pipe_table(offers)
        parts += ["", tables.OFFERED, ""]

    parts += ["## What the numbers do not show", ""]
    parts += _bullets(comparison.remarks)
    parts += [""]

    ranks = comparison.ranks
    if ranks:
        parts += ["## Ranks", ""]
        parts += pipe_table([tables.RANKED, *tables.rank_rows(ranks)])
        parts += ["", tables.ranks_in_words(ranks), ""]

    for overview in overviews(comparison):
        # figures are ours and may be bold; the names of methods are anybody's
        rows = tables.overview_rows(comparison, overview, "**{}**")
        parts += [f"## {escaped(overview.task)} at a glance", ""]
        parts += pipe_table(rows, names=1)
        parts += ["", escaped(tables.overview_note(comparison, overview)), ""]

    for matrix in transfers:
        # a figure in brackets is the task's own ticket, not the text of a link
        parts += [f"## Transfer: {escaped(matrix.title)}", "", TRANSFERRED, ""]
        parts += pipe_table(transfer_rows(matrix), names=1)
        parts += ["", escaped(matrix.summary), ""]

    for task, sparsity in comparison.blocks:
        parts += _section(comparison, task, sparsity, costs=costs)
    return "\n".join(parts).rstrip() + "\n"


def _section(
    comparison: Comparison, task: str, sparsity: float, *, costs: bool
) -> list[str]:
    lines = comparison.of(task, sparsity)
    rows = [tables.line_heads(lines[0].metric)]
    for line in lines:
        rows.append(tables.line_cells(comparison, line))

    parts = [f"## {escaped(tables.title(comparison, task, sparsity))}", ""]
    parts += pipe_table(rows)
    parts += [""]
    parts += _bullets(tables.notes(comparison, task, sparsity))
    parts += [""]

    if costs:
        bills = [["what it cost", *tables.BILLED]]
        for line in lines:
            # a control costs what its ticket does
            if not line.control:
                bills.append([line.title, *tables.bill_cells(bill(line))])
        parts += [*pipe_table(bills), ""]

    return parts


def _bullets(sentences: Iterable[str]) -> list[str]:
    return [f"- {escaped(sentence)}" for sentence in sentences]


def pipe_table(rows: Sequence[Sequence[str]], names: int | None = None) -> list[str]:
    """A table, its head first. Markup is escaped in all cells, or beneath the head in the first *names* columns."""
    head, *body = rows
    rule = "|" + "---|" * len(head)
    lines = [_row(map(escaped, head)), rule]
    for row in body:
        until = len(row) if names is None else names
        cells = list(row)
        cells[:until] = map(escaped, row[:until])
        lines.append(_row(cells))
    return lines


def _row(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"


def escaped(text: str) -> str:
    """*text* on one line, with nothing left in it that would be read as markup or as a link."""
    marked = _MARKUP.sub(r"\\\1", printable(text))
    return _LINK.sub(lambda link: "\\" + link[0], marked)
