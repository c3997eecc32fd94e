"""Figures: what methods reach, against sparsity and against cost."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise

from markupsafe import Markup

from ..evidence import tables
from ..evidence.comparison import Comparison, Line
from ..evidence.overview import dense_of
from .axes import BOTTOM, HEIGHT, LEFT, RIGHT, TOP, Scale, across, kept_apart, upwards
from .drawing import Box, Chart, Row, bar, beside, frame, path, stairs, whisker
from .marks import Look, mark, shortened, text

MARGIN = 132  # for names at the ends of lines
NAMED = 22  # lines whose names fit there
# the most that two neighbouring marks of one sparsity stand apart: they are of one place
BESIDE = 40.0
COLUMNS = ("seeds", "cost in T")


def by_sparsity(
    task: str, comparison: Comparison, looks: Mapping[str, Look]
) -> Chart | None:
    """The figure against sparsity, a line for each method, and the dense model. None where nothing is pruned."""
    cut = []
    for line in comparison.of_task(task):
        if line.sparsity and not line.control:
            cut.append(line)
    if not cut:
        return None

    dense = dense_of(comparison, task)
    metric = cut[0].metric
    levels = sorted({line.sparsity for line in cut})
    several = len(levels) > 1
    x = across(levels, right=MARGIN if several else RIGHT, room=0.1)
    y = upwards(_ends(cut, dense))

    methods = _methods(cut, looks)
    apart = min(BESIDE, _room(x, levels) / max(len(methods) - 1, 1))
    marks: list[Markup] = []
    dots: list[tuple[float, float]] = []
    ends: list[tuple[Look, float, float]] = []

    for i, method in enumerate(methods):
        own = [line for line in cut if line.method == method]
        look = looks[method]
        # so that intervals stand side by side
        aside = (i - (len(methods) - 1) / 2) * apart
        places = [(x(line.sparsity) + aside, y(line.figure.mean)) for line in own]

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

    best = max(cut, key=lambda line: line.merit)
    at = f"{len(levels)} sparsities" if several else f"{100 * levels[0]:.4g}%"
    dashes = " Dashes: the dense model, its interval as a band." if dense else ""
    head, rows = _table(cut, looks)
    return Chart(
        title=f"{task}: {metric} against sparsity",
        caption=f"Means over seeds; 95 % intervals where there are two seeds or more.{dashes}",
        finding=f"{len(methods)} methods at {at}. Highest: {sentence(best)}.",
        parts=[*axes, *beneath, *marks, *names],
        head=head,
        rows=rows,
    )


def by_cost(
    task: str, sparsity: float, comparison: Comparison, looks: Mapping[str, Look]
) -> Chart | None:
    """The figure against the whole cost, with the line that no method is above. None with fewer than two methods."""
    lines = []
    for line in comparison.of(task, sparsity):
        if not line.control and line.cost.mean > 0:  # nothing has no logarithm
            lines.append(line)
    if len(lines) < 2:
        return None

    # where nothing is pruned, the dense model is one of the lines
    dense = dense_of(comparison, task) if sparsity else None
    metric = lines[0].metric
    x = across([line.cost.mean for line in lines], log=True)
    y = upwards(_ends(lines, dense))

    front = [line for line in lines if line.frontier]
    front.sort(key=lambda line: line.cost.mean)
    rest = [line for line in lines if not line.frontier]

    places = {line.method: (x(line.cost.mean), y(line.figure.mean)) for line in lines}
    beneath, taken = _dense(dense, x, y, list(places.values()))
    axes = frame(x, y, "whole cost in full fine-tunes T (log scale)", f"test {metric}")
    steps = stairs([places[line.method] for line in front])
    marks = [_point(looks[line.method], line, *places[line.method], y) for line in lines]

    # names of the front first: where there is no room for all, those are what one looks for
    ordered = [*front, *rest]
    names = beside(
        [(looks[line.method], *places[line.method]) for line in ordered], taken
    )

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
    figure = f"{line.metric} {tables.shown(line.figure)}"
    return f"{line.title}{at}: {figure}, {line.cost.mean:.2f} T, {tables.seeds(line)}"


def _short(line: Line) -> str:
    return f"{line.title} ({line.figure.mean:.3f}, {line.cost.mean:.2f} T)"


def pruned(sparsity: float) -> str:
    """How much, in words."""
    return f"{100 * sparsity:.4g}% pruned" if sparsity else "nothing pruned"


def _methods(lines: Sequence[Line], looks: Mapping[str, Look]) -> list[str]:
    return sorted({line.method for line in lines}, key=lambda name: looks[name].number)


def _levels(x: Scale, levels: Sequence[float]) -> dict[float, str]:
    """The sparsities as ticks, those left out that would run into the one before."""
    ticks: dict[float, str] = {}
    for level in levels:
        if not ticks or x(level) - x(max(ticks)) > 34:
            ticks[level] = f"{100 * level:.4g}%"
    return ticks


def _room(x: Scale, levels: Sequence[float]) -> float:
    """How wide the marks of one sparsity may stand, all together."""
    if len(levels) == 1:
        return (x.end - x.start) * 0.8
    gaps = [x(right) - x(left) for left, right in pairwise(levels)]
    return min(40.0, 0.5 * min(gaps))


def _ends(lines: Sequence[Line], dense: Line | None) -> list[float]:
    """Means, and intervals as far as they are near the means: a very wide one must not press all else flat."""
    figures = [line.figure for line in lines]
    if dense:
        figures.append(dense.figure)

    means = [figure.mean for figure in figures]
    lowest = min(means)
    highest = max(means)
    far = (highest - lowest) or abs(means[0]) or 1.0

    ends = list(means)
    for figure in figures:
        for bound in (figure.low, figure.high):
            if bound is not None:
                ends.append(min(max(bound, lowest - far / 4), highest + far / 4))
    return ends


def _point(look: Look, line: Line, x: float, y_mean: float, y: Scale) -> Markup:
    """A mark with its interval, cut off where the chart ends."""
    low = line.figure.low
    high = line.figure.high
    extra = ""
    if low is not None and high is not None:
        extra = whisker(x, min(y(low), HEIGHT - BOTTOM), max(y(high), TOP))
    return mark(look, x, y_mean, sentence(line), extra)


def _names(ends: Sequence[tuple[Look, float, float]], start: float) -> list[Markup]:
    """The name of each line, beside its end, and a thin line to there."""
    if len(ends) > NAMED:
        return []
    ends = sorted(ends, key=lambda end: end[2])
    places = kept_apart([y for _, _, y in ends], 12.5, TOP + 4, HEIGHT - BOTTOM)
    lead = Markup(
        '<g data-m="{}"><polyline class="lead {}" points="{:.1f},{:.1f} {:.1f},{:.1f} {:.1f},{:.1f}"/>{}</g>'
    )

    parts = []
    for (look, x, y), place in zip(ends, places, strict=True):
        name = shortened(look.name, 18)
        label = text(start + 13, place + 4, name, "start", "name")
        bend = (x, y, start + 4, place, start + 10, place)
        parts.append(lead.format(look.number, look.colour, *bend, label))
    return parts


def _dense(
    line: Line | None, x: Scale, y: Scale, dots: Sequence[tuple[float, float]]
) -> tuple[list[Markup], list[Box]]:
    """The dense model as a line with a band, and the box of its name, which is where few of the *dots* are."""
    if line is None:
        return [], []

    parts = []
    figure = line.figure
    if figure.low is not None and figure.high is not None:
        top = max(y(figure.high), TOP)
        bottom = min(y(figure.low), HEIGHT - BOTTOM)
        parts.append(bar("band", LEFT, top, x.end - LEFT, bottom - top))

    height = y(figure.mean)
    dashes = Markup('<line class="dense" x1="{}" x2="{:.1f}" y1="{:.1f}" y2="{:.1f}"/>')
    parts.append(dashes.format(LEFT, x.end, height, height))

    def crowd(box: Box) -> int:
        """How many dots are near; what juts out of the chart counts as one more."""
        outside = (box.top < 0) + (box.bottom > HEIGHT - BOTTOM)
        return sum(_near(box, dot) for dot in dots) + outside

    box = min(_boxes(height, x.end), key=crowd)
    label = f"dense {figure.mean:.3f}"
    parts.append(text(box.right, box.bottom - 3, label, "end", "note"))
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
    x, y = dot
    return box.left - 7 < x < box.right + 7 and box.top - 7 < y < box.bottom + 7


def _table(
    lines: Sequence[Line], looks: Mapping[str, Look]
) -> tuple[tuple[str, ...], tuple[Row, ...]]:
    rows: list[Row] = []
    for line in sorted(lines, key=lambda line: (line.sparsity, -line.merit)):
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
        rows.append((looks[line.method].number, cells))

    head = ("method", "sparsity", lines[0].metric, "from", "to", *COLUMNS)
    return head, tuple(rows)
