"""Layers: which share of the weights is kept where, as cells whose depth of colour is the share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import fmean

from markupsafe import Markup

from ..core.names.layers import in_layer
from ..evidence.comparison import Line
from .axes import RIGHT, WIDE
from .drawing import Chart, Row, row
from .figures import pruned
from .marks import Look, shortened, text

NAMES = 178  # width of the names
TALL, FIRST = 22, 26
MOST = 160  # parameters in a row
PALE, DEEP = 0.6, 0.82
"""Up to the first, what is written on a cell is seen as on paper, from the second on as on full colour; between
them black is the better in light and in dark."""


def cell(
    x: float,
    y: float,
    width: float,
    height: float,
    value: float,
    words: str,
    shown: str = "",
) -> Markup:
    """A cell of a heat map. *value* is from 0 to 1; *shown* is written on it."""
    value = min(1.0, max(0.0, value))
    kind = "deep" if value > DEEP else "pale" if value < PALE else "middling"
    rect = Markup(
        '<rect{} x="{:.1f}" y="{:.1f}" width="{:.1f}" height="{:.1f}" fill-opacity="{:.2f}"/>'
    )
    place = (x, y, max(width - 0.8, 0.8), height, value)

    if not shown:
        return rect.format(
            Markup(' class="mark heat" data-tip="{}"').format(words), *place
        )

    inner = text(x + width / 2, y + height / 2 + 4, shown, kind=kind)
    return Markup('<g class="mark heat" data-tip="{}">{}{}</g>').format(
        words, rect.format("", *place), inner
    )


def layers(
    lines: Sequence[Line], looks: Mapping[str, Look], *, whole: bool = False
) -> Chart | None:
    """What share each method keeps where. None where no record says.

    Shown is every parameter, or with *whole* every numbered layer as one, as also where parameters are very many.
    """
    known = [
        line
        for line in lines
        if not line.control and any(run.layers for run in line.runs)
    ]
    if not known:
        return None
    names = list(next(run.layers for line in known for run in line.runs if run.layers))
    whole = whole or len(names) > MOST
    groups = _groups(names) if whole else {name: [name] for name in names}
    shares = {line.method: _shares(line, groups) for line in known}
    low, high = _range(shares)
    wide = (WIDE - NAMES - RIGHT) / len(groups)
    parts = _numbers(list(groups), wide)
    rows: list[Row] = []

    for i, line in enumerate(known):
        own = shares[line.method]
        cells = [
            cell(
                NAMES + j * wide,
                1,
                wide,
                TALL - 3,
                (share - low) / (high - low),
                _words(line, name, share),
            )
            for j, (name, share) in enumerate(own.items())
        ]
        name = text(NAMES - 10, 14, shortened(line.title, 24), "end", "name")
        parts.append(row(looks[line.method], i, FIRST, TALL, [name, *cells]))
        rows.append(
            (
                looks[line.method].number,
                (line.title, *(f"{share:.1%}" for share in own.values())),
            )
        )

    first = known[0]
    what = "layer" if whole else "parameter"
    caption = (
        f"A column is one {what}, in the order of the model; numbers on top say which layer. The palest cell keeps "
        f"{low:.0%}, the deepest {high:.0%}. The method with the best figure is on top."
    )
    title = f"{first.task}, {pruned(first.sparsity)}: share kept of each {what}"
    said = _said(shares)
    height = FIRST + TALL * len(known) + 6

    return Chart(
        title,
        caption,
        said,
        parts,
        ("method", *map(brief, groups)),
        tuple(rows),
        height,
        TALL,
        WIDE,
    )


def _words(line: Line, name: str, share: float) -> str:
    return f"{line.title}, {brief(name)}: {share:.1%} kept"


def brief(name: str) -> str:
    """The end of a parameter's name, from its layer's number on."""
    place = in_layer(name)
    return (
        f"{place.number}.{place.rest}" if place and place.rest else name
    ).removesuffix(".weight")


def _number(name: str) -> str:
    place = in_layer(name)
    return str(place.number) if place else ""


def _groups(names: Sequence[str]) -> dict[str, list[str]]:
    """Parameters by numbered layer; what is in none stays by itself."""
    found: dict[str, list[str]] = {}
    for name in names:
        place = in_layer(name)
        found.setdefault(place.layer if place else name, []).append(name)
    return found


def _shares(line: Line, groups: Mapping[str, Sequence[str]]) -> dict[str, float]:
    """The mean over seeds of what each group keeps of its weights."""
    runs = [run for run in line.runs if run.layers]

    def share(names: Sequence[str]) -> float:
        parts = [
            [run.layers[name] for name in names if name in run.layers] for run in runs
        ]
        return fmean(
            sum(kept for kept, _ in of) / (sum(size for _, size in of) or 1)
            for of in parts
        )

    return {group: share(names) for group, names in groups.items()}


def _range(shares: Mapping[str, Mapping[str, float]]) -> tuple[float, float]:
    values = [share for own in shares.values() for share in own.values()]
    low, high = min(values), max(values)
    return (
        (low, high)
        if high - low > 0.005
        else (max(low - 0.5, 0.0), max(low - 0.5, 0.0) + 1.0)
    )


def _numbers(names: Sequence[str], wide: float) -> list[Markup]:
    """The number of each layer, above its first column, as far as there is room."""
    parts: list[Markup] = []
    last, end = "", 0.0
    for i, name in enumerate(names):
        number, x = _number(name), NAMES + i * wide
        if number and number != last and x > end:
            parts.append(text(x + 1, 16, number, "start"))
            end = x + 8 * len(number) + 4
        last = number
    return parts


def _said(shares: Mapping[str, Mapping[str, float]]) -> str:
    widest = max(
        shares,
        key=lambda method: max(shares[method].values()) - min(shares[method].values()),
    )
    least, most = (
        min(shares[widest], key=shares[widest].__getitem__),
        max(shares[widest], key=shares[widest].__getitem__),
    )
    own = shares[widest]
    return f"Most uneven: {widest}, from {own[least]:.0%} of {brief(least)} to {own[most]:.0%} of {brief(most)}."
