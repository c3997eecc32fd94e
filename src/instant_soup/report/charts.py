"""Charts of figures: against sparsity, against cost, and what the cost was for."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from ..lab import tables
from ..lab.compare import Comparison, Line, Ranks
from ..lab.ledger import PURPOSES, Bill, bill
from .axes import BOTTOM, HEIGHT, LEFT, RIGHT, TOP, WIDTH, Scale, across, label, upwards
from .marks import Look, mark, text

Row = tuple[int | None, tuple[str, ...]]
"""The number of the method that a row is about, and its cells."""


@dataclass(frozen=True)
class Chart:
    """A drawing with its words, and its numbers as a table for who prefers those.

    Attributes:
        ident: unique on the page.
        head, rows: the table.
    """

    ident: str
    title: str
    caption: str
    svg: Markup
    head: tuple[str, ...]
    rows: tuple[Row, ...]


def drawing(ident: str, title: str, content: Iterable[str], height: float = HEIGHT) -> Markup:
    """An SVG of the page's width with a name."""
    return Markup('<svg class="chart" id="{0}" viewBox="0 0 {1} {2}" role="group" aria-label="{3}">{4}</svg>').format(
        ident, WIDTH, f"{height:.0f}", title, Markup("").join(content)
    )


def frame(
    x: Scale, y: Scale, across_title: str, up_title: str, marks: Mapping[float, str] | None = None
) -> list[Markup]:
    """Lines, ticks and titles of both axes. *marks* name places on the x axis instead of round values."""
    parts = [Markup('<g class="axes" aria-hidden="true">')]
    grid = Markup('<line class="grid" x1="{}" x2="{}" y1="{:.1f}" y2="{:.1f}"/>')
    for value in y.ticks:
        parts.append(grid.format(LEFT, WIDTH - RIGHT, y(value), y(value)))
        parts.append(text(LEFT - 8, y(value) + 4, label(value, y.ticks), "end"))
    for value, name in (marks or {tick: f"{tick:g}" for tick in x.ticks}).items():
        parts.append(text(x(value), HEIGHT - BOTTOM + 18, name))
    parts.append(text((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 8, across_title, kind="title"))
    upright = Markup('<text class="title" transform="translate(14,{:.0f}) rotate(-90)" text-anchor="middle">{}</text>')
    return [*parts, upright.format((TOP + HEIGHT - BOTTOM) / 2, up_title), Markup("</g>")]


def by_sparsity(ident: str, task: str, found: Comparison, looks: Mapping[str, Look]) -> Chart | None:
    """The figure against sparsity, a line for each method, with the dense model across."""
    lines = [line for line in found.lines if line.task == task and not line.control]
    cut = [line for line in lines if line.sparsity]
    if not cut:
        return None
    dense = next((line for line in lines if line.method == "dense"), None)
    levels = sorted({line.sparsity for line in cut})
    ends = [bound for line in [*cut, *([dense] if dense else [])] for bound in _bounds(line)]
    x, y = across([levels[0] - 0.02, levels[-1] + 0.02]), upwards(ends)
    metric = cut[0].metric
    parts = frame(
        x, y, "share of the prunable weights that is pruned", f"test {metric}", {s: f"{s:.0%}" for s in levels}
    )
    if dense:
        parts += _dense(dense, y)
    methods = sorted({line.method for line in cut}, key=lambda name: looks[name].number)
    for i, method in enumerate(methods):
        own = sorted((line for line in cut if line.method == method), key=lambda line: line.sparsity)
        aside = (i - (len(methods) - 1) / 2) * min(3.0, 60 / len(methods))  # so that intervals stand side by side
        places = [(x(line.sparsity) + aside, y(line.figure.mean)) for line in own]
        parts.append(path(looks[method], places))
        parts += [_point(looks[method], line, *place, y) for line, place in zip(own, places, strict=True)]
    title = f"{task}: {metric} against sparsity"
    return Chart(ident, title, _caption(dense), drawing(ident, title, parts), *_table(cut, looks))


def by_cost(ident: str, task: str, sparsity: float, found: Comparison, looks: Mapping[str, Look]) -> Chart | None:
    """The figure against the whole cost, with the line that no method is above."""
    lines = [line for line in found.of(task, sparsity) if not line.control]
    if len(lines) < 2:
        return None
    dense = next((line for line in found.lines if line.task == task and line.method == "dense"), None)
    ends = [bound for line in [*lines, *([dense] if dense else [])] for bound in _bounds(line)]
    x, y = across([line.cost.mean for line in lines], log=True), upwards(ends)
    metric = lines[0].metric
    parts = frame(x, y, "whole cost in full fine-tunes (T)", f"test {metric}")
    if dense and sparsity:
        parts += _dense(dense, y)
    front = sorted((line for line in lines if line.frontier), key=lambda line: line.cost.mean)
    parts.append(_stairs([(x(line.cost.mean), y(line.figure.mean)) for line in front]))
    parts += [_point(looks[line.method], line, x(line.cost.mean), y(line.figure.mean), y) for line in lines]
    title = f"{task}, {pruned(sparsity)}: {metric} against cost"
    caption = (
        "Look-aheads, scoring and validation are counted. The stairs join what no other method beats at no more cost."
    )
    return Chart(ident, title, caption, drawing(ident, title, parts), *_table(lines, looks))


def by_purpose(ident: str, task: str, sparsity: float, found: Comparison, looks: Mapping[str, Look]) -> Chart | None:
    """What each method's cost was for, as bars."""
    lines = [line for line in found.of(task, sparsity) if not line.control]
    if not lines:
        return None
    lines = sorted(lines, key=lambda line: line.cost.mean)
    bills = [bill(line) for line in lines]
    left, tall = 210, 22
    x = Scale(0.0, max(one.total for one in bills) * 1.02, left, WIDTH - RIGHT - 40)
    parts = [
        part
        for i, name in enumerate(PURPOSES)
        for part in (_bar(f"p-{name}", left + i * 105, 8, 12, 12), text(left + 18 + i * 105, 18, name, "start"))
    ]
    rows: list[Row] = []
    for i, (line, one) in enumerate(zip(lines, bills, strict=True)):
        look, top = looks[line.method], 34 + i * tall
        words = f"{line.title}: " + ", ".join(f"{name} {item.share:.2f} T" for name, item in one.items.items())
        bars = [text(left - 8, top + 12, _short(line.title), "end"), *_stack(one, x, top, tall - 7)]
        parts.append(_group(look, words, [*bars, text(x(one.total) + 6, top + 12, f"{one.total:.2f}", "start")]))
        shares = tuple(f"{one.items[name].share:.2f}" if name in one.items else "" for name in PURPOSES)
        seconds = f"{one.seconds:.0f}" if one.seconds is not None else ""
        rows.append((look.number, (line.title, *shares, f"{one.total:.2f}", f"{one.uncounted:.2f}", seconds)))
    title = f"{task}, {pruned(sparsity)}: what the cost was for"
    head = ("method", *(f"{name}, T" for name in PURPOSES), "in all, T", "look-aheads left out, T", "seconds")
    caption = "In full fine-tunes. The paper's budgets leave the look-aheads out; the table says what that hides."
    return Chart(ident, title, caption, drawing(ident, title, parts, 44 + tall * len(lines)), head, tuple(rows))


def _stack(one: Bill, x: Scale, top: float, height: float) -> list[Markup]:
    """The bars of one bill, one after the other."""
    bars, at = [], 0.0
    for purpose, item in one.items.items():
        bars.append(_bar(f"p-{purpose}", x(at), top, x(at + item.share) - x(at), height))
        at += item.share
    return bars


def by_rank(ident: str, found: Ranks, looks: Mapping[str, Look]) -> Chart:
    """Mean ranks on a line, and a bar as long as ranks that are not told apart."""
    x = Scale(1, max(len(found.ranks), 2), LEFT, WIDTH - RIGHT)
    critical = found.critical_difference or 0.0
    parts = [Markup('<line class="axis" x1="{}" x2="{}" y1="64" y2="64"/>').format(LEFT, WIDTH - RIGHT)]
    parts += [text(x(rank), 56, str(rank)) for rank in range(1, len(found.ranks) + 1)]
    if critical < x.high - 1:
        parts.append(_bar("critical", x(1), 22, x(1 + critical) - x(1), 4))
        parts.append(text(x(1), 16, f"closer than {critical:.2f}: not told apart", "start"))
    for i, (method, rank) in enumerate(found.ranks.items()):
        y = 88 + 20 * i
        lead = Markup('<line class="lead" x1="{0:.1f}" x2="{0:.1f}" y1="64" y2="{1}"/>').format(x(rank), y)
        anchor, aside = ("start", 10) if x(rank) < WIDTH / 2 else ("end", -10)
        name = text(x(rank) + aside, y + 4, f"{method}  {rank:.2f}", anchor)
        parts.append(mark(looks[method], x(rank), y, f"{method}: mean rank {rank:.2f}", lead + name))
    title = f"Mean ranks over {found.blocks} pairs of task and sparsity"
    rows = tuple((looks[method].number, (method, f"{rank:.2f}")) for method, rank in found.ranks.items())
    caption = f"1 is best. {tables.said(found)}"
    svg = drawing(ident, title, parts, 100 + 20 * len(found.ranks))
    return Chart(ident, title, caption, svg, ("method", "mean rank"), rows)


def path(look: Look, places: Sequence[tuple[float, float]], kind: str = "line") -> Markup:
    """A line through *places*."""
    points = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
    return Markup('<polyline class="{} {}" data-m="{}" points="{}" aria-hidden="true"/>').format(
        kind, look.colour, look.number, points
    )


def pruned(sparsity: float) -> str:
    """How much, in words."""
    return f"{sparsity:.0%} pruned" if sparsity else "nothing pruned"


def _bounds(line: Line) -> list[float]:
    return [value for value in (line.figure.mean, line.figure.low, line.figure.high) if value is not None]


def _point(look: Look, line: Line, x: float, y_mean: float, y: Scale) -> Markup:
    """A mark with its interval."""
    whisker = Markup("")
    if line.figure.low is not None and line.figure.high is not None:
        whisker = Markup('<line class="whisker" x1="{0:.1f}" x2="{0:.1f}" y1="{1:.1f}" y2="{2:.1f}"/>').format(
            x, y(line.figure.low), y(line.figure.high)
        )
    return mark(look, x, y_mean, said(line), whisker)


def said(line: Line) -> str:
    """A line of the comparison in one sentence."""
    half = f" ± {line.figure.half:.3f}" if line.figure.half is not None else ""
    at = f" at {line.sparsity:.0%}" if line.sparsity else ""
    seeds = f"{line.figure.n} seed{'s' if line.figure.n > 1 else ''}"
    return f"{line.title}{at}: {line.metric} {line.figure.mean:.3f}{half}, {line.cost.mean:.2f} T, {seeds}"


def _dense(line: Line, y: Scale) -> list[Markup]:
    parts = []
    if line.figure.low is not None and line.figure.high is not None:
        top, bottom = y(line.figure.high), y(line.figure.low)
        parts.append(_bar("dense-band", LEFT, top, WIDTH - RIGHT - LEFT, bottom - top))
    place = y(line.figure.mean)
    parts.append(Markup('<line class="dense" x1="{}" x2="{}" y1="{:.1f}" y2="{:.1f}"/>').format(
        LEFT, WIDTH - RIGHT, place, place))  # fmt: skip
    return [*parts, text(WIDTH - RIGHT - 4, place - 5, f"dense {line.figure.mean:.3f}", "end", "note")]


def _caption(dense: Line | None) -> str:
    across_ = " The dashed line is the dense model, with its interval." if dense else ""
    return f"Means over seeds with 95 % intervals, where there is more than one seed.{across_}"


def _table(lines: Sequence[Line], looks: Mapping[str, Look]) -> tuple[tuple[str, ...], tuple[Row, ...]]:
    rows = []
    for line in sorted(lines, key=lambda line: (line.sparsity, -line.figure.mean)):
        low, high = (f"{value:.3f}" if value is not None else "" for value in (line.figure.low, line.figure.high))
        cells = (line.title, f"{line.sparsity:.0%}", f"{line.figure.mean:.3f}", low, high, str(line.figure.n))
        rows.append((looks[line.method].number, (*cells, f"{line.cost.mean:.2f}")))
    return ("method", "sparsity", lines[0].metric, "from", "to", "seeds", "cost in T"), tuple(rows)


def _stairs(places: Sequence[tuple[float, float]]) -> Markup:
    points = []
    for i, (x, y) in enumerate(places):
        if i:
            points.append(f"{x:.1f},{places[i - 1][1]:.1f}")
        points.append(f"{x:.1f},{y:.1f}")
    return Markup('<polyline class="front" points="{}" aria-hidden="true"/>').format(" ".join(points))


def _bar(kind: str, x: float, y: float, width: float, height: float) -> Markup:
    return Markup('<rect class="{}" x="{:.1f}" y="{:.1f}" width="{:.1f}" height="{:.1f}"/>').format(
        kind, x, y, max(width, 0.5), height
    )


def _group(look: Look, words: str, parts: Iterable[Markup]) -> Markup:
    """A mark that is more than a point."""
    return Markup('<g class="mark" data-m="{}" role="img" aria-label="{}" data-tip="{}" tabindex="-1">{}</g>').format(
        look.number, words, words, Markup("").join(parts)
    )


def _short(name: str) -> str:
    return name if len(name) <= 30 else f"{name[:29]}…"
