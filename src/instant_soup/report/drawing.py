"""Drawing: what all charts are made of: a frame, lines, names beside marks, and the numbers as a table."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import NamedTuple

from markupsafe import Markup

from .axes import BOTTOM, HEIGHT, LEFT, TOP, WIDTH, Scale, tick_label
from .marks import Look, shortened, text

Row = tuple[int | None, tuple[str, ...]]
"""The number of the method that a row is about, and its cells."""
Named = tuple[Look, float, float]
"""What bears the name of a method, and where it is."""
LETTER = 6.3  # width of a letter of a label, at most

Place = tuple[float, float]
"""Across and down, in the units of the drawing."""


class Box(NamedTuple):
    """A rectangle that is taken."""

    left: float
    top: float
    right: float
    bottom: float

    def overlaps(self, other: Box) -> bool:
        """Whether some place is in both."""
        across = self.left < other.right and other.left < self.right
        upwards = self.top < other.bottom and other.top < self.bottom
        return across and upwards


@dataclass(frozen=True)
class Chart:
    """A drawing with its words, and its numbers as a table for who prefers those.

    Attributes:
        title: what it shows, as a name.
        caption: how to read it.
        finding: what it shows, as a sentence.
        head, rows: the table.
        height, width: of the drawing.
        stack: height of each row, where rows close up when a method is left out.
    """

    title: str
    caption: str
    finding: str
    parts: Sequence[str]
    head: tuple[str, ...]
    rows: tuple[Row, ...]
    height: float = HEIGHT
    stack: float | None = None
    width: float = WIDTH
    content: Markup = field(init=False)

    def __post_init__(self) -> None:
        # joined once: a template would ask for it again and again
        object.__setattr__(self, "content", Markup("").join(self.parts))

    @property
    def box(self) -> str:
        """The viewBox."""
        return f"0 0 {self.width:.0f} {self.height:.0f}"


def frame(
    x: Scale,
    y: Scale,
    across_title: str,
    up_title: str,
    marks: Mapping[float, str] | None = None,
) -> list[Markup]:
    """Lines, ticks and titles of both axes. *marks* name places on the x axis instead of round values."""
    parts = [Markup('<g class="axes">')]
    grid = Markup('<line class="grid" x1="{}" x2="{}" y1="{:.1f}" y2="{:.1f}"/>')
    ticks = y.ticks
    for value in ticks:
        height = y(value)
        parts.append(grid.format(LEFT, x.end, height, height))
        # 4 lower than the line, so that letters have their middle on it
        parts.append(text(LEFT - 8, height + 4, tick_label(value, ticks), "end"))

    names = marks or {tick: f"{tick:g}" for tick in x.ticks}
    for value, name in names.items():
        parts.append(text(x(value), HEIGHT - BOTTOM + 18, name))

    middle = (LEFT + x.end) / 2
    parts.append(text(middle, HEIGHT - 8, across_title, kind="title"))

    upright = Markup(
        '<text class="title" transform="translate(11,{:.0f}) rotate(-90)" text-anchor="middle">{}</text>'
    )
    half_way = (TOP + HEIGHT - BOTTOM) / 2
    parts.append(upright.format(half_way, up_title))
    parts.append(Markup("</g>"))
    return parts


def path(look: Look, places: Sequence[Place]) -> Markup:
    """A line through *places*."""
    return Markup('<polyline class="line {}" data-m="{}" points="{}"/>').format(
        look.colour, look.number, _points(places)
    )


def stairs(places: Sequence[Place]) -> Markup:
    """A line that goes right before it goes up, through *places*; the page draws it anew when methods are left out."""
    steps = list(places[:1])
    for (_, last), (x, y) in pairwise(places):
        steps += [(x, last), (x, y)]
    return Markup('<polyline class="front" points="{}"/>').format(_points(steps))


def bar(
    kind: str,
    x: float,
    y: float,
    width: float,
    height: float,
) -> Markup:
    """A rectangle, never so thin that it cannot be seen."""
    rect = Markup(
        '<rect class="{}" x="{:.1f}" y="{:.1f}" width="{:.1f}" height="{:.1f}"/>'
    )
    width = max(width, 0.5)
    height = max(height, 0.5)
    return rect.format(kind, x, y, width, height)


def whisker(x: float, low: float, high: float) -> Markup:
    """An upright line, the interval of a mark."""
    line = Markup(
        '<line class="whisker" x1="{0:.1f}" x2="{0:.1f}" y1="{1:.1f}" y2="{2:.1f}"/>'
    )
    return line.format(x, low, high)


def row(
    look: Look | None,
    number: int,
    top: float,
    step: float,
    parts: Iterable[str],
) -> Markup:
    """Row *number* of a chart that is made of rows."""
    # the page's script shows and hides what bears a method's number
    which = Markup(' data-m="{}"').format(look.number) if look else ""
    group = Markup('<g class="row"{} transform="translate(0,{:.0f})">{}</g>')
    # moved as a group, so that the page can close up rows by moving groups
    y = top + number * step
    return group.format(which, y, Markup("").join(parts))


def beside(marks: Sequence[Named], taken: Sequence[Box] = ()) -> list[Markup]:
    """Names beside *marks*, most important first, as far as there is room without covering anything."""
    boxes = list(taken)
    for _, x, y in marks:
        boxes.append(_around(x, y))

    parts = []
    group = Markup('<g data-m="{}">{}</g>')
    for look, x, y in marks:
        name = shortened(look.name, 22)
        # a name may touch the mark that it is of
        own = _around(x, y)
        others = [box for box in boxes if box != own]
        for start, line, anchor in _places(x, y):
            box = _box_of(name, start, line, anchor)
            covered = any(box.overlaps(other) for other in others)
            if covered or not _within(box, line):
                continue

            # the first free place is the best, for they come in that order
            boxes.append(box)
            label = text(start, line, name, anchor, "name")
            parts.append(group.format(look.number, label))
            break

    return parts


def _box_of(
    name: str,
    start: float,
    line: float,
    anchor: str,
) -> Box:
    """The room that a name takes. No font can be measured here, so every letter counts as a wide one."""
    width = LETTER * len(name)
    before = {"start": 0.0, "middle": width / 2, "end": width}[anchor]
    left = start - before
    return Box(left, line - 10, left + width, line + 3)


def _places(x: float, y: float) -> tuple[tuple[float, float, str], ...]:
    """Where the name of a mark may stand, the best place first: an end of its line, its height, and which end."""
    return (
        (x + 10, y + 4, "start"),
        (x - 10, y + 4, "end"),
        (x + 6, y - 9, "start"),
        (x - 6, y - 9, "end"),
        (x + 6, y + 17, "start"),
        (x - 6, y + 17, "end"),
        (x, y - 11, "middle"),
        (x, y + 20, "middle"),
    )


def _around(x: float, y: float) -> Box:
    """The box of a mark."""
    return Box(x - 7, y - 7, x + 7, y + 7)


def _within(box: Box, line: float) -> bool:
    """Whether a name lies within the axes."""
    fits_across = box.left >= LEFT and box.right <= WIDTH
    return fits_across and TOP + 4 <= line <= HEIGHT - BOTTOM - 2


def _points(places: Iterable[Place]) -> str:
    return " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
