"""Ranking: a critical difference diagram (Demšar, 2006, section 3.2.4)."""

from __future__ import annotations

from collections.abc import Mapping
from math import ceil

from markupsafe import Markup

from ..evidence import tables
from ..evidence.compare import LEVEL
from ..evidence.comparison import Ranks
from ..evidence.statistics import alike
from .axes import WIDE, Scale
from .drawing import Chart, Row, bar, whisker
from .marks import Look, mark, shortened, text

SIDE = 170  # for names on both sides
AXIS, STEP = 58, 20


def by_rank(ranks: Ranks, looks: Mapping[str, Look]) -> Chart:
    """Mean ranks on a line, names at both sides, and bars that join what is not told apart."""
    x = Scale(1, max(len(ranks.ranks), 2), SIDE, WIDE - SIDE)
    critical = ranks.critical_difference or 0.0
    told = ranks.p is not None and ranks.p < LEVEL  # Friedman's test comes first
    groups = alike(ranks.ranks, critical) if told else [tuple(ranks.ranks)]
    parts = [
        Markup('<line class="axis" x1="{}" x2="{}" y1="{y}" y2="{y}"/>').format(
            SIDE, WIDE - SIDE, y=AXIS
        )
    ]
    every = ceil(len(ranks.ranks) / 12)
    for rank in range(1, len(ranks.ranks) + 1, every):
        parts += [
            whisker(x(rank), AXIS - 4, AXIS + 4),
            text(x(rank), AXIS - 10, str(rank)),
        ]

    if critical:
        wide = min(x(1 + critical), WIDE - 10.0) - x(1)
        parts += [
            bar("critical", x(1), 24, wide, 3),
            text(x(1), 16, f"critical difference {critical:.2f}"),
        ]

    for i, group in enumerate(groups):
        first, last = x(ranks.ranks[group[0]]) - 4, x(ranks.ranks[group[-1]]) + 4
        parts.append(bar("critical", first, AXIS + 12 + 8 * i, last - first, 3))

    top = AXIS + 28 + 8 * len(groups)
    half = ceil(len(ranks.ranks) / 2)

    for i, (method, mean) in enumerate(ranks.ranks.items()):
        left = i < half
        y = top + STEP * (i if left else len(ranks.ranks) - 1 - i)
        parts.append(_leader(looks[method], x(mean), y, mean, left=left))

    rows: tuple[Row, ...] = tuple(
        (looks[row[0]].number, tuple(row)) for row in tables.ranked(ranks)
    )
    best = next(iter(ranks.ranks))
    said = f"Best mean rank: {best}, {ranks.ranks[best]:.2f} of {len(ranks.ranks)}."
    caption = (
        f"1 is best. A bar joins what is not told apart. {tables.ranks_in_words(ranks)}"
    )
    title = f"Mean ranks over {ranks.blocks} pairs of task and sparsity"
    head = tuple(tables.RANKED)

    return Chart(title, caption, said, parts, head, rows, top + STEP * half, None, WIDE)


def _leader(look: Look, x: float, y: float, rank: float, *, left: bool) -> Markup:
    """A line from the axis down to the height of the name, and across to it."""
    end, anchor, aside = (
        (SIDE - 14, "end", -12) if left else (WIDE - SIDE + 14, "start", 12)
    )
    line = Markup(
        '<polyline class="lead {}" points="{:.1f},{} {:.1f},{:.1f} {:.1f},{:.1f}"/>'
    ).format(look.colour, x, AXIS, x, y, end, y)
    name = text(end + aside, y + 4, f"{shortened(look.name, 19)}", anchor, "name")
    return Markup('<g data-m="{}">{}{}</g>').format(
        look.number, name, mark(look, end, y, f"{look.name}: mean rank {rank:.2f}", line)
    )
