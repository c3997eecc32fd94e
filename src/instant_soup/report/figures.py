"""Figures: what methods reach, against sparsity and against cost."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from markupsafe import Markup

from ..evidence import tables
from ..evidence.comparison import Comparison
from ..evidence.line import Line
from ..evidence.overview import dense_line
from .axes import BOTTOM, HEIGHT, LEFT, RIGHT, TOP, Scale, across, kept_apart, upwards
from .drawing import (
    Box,
    Chart,
    Named,
    Place,
    Row,
    bar,
    beside,
    frame,
    path,
    stairs,
    whisker,
)
from .marks import Look, Looks, label, mark, text

MARGIN = 132  # for names at the ends of lines
NAMED = 22  # lines whose names fit there
BESIDE = 40.0
"""The most that two neighbouring marks of one sparsity stand apart: they belong to one place."""
COLUMNS = ("seeds", "cost in T")


def by_sparsity(task: str, comparison: Comparison, looks: Looks) -> Chart | None:
    """The figure against sparsity, a line for each method, and the dense model. None where nothing is pruned."""
    tickets = []
    for line in comparison.of_task(task):
        if line.sparsity and not line.control:
            tickets.append(line)
    if not tickets:
        return None

    dense = dense_line(comparison, task)
    metric = tickets[0].metric
    levels = sorted({line.sparsity for line in tickets})
    several = len(levels) > 1
    # of one sparsity there are no lines whose ends could be named
    right = MARGIN if several else RIGHT
    x = across(levels, right=right, room=0.1)
    y = upwards(_extent(tickets, dense))

    methods = _methods(tickets, looks)
    gaps = len(methods) - 1
    apart = min(BESIDE, _group_width(x, levels) / max(gaps, 1))
    marks: list[Markup] = []
    dots: list[Place] = []
    ends: list[Named] = []

    for i, method in enumerate(methods):
        own = [line for line in tickets if line.method == method]
        look = looks[method]
        # side by side around their sparsity, so that intervals do not cover each other
        offset = (i - gaps / 2) * apart
        places = []
        for line in own:
            across_at = x(line.sparsity) + offset
            places.append((across_at, y(line.figure.mean)))

        # the line before its marks, for what comes later is drawn on top
        marks.append(path(look, places))
        for line, place in zip(own, places, strict=True):
            marks.append(_point(look, line, *place, y))
        dots += places
        ends.append((look, *places[-1]))

    # the dense model is drawn beneath the marks, and its name where few of them are
    beneath, taken = _dense(dense, x, y, dots)
    axes = frame(
        x, y, "pruned share of the prunable weights", f"test {metric}", _levels(x, levels)
    )
    names = _names(ends, x.end) if several else beside(ends, taken)

    best = max(tickets, key=lambda line: line.merit)
    at = f"{len(levels)} sparsities" if several else f"{100 * levels[0]:.4g}%"
    dashes = " Dashes: the dense model, its interval as a band." if dense else ""
    head, rows = _table(tickets, looks)
    return Chart(
        title=f"{task}: {metric} against sparsity",
        caption=f"Means over seeds; 95 % intervals where there are two seeds or more.{dashes}",
        finding=f"{len(methods)} methods at {at}. Highest: {sentence(best)}.",
        parts=[*axes, *beneath, *marks, *names],
        head=head,
        rows=rows,
    )


def by_cost(
    task: str,
    sparsity: float,
    comparison: Comparison,
    looks: Looks,
) -> Chart | None:
    """The figure against the whole cost, with the line that no method is above. None with fewer than two methods."""
    lines = []
    for line in comparison.of(task, sparsity):
        if not line.control and line.cost.mean > 0:  # nothing has no logarithm
            lines.append(line)
    if len(lines) < 2:
        return None

    # where nothing is pruned, the dense model is one of the lines
    dense = dense_line(comparison, task) if sparsity else None
    metric = lines[0].metric
    x = across([line.cost.mean for line in lines], log=True)
    y = upwards(_extent(lines, dense))

    front = [line for line in lines if line.frontier]
    front.sort(key=lambda line: line.cost.mean)
    rest = [line for line in lines if not line.frontier]

    places: dict[str, Place] = {}
    marks = []
    for line in lines:
        look = looks[line.method]
        place = (x(line.cost.mean), y(line.figure.mean))
        places[line.method] = place
        marks.append(_point(look, line, *place, y))

    beneath, taken = _dense(dense, x, y, list(places.values()))
    axes = frame(x, y, "whole cost in full fine-tunes T (log scale)", f"test {metric}")
    corners = [places[line.method] for line in front]
    steps = stairs(corners)

    # names of the front first: where there is no room for all, those are what one looks for
    ends = []
    for line in (*front, *rest):
        ends.append((looks[line.method], *places[line.method]))
    names = beside(ends, taken)

    head, rows = _table(lines, looks)
    return Chart(
        title=f"{task}, {pruned(sparsity)}: {metric} against cost",
        caption=(
            "Everything a method does is in its cost: look-aheads, scoring, choosing. The stairs join what no other "
            "method beats at no more cost."
        ),
        finding=f"Not beaten at their cost: {', '.join(_short(line) for line in front)}.",
        parts=[*axes, *beneath, steps, *marks, *names],
        head=head,
        rows=rows,
    )


def sentence(line: Line) -> str:
    """A line of the comparison in words."""
    at = f" at {line.sparsity:.0%}" if line.sparsity else ""
    figure = f"{line.metric} {tables.with_interval(line.figure)}"
    return (
        f"{line.title}{at}: {figure}, {line.cost.mean:.2f} T, {tables.seeds_text(line)}"
    )


def _short(line: Line) -> str:
    return f"{line.title} ({line.figure.mean:.3f}, {line.cost.mean:.2f} T)"


def pruned(sparsity: float) -> str:
    """How much, in words."""
    return f"{100 * sparsity:.4g}% pruned" if sparsity else "nothing pruned"


def _methods(lines: Sequence[Line], looks: Looks) -> list[str]:
    names = {line.method for line in lines}
    return sorted(names, key=lambda name: looks[name].number)


def _levels(x: Scale, levels: Sequence[float]) -> dict[float, str]:
    """The sparsities as ticks, those left out that would run into the one before."""
    ticks: dict[float, str] = {}
    for level in levels:
        if not ticks or x(level) - x(max(ticks)) > 34:
            ticks[level] = f"{100 * level:.4g}%"
    return ticks


def _group_width(x: Scale, levels: Sequence[float]) -> float:
    """How wide the marks of one sparsity may stand, all together."""
    if len(levels) == 1:
        return (x.end - x.start) * 0.8
    gaps = [x(right) - x(left) for left, right in pairwise(levels)]
    # half of the narrowest gap, so that groups of marks stay apart
    return min(40.0, 0.5 * min(gaps))


def _extent(lines: Sequence[Line], dense: Line | None) -> list[float]:
    """Means, and intervals as far as they are near the means: a very wide one must not press all else flat."""
    figures = [line.figure for line in lines]
    if dense:
        figures.append(dense.figure)

    means = [figure.mean for figure in figures]
    lowest = min(means)
    highest = max(means)
    far = (highest - lowest) or abs(means[0]) or 1.0
    least = lowest - far / 4
    most = highest + far / 4

    ends = list(means)
    for figure in figures:
        for bound in (figure.low, figure.high):
            if bound is not None:
                ends.append(min(max(bound, least), most))
    return ends


def _point(
    look: Look,
    line: Line,
    x: float,
    y_mean: float,
    y: Scale,
) -> Markup:
    """A mark with its interval, cut off where the chart ends."""
    low = line.figure.low
    high = line.figure.high
    extra = ""
    if low is not None and high is not None:
        # heights in SVG grow downwards
        bottom = min(y(low), HEIGHT - BOTTOM)
        top = max(y(high), TOP)
        extra = whisker(x, bottom, top)
    return mark(look, x, y_mean, sentence(line), extra)


def _names(ends: Sequence[Named], start: float) -> list[Markup]:
    """The name of each line, beside its end, and a thin line to there."""
    if len(ends) > NAMED:
        return []
    ends = sorted(ends, key=lambda end: end[2])
    heights = [y for _, _, y in ends]
    # 12.5 is the height of a name
    places = kept_apart(heights, 12.5, TOP + 4, HEIGHT - BOTTOM)
    lead = Markup(
        '<g data-m="{}"><polyline class="lead {}" points="{:.1f},{:.1f} {:.1f},{:.1f} {:.1f},{:.1f}"/>{}</g>'
    )

    parts = []
    for (look, x, y), place in zip(ends, places, strict=True):
        name = label(start + 13, place + 4, look.name, 18, "start")
        bend = (x, y, start + 4, place, start + 10, place)
        parts.append(lead.format(look.number, look.colour, *bend, name))
    return parts


def _dense(
    line: Line | None,
    x: Scale,
    y: Scale,
    dots: Sequence[Place],
) -> tuple[list[Markup], list[Box]]:
    """The dense model as a line with a band, and the box of its name, which is where few of the *dots* are."""
    if line is None:
        return [], []

    parts = []
    figure = line.figure
    if figure.low is not None and figure.high is not None:
        top = max(y(figure.high), TOP)
        bottom = min(y(figure.low), HEIGHT - BOTTOM)
        width = x.end - LEFT
        parts.append(bar("band", LEFT, top, width, bottom - top))

    height = y(figure.mean)
    dashes = Markup('<line class="dense" x1="{}" x2="{:.1f}" y1="{:.1f}" y2="{:.1f}"/>')
    parts.append(dashes.format(LEFT, x.end, height, height))

    def crowd(box: Box) -> int:
        """How many dots are near; what juts out of the chart counts as one more."""
        outside = (box.top < 0) + (box.bottom > HEIGHT - BOTTOM)
        return sum(_near(box, dot) for dot in dots) + outside

    box = min(_boxes(height, x.end), key=crowd)
    name = f"dense {figure.mean:.3f}"
    parts.append(text(box.right, box.bottom - 3, name, "end", "note"))
    return parts, [box]


def _boxes(height: float, end: float) -> list[Box]:
    """Where the name of a line at *height* may stand: above it from right to left, then beneath it."""
    wide = 74.0
    step = (end - LEFT - wide) / 5
    boxes = []
    for base in (height - 5, height + 14):
        for i in range(6):
            right = end - 4 - i * step
            boxes.append(Box(right - wide, base - 11, right, base + 3))
    return boxes


def _near(box: Box, dot: tuple[float, float]) -> bool:
    """Whether a mark at *dot*, which reaches 7 to each side, touches the box."""
    x, y = dot
    across = box.left - 7 < x < box.right + 7
    upwards = box.top - 7 < y < box.bottom + 7
    return across and upwards


def _sparsity_and_merit(line: Line) -> tuple[float, float]:
    return line.sparsity, -line.merit


def _table(
    lines: Sequence[Line], looks: Looks
) -> tuple[tuple[str, ...], tuple[Row, ...]]:
    rows: list[Row] = []
    for line in sorted(lines, key=_sparsity_and_merit):
        figure = line.figure
        cells = (
            line.title,
            f"{100 * line.sparsity:.4g}%",
            f"{figure.mean:.3f}",
            "" if figure.low is None else f"{figure.low:.3f}",
            "" if figure.high is None else f"{figure.high:.3f}",
            str(figure.n),
            f"{line.cost.mean:.2f}",
        )
        look = looks[line.method]
        rows.append((look.number, cells))

    head = ("method", "sparsity", lines[0].metric, "from", "to", *COLUMNS)
    return head, tuple(rows)
