"""Transfers: what tickets reach on tasks that they were not drawn on, as a square of figures."""

from __future__ import annotations

from markupsafe import Markup

from ..evidence.tables import moved, shown
from ..evidence.transfers import Matrix
from .axes import RIGHT, WIDE, WIDTH
from .drawing import Chart
from .layers import cell
from .marks import shortened, text

NAMES, FIRST, TALL, APART = 178, 40, 30, 12
MOST = 104.0  # width of a cell


def travel(found: Matrix) -> Chart:
    """Figures of each ticket on each task, deep where they come near the best of their column."""
    wide = min(MOST, (WIDE - NAMES - RIGHT) / len(found.targets))
    parts: list[Markup] = []

    for j, (target, metric) in enumerate(found.targets.items()):
        x = NAMES + (j + 0.5) * wide
        parts += [
            text(x, 15, shortened(target.split("/")[-1], int(wide / 7))),
            text(x, 31, metric),
        ]

    for i, row in enumerate(found.rows):
        y = FIRST + i * TALL + (0 if row in found.sources else APART)
        title = shortened(found.label(row).split("/")[-1], 24)
        parts.append(text(NAMES - 10, y + TALL / 2 + 4, title, "end", "name"))
        parts += [
            part
            for j, target in enumerate(found.targets)
            for part in _cell(found, row, target, j, y, wide)
        ]

    caption = (
        "A cell is the deeper the nearer its figure is to the best of its column. Below the tickets: what other "
        "methods reach on the same task and seeds; dense prunes nothing."
    )
    head, *rows = moved(found)
    height = FIRST + TALL * len(found.rows) + APART + 6
    width = max(WIDTH, NAMES + wide * len(found.targets) + RIGHT)
    title = f"{found.title}: tickets on each other's tasks"

    return Chart(
        title,
        caption,
        found.summary,
        parts,
        tuple(head),
        tuple((None, tuple(row)) for row in rows),
        height,
        None,
        width,
    )


def _cell(
    found: Matrix, row: str, target: str, column: int, y: float, wide: float
) -> list[Markup]:
    """One figure; the task's own ticket in a frame."""
    figure = found.at(row, target)
    if figure is None:
        return []
    best = max(one.mean for name in found.rows if (one := found.at(name, target)))
    x = NAMES + column * wide
    who = f"ticket of {row}" if row in found.sources else found.label(row)
    words = f"{who} on {target}: {found.targets[target]} {shown(figure)}"
    parts = [
        cell(
            x,
            y,
            wide,
            TALL - 1,
            figure.mean / best if best > 0 else 0.0,
            words,
            f"{figure.mean:.3f}",
        )
    ]

    if row == target:
        frame = Markup(
            '<rect class="frame" x="{:.1f}" y="{:.1f}" width="{:.1f}" height="{:.1f}"/>'
        )
        parts.append(frame.format(x + 1, y + 1, wide - 2.8, TALL - 3))

    return parts
