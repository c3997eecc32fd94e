"""Marks: the look of a method, the same in every chart: a colour, and a shape for those who see no colours."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from markupsafe import Markup

COLOURS = 8
SHAPES = (
    "M-5,0a5,5 0 1,0 10,0a5,5 0 1,0 -10,0z",  # disc
    "M-4.4,-4.4h8.8v8.8h-8.8z",  # square
    "M0,-6.2L6.2,0L0,6.2L-6.2,0z",  # diamond
    "M0,-5.8L5.6,4.4H-5.6z",  # triangle
    "M0,5.8L5.6,-4.4H-5.6z",  # triangle on its head
    "M-1.9,-5.6h3.8v3.7h3.7v3.8h-3.7v3.7h-3.8v-3.7h-3.7v-3.8h3.7z",  # cross
    "M-3,-5.4h6l3,5.4l-3,5.4h-6l-3,-5.4z",  # hexagon
)
"""SVG paths around 0, 0. Fewer than colours and without a common divisor: 56 methods before two look alike."""


@dataclass(frozen=True)
class Look:
    """How a method is drawn. *number* is what the page's picker knows it by."""

    number: int
    name: str

    @property
    def colour(self) -> str:
        """A class of the page's style sheet. What is not pruned is drawn in the colour of the text."""
        return "c-dense" if self.name == "dense" else f"c{self.number % COLOURS}"

    @property
    def shape(self) -> int:
        """The number of its shape."""
        return self.number % len(SHAPES)

    @property
    def swatch(self) -> Markup:
        """The mark by itself, beside a name."""
        return Markup(
            '<svg class="swatch {}" viewBox="-8 -8 16 16" width="16" height="16" aria-hidden="true">'
            '<use href="#s{}"/></svg>'
        ).format(self.colour, self.shape)


Looks = Mapping[str, Look]
"""The look of each method, by its name."""


def assign_looks(methods: Iterable[str]) -> Looks:
    """A look for each method, in the order given."""
    return {name: Look(i, name) for i, name in enumerate(methods)}


def symbols() -> Markup:
    """The shapes, once a page; marks refer to them."""
    path = Markup('<path id="s{}" d="{}"/>')
    paths = [path.format(i, shape) for i, shape in enumerate(SHAPES)]
    # without a size it would take the 300 by 150 pixels that browsers give an svg
    symbols = Markup(
        '<svg width="0" height="0" class="symbols" aria-hidden="true"><defs>{}</defs></svg>'
    )
    return symbols.format(Markup("").join(paths))


def mark(
    look: Look,
    x: float,
    y: float,
    words: str,
    extra: str = "",
    kind: str = "",
) -> Markup:
    """A mark at a place, which says *words* to who points at it or listens."""
    group = Markup(
        '<g class="mark {}{}" data-m="{}" data-tip="{}">{}<use href="#s{}" x="{:.1f}" y="{:.1f}"/></g>'
    )
    kind = f" {kind}" if kind else ""
    return group.format(look.colour, kind, look.number, words, extra, look.shape, x, y)


def text(
    x: float,
    y: float,
    content: str,
    anchor: str = "middle",
    kind: str = "",
) -> Markup:
    """A word in a drawing. *anchor* is start, middle or end."""
    # a Markup's format escapes what it is given, so names from elsewhere cannot become tags
    word = Markup('<text{} x="{:.1f}" y="{:.1f}"{}>{}</text>')
    style = Markup(' class="{}"').format(kind) if kind else ""
    place = Markup(' text-anchor="{}"').format(anchor) if anchor != "start" else ""
    return word.format(style, x, y, place, content)


def label(
    x: float,
    y: float,
    name: str,
    most: int,
    anchor: str = "end",
) -> Markup:
    """A name in at most *most* letters, by default one that ends at *x*."""
    return text(x, y, shortened(name, most), anchor, "name")


def shortened(name: str, most: int) -> str:
    """*name* in at most *most* letters."""
    return name if len(name) <= most else f"{name[: most - 1]}…"
