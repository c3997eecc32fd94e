"""Figures: what methods reach, against sparsity and against cost."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise

from markupsafe import Markup

from ..evidence.comparison import Comparison, Line
from ..evidence.overview import dense_of
from .axes import BOTTOM, HEIGHT, LEFT, RIGHT, TOP, Scale, across, spread, upwards
from .drawing import Chart, Row, bar, beside, frame, path, stairs, whisker
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
    cut = [
        line for line in comparison.of_task(task) if line.sparsity and not line.control
    ]
    if not cut:
        return None
    dense, metric = dense_of(comparison, task), cut[0].metric
    levels = sorted({line.sparsity for line in cut})
    several = len(levels) > 1
    x, y = (
        across(levels, right=MARGIN if several else RIGHT, room=0.1),
        upwards(_ends([*cut, *([dense] if dense else [])])),
    )
    parts = frame(
        x, y, "pruned share of the prunable weights", f"test {metric}", _levels(x, levels)
    )
    by_method = {
        method: [line for line in cut if line.method == method]
        for method in _methods(cut, looks)
    }
    apart = min(BESIDE, _room(x, levels) / max(len(by_method) - 1, 1))
    ends, dots, base = [], list[tuple[float, float]](), len(parts)

    for i, (method, own) in enumerate(by_method.items()):
        # so that intervals stand side by side
        aside = (i - (len(by_method) - 1) / 2) * apart
        places = [(x(line.sparsity) + aside, y(line.figure.mean)) for line in own]
        dots += places
        parts.append(path(looks[method], places))
        parts += [
            _point(looks[method], line, *place, y)
            for line, place in zip(own, places, strict=True)
        ]
        ends.append((looks[method], *places[-1]))

    beneath, taken = _dense(dense, x, y, dots)
    parts += _names(ends, x.end) if several else beside(ends, taken)
    parts[base:base] = beneath
    best = max(cut, key=lambda line: line.merit)
    at = f"{len(levels)} sparsities" if several else f"{100 * levels[0]:.4g}%"
    said = f"{len(by_method)} methods at {at}. Highest: {sentence(best)}."
    dashes = " Dashes: the dense model, its interval as a band." if dense else ""
    caption = (
        f"Means over seeds; 95 % intervals where there are two seeds or more.{dashes}"
    )

    return Chart(
        f"{task}: {metric} against sparsity", caption, said, parts, *_table(cut, looks)
    )


def by_cost(
    task: str, sparsity: float, comparison: Comparison, looks: Mapping[str, Look]
) -> Chart | None:
    """The figure against the whole cost, with the line that no method is above. None with fewer than two methods."""
    lines = [
        line
        for line in comparison.of(task, sparsity)
        if not line.control and line.cost.mean > 0
    ]
    if len(lines) < 2:
        return None
    dense, metric = dense_of(comparison, task) if sparsity else None, lines[0].metric
    x = across([line.cost.mean for line in lines], log=True)
    y = upwards(_ends([*lines, *([dense] if dense else [])]))
    parts = frame(x, y, "whole cost in full fine-tunes T (log scale)", f"test {metric}")
    front = sorted(
        (line for line in lines if line.frontier), key=lambda line: line.cost.mean
    )
    places = {line.method: (x(line.cost.mean), y(line.figure.mean)) for line in lines}
    beneath, taken = _dense(dense, x, y, list(places.values()))
    parts += beneath
    parts.append(stairs([places[line.method] for line in front]))
    parts += [_point(looks[line.method], line, *places[line.method], y) for line in lines]
    ordered = [*front, *(line for line in lines if not line.frontier)]
    parts += beside(
        [(looks[line.method], *places[line.method]) for line in ordered], taken
    )
    said = f"Not beaten at their cost: {', '.join(_short(line) for line in front)}."
    caption = (
        "Everything a method does is in its cost: look-aheads, scoring, choosing. The stairs join what no other "
        "method beats at no more cost."
    )
    title = f"{task}, {pruned(sparsity)}: {metric} against cost"

    return Chart(title, caption, said, parts, *_table(lines, looks))


def sentence(line: Line) -> str:
    """A line of the comparison in words."""
    half = f" ± {line.figure.half:.3f}" if line.figure.half is not None else ""
    at = f" at {line.sparsity:.0%}" if line.sparsity else ""
    seeds = f"{line.figure.n} seed{'s' if line.figure.n > 1 else ''}"
    return f"{line.title}{at}: {line.metric} {line.figure.mean:.3f}{half}, {line.cost.mean:.2f} T, {seeds}"


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
    return min(40.0, 0.5 * min(x(b) - x(a) for a, b in pairwise(levels)))


def _ends(lines: Sequence[Line]) -> list[float]:
    """Means, and intervals as far as they are near the means: a very wide one must not press all else flat."""
    means = [line.figure.mean for line in lines]
    far = (max(means) - min(means)) or abs(means[0]) or 1.0
    bounds = [
        bound
        for line in lines
        for bound in (line.figure.low, line.figure.high)
        if bound is not None
    ]
    return means + [
        min(max(bound, min(means) - far / 4), max(means) + far / 4) for bound in bounds
    ]


def _point(look: Look, line: Line, x: float, y_mean: float, y: Scale) -> Markup:
    """A mark with its interval, cut off where the chart ends."""
    bounds = line.figure.low, line.figure.high
    extra = ""
    if bounds[0] is not None and bounds[1] is not None:
        extra = whisker(x, min(y(bounds[0]), HEIGHT - BOTTOM), max(y(bounds[1]), TOP))
    return mark(look, x, y_mean, sentence(line), extra)


def _names(ends: Sequence[tuple[Look, float, float]], start: float) -> list[Markup]:
    """The name of each line, beside its end, and a thin line to there."""
    if len(ends) > NAMED:
        return []
    ends = sorted(ends, key=lambda end: end[2])
    places = spread([y for _, _, y in ends], 12.5, TOP + 4, HEIGHT - BOTTOM)
    lead = Markup(
        '<g data-m="{}"><polyline class="lead {}" points="{:.1f},{:.1f} {:.1f},{:.1f} {:.1f},{:.1f}"/>{}</g>'
    )

    return [
        lead.format(
            look.number, look.colour, x, y, start + 4, place, start + 10, place,
            text(start + 13, place + 4, shortened(look.name, 18), "start", "name"),
        )
        for (look, x, y), place in zip(ends, places, strict=True)
    ]  # fmt: skip


def _dense(
    line: Line | None, x: Scale, y: Scale, dots: Sequence[tuple[float, float]]
) -> tuple[list[Markup], list[tuple[float, float, float, float]]]:
    """The dense model as a line with a band, and the box of its name, which is where few of the *dots* are."""
    if line is None:
        return [], []
    parts, place, wide = [], y(line.figure.mean), 74.0

    if line.figure.low is not None and line.figure.high is not None:
        top, bottom = (
            max(y(line.figure.high), TOP),
            min(y(line.figure.low), HEIGHT - BOTTOM),
        )
        parts.append(bar("band", LEFT, top, x.end - LEFT, bottom - top))

    dashes = Markup('<line class="dense" x1="{}" x2="{:.1f}" y1="{:.1f}" y2="{:.1f}"/>')
    parts.append(dashes.format(LEFT, x.end, place, place))
    ends = [x.end - 4 - i * (x.end - LEFT - wide) / 5 for i in range(6)]
    boxes = [
        (end - wide, base - 11, end, base + 3)
        for base in (place - 5, place + 14)
        for end in ends
    ]
    box = min(
        boxes,
        key=lambda box: (
            sum(_near(box, dot) for dot in dots)
            + (box[1] < 0)
            + (box[3] > HEIGHT - BOTTOM)
        ),
    )
    parts.append(text(box[2], box[3] - 3, f"dense {line.figure.mean:.3f}", "end", "note"))

    return parts, [box]


def _near(box: tuple[float, float, float, float], dot: tuple[float, float]) -> bool:
    return box[0] - 7 < dot[0] < box[2] + 7 and box[1] - 7 < dot[1] < box[3] + 7


def _table(
    lines: Sequence[Line], looks: Mapping[str, Look]
) -> tuple[tuple[str, ...], tuple[Row, ...]]:
    rows: list[Row] = []
    for line in sorted(lines, key=lambda line: (line.sparsity, -line.merit)):
        bounds = (
            f"{value:.3f}" if value is not None else ""
            for value in (line.figure.low, line.figure.high)
        )
        cells = (
            line.title,
            f"{100 * line.sparsity:.4g}%",
            f"{line.figure.mean:.3f}",
            *bounds,
        )
        rows.append(
            (
                looks[line.method].number,
                (*cells, str(line.figure.n), f"{line.cost.mean:.2f}"),
            )
        )

    return ("method", "sparsity", lines[0].metric, "from", "to", *COLUMNS), tuple(rows)
