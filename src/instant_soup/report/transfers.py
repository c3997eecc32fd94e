"""Transfers: what tickets reach on tasks that they were not drawn on, as a square of figures."""

from __future__ import annotations

from markupsafe import Markup

from ..evidence.tables import with_interval
from ..evidence.transfers import Matrix, transfer_rows
from .axes import RIGHT, WIDE, WIDTH
from .drawing import Chart, Row
from .layers import cell
from .marks import label, shortened, text

NAMES_WIDTH = 178  # width of the names
FIRST_ROW = 40  # where the first row begins, beneath the names of the columns
ROW_HEIGHT = 30  # height of a row
APART = 12  # between the tickets and what other methods reach
MOST_WIDTH = 104.0  # width of a cell, at most


def travel(matrix: Matrix) -> Chart:
    """Figures of each ticket on each task, deep where they come near the best of their column."""
    width = min(MOST_WIDTH, (WIDE - NAMES_WIDTH - RIGHT) / len(matrix.targets))
    parts = _heads(matrix, width)

    for i, row in enumerate(matrix.rows):
        y = FIRST_ROW + i * ROW_HEIGHT
        if row not in matrix.sources:
            y += APART
        # "glue/rte" is "rte": the suite takes room and tells nothing apart
        *_, title = matrix.label(row).split("/")
        middle = y + ROW_HEIGHT / 2 + 4
        parts.append(label(NAMES_WIDTH - 10, middle, title, 24))

        for j, target in enumerate(matrix.targets):
            x = NAMES_WIDTH + j * width
            parts += _cell(matrix, row, target, x, y, width)

    # methods that the rows are about are of other tasks, too: no row goes with one of them
    head, *cells = transfer_rows(matrix)
    rows: list[Row] = [(None, tuple(row)) for row in cells]
    return Chart(
        title=f"{matrix.title}: tickets on each other's tasks",
        caption=(
            "A cell is the deeper the nearer its figure is to the best of its column. Below the tickets: what other "
            "methods reach on the same task and seeds; dense prunes nothing."
        ),
        finding=matrix.summary,
        parts=parts,
        head=tuple(head),
        rows=tuple(rows),
        height=FIRST_ROW + ROW_HEIGHT * len(matrix.rows) + APART + 6,
        width=max(WIDTH, NAMES_WIDTH + width * len(matrix.targets) + RIGHT),
    )


def _heads(matrix: Matrix, width: float) -> list[Markup]:
    """The task and the metric above each column."""
    parts = []
    for j, (target, metric) in enumerate(matrix.targets.items()):
        x = NAMES_WIDTH + (j + 0.5) * width
        *_, name = target.split("/")
        letters = int(width / 7)
        parts.append(text(x, 15, shortened(name, letters)))
        parts.append(text(x, 31, metric))
    return parts


def _cell(
    matrix: Matrix,
    row: str,
    target: str,
    x: float,
    y: float,
    width: float,
) -> list[Markup]:
    """One figure; the task's own ticket in a frame."""
    figure = matrix.at(row, target)
    if figure is None:
        return []

    column = [matrix.at(name, target) for name in matrix.rows]
    best = max(other.mean for other in column if other)
    # correlations may all be negative, and there is no share of the best then
    depth = figure.mean / best if best > 0 else 0.0
    ticket = f"ticket of {row}" if row in matrix.sources else matrix.label(row)
    words = f"{ticket} on {target}: {matrix.targets[target]} {with_interval(figure)}"
    shown = f"{figure.mean:.3f}"
    parts = [cell(x, y, width, ROW_HEIGHT - 1, depth, words, shown)]

    if row == target:
        frame = Markup(
            '<rect class="frame" x="{:.1f}" y="{:.1f}" width="{:.1f}" height="{:.1f}"/>'
        )
        parts.append(frame.format(x + 1, y + 1, width - 2.8, ROW_HEIGHT - 3))

    return parts
