"""Ranking: a critical difference diagram (Demšar, 2006, section 3.2.4)."""

from __future__ import annotations

from math import ceil

from markupsafe import Markup

from ..evidence import tables
from ..evidence.comparison import Ranks
from .axes import WIDE, Scale
from .drawing import Chart, Row, bar, whisker
from .marks import Look, Looks, label, mark, text

SIDE = 170  # for names on both sides
AXIS = 58  # height of the axis
STEP = 20  # between names
BAR = 8  # between bars that join what is not told apart


def by_rank(ranks: Ranks, looks: Looks) -> Chart:
    """Mean ranks on a line, names at both sides, and bars that join what is not told apart."""
    count = len(ranks.ranks)
    x = Scale(1, max(count, 2), SIDE, WIDE - SIDE)
    groups = tables.alike_groups(ranks)
    parts = _axis(x, count)

    critical = ranks.critical_difference
    if critical:
        # of few tasks it may be wider than all ranks, and would leave the drawing
        first = x(1)
        end = min(x(1 + critical), WIDE - 10.0)
        parts.append(bar("critical", first, 24, end - first, 3))
        parts.append(text(first, 16, f"critical difference {critical:.2f}"))

    for i, group in enumerate(groups):
        first = x(ranks.ranks[group[0]]) - 4
        last = x(ranks.ranks[group[-1]]) + 4
        y = AXIS + 12 + BAR * i
        parts.append(bar("critical", first, y, last - first, 3))

    # the better half on the left from the top down, the worse on the right from the bottom up: no lines cross
    top = AXIS + 28 + BAR * len(groups)
    half = ceil(count / 2)
    for i, (method, mean) in enumerate(ranks.ranks.items()):
        left = i < half
        level = i if left else count - 1 - i
        y = top + STEP * level
        parts.append(_leader(looks[method], x(mean), y, mean, left=left))

    rows: list[Row] = []
    for cells in tables.rank_rows(ranks):
        method = cells[0]
        rows.append((looks[method].number, tuple(cells)))

    best, mean = next(iter(ranks.ranks.items()))
    return Chart(
        title=f"Mean ranks over {ranks.blocks} pairs of task and sparsity",
        caption=f"1 is best. A bar joins what is not told apart. {tables.ranks_in_words(ranks)}",
        finding=f"Best mean rank: {best}, {mean:.2f} of {count}.",
        parts=parts,
        head=tuple(tables.RANKED),
        rows=tuple(rows),
        height=top + STEP * half,
        width=WIDE,
    )


def _axis(x: Scale, count: int) -> list[Markup]:
    """The line of ranks, with about twelve of them named."""
    line = Markup('<line class="axis" x1="{}" x2="{}" y1="{y}" y2="{y}"/>')
    parts = [line.format(SIDE, WIDE - SIDE, y=AXIS)]
    for rank in range(1, count + 1, ceil(count / 12)):
        place = x(rank)
        parts.append(whisker(place, AXIS - 4, AXIS + 4))
        parts.append(text(place, AXIS - 10, str(rank)))
    return parts


def _leader(
    look: Look,
    x: float,
    y: float,
    rank: float,
    *,
    left: bool,
) -> Markup:
    """A line from the axis down to the height of the name, and across to it."""
    if left:
        end = SIDE - 14
        name = label(end - 12, y + 4, look.name, 19)
    else:
        end = WIDE - SIDE + 14
        name = label(end + 12, y + 4, look.name, 19, "start")

    bend = Markup(
        '<polyline class="lead {}" points="{:.1f},{} {:.1f},{:.1f} {:.1f},{:.1f}"/>'
    )
    line = bend.format(look.colour, x, AXIS, x, y, end, y)
    point = mark(look, end, y, f"{look.name}: mean rank {rank:.2f}", line)
    return Markup('<g data-m="{}">{}{}</g>').format(look.number, name, point)
