"""Layers: which share of the weights is kept where, as cells whose depth of colour is the share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import fmean

from markupsafe import Markup

from ..core.names.layers import in_layer
from ..evidence.line import Line
from ..evidence.runs import Run
from .axes import RIGHT, WIDE
from .drawing import Chart, Row, row
from .figures import pruned
from .marks import Looks, label, text

NAMES_WIDTH = 178  # width of the names
ROW_HEIGHT = 22  # height of a row
FIRST_ROW = 26  # where the first row begins, beneath the numbers of the layers
MOST_PARAMETERS = 160  # parameters in a row
PALE = 0.6
"""Up to this value, what is written on a cell is seen as on paper."""
DEEP = 0.82
"""From this value on, it is seen as on full colour; between the two, black is the better in light and in dark."""


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
    rect = Markup(
        '<rect{} x="{:.1f}" y="{:.1f}" width="{:.1f}" height="{:.1f}" fill-opacity="{:.2f}"/>'
    )
    place = (x, y, max(width - 0.8, 0.8), height, value)
    if not shown:
        # a bare cell needs no group around it; there are thousands on a page
        return rect.format(
            Markup(' class="mark heat" data-tip="{}"').format(words), *place
        )

    if value < PALE:
        kind = "pale"
    elif value <= DEEP:
        kind = "middling"
    else:
        kind = "deep"
    middle = y + height / 2 + 4
    number = text(x + width / 2, middle, shown, kind=kind)
    group = Markup('<g class="mark heat" data-tip="{}">{}{}</g>')
    return group.format(words, rect.format("", *place), number)


def layers(
    lines: Sequence[Line], looks: Looks, *, by_layer: bool = False
) -> Chart | None:
    """What share each method keeps where. None where no record says.

    Shown is every parameter, or with *by_layer* every numbered layer as one, as also where parameters are very many.
    """
    noted = [line for line in lines if not line.control and _with_layers(line)]
    if not noted:
        return None

    names = list(_with_layers(noted[0])[0].layers)
    by_layer = by_layer or len(names) > MOST_PARAMETERS
    if by_layer:
        groups = _by_layer(names)
    else:
        groups = {name: [name] for name in names}
    shares = {line.method: _shares(line, groups) for line in noted}
    low, high = _range(shares)

    width_of_column = (WIDE - NAMES_WIDTH - RIGHT) / len(groups)
    parts = _layer_numbers(list(groups), width_of_column)
    rows: list[Row] = []
    for i, line in enumerate(noted):
        look = looks[line.method]
        drawn = [label(NAMES_WIDTH - 10, 14, line.title, 24)]
        cells = [line.title]
        for j, (group, share) in enumerate(shares[line.method].items()):
            depth = (share - low) / (high - low)
            words = f"{line.title}, {short_name(group)}: {share:.1%} kept"
            x = NAMES_WIDTH + j * width_of_column
            drawn.append(cell(x, 1, width_of_column, ROW_HEIGHT - 3, depth, words))
            cells.append(f"{share:.1%}")

        parts.append(row(look, i, FIRST_ROW, ROW_HEIGHT, drawn))
        rows.append((look.number, tuple(cells)))

    first = noted[0]
    unit = "layer" if by_layer else "parameter"
    return Chart(
        title=f"{first.task}, {pruned(first.sparsity)}: share kept of each {unit}",
        caption=(
            f"A column is one {unit}, in the order of the model; numbers on top say which layer. The palest cell keeps "
            f"{low:.0%}, the deepest {high:.0%}. The method with the best figure is on top."
        ),
        finding=_most_uneven(shares),
        parts=parts,
        head=("method", *map(short_name, groups)),
        rows=tuple(rows),
        height=FIRST_ROW + ROW_HEIGHT * len(noted) + 6,
        stack=ROW_HEIGHT,
        width=WIDE,
    )


def _with_layers(line: Line) -> list[Run]:
    """The runs whose records say how much was kept of each parameter; those of schema 1 and 2 do not."""
    return [run for run in line.runs if run.layers]


def short_name(name: str) -> str:
    """The end of a parameter's name, from its layer's number on."""
    place = in_layer(name)
    end = f"{place.number}.{place.rest}" if place and place.rest else name
    return end.removesuffix(".weight")


def _number(name: str) -> str:
    place = in_layer(name)
    return str(place.number) if place else ""


def _by_layer(names: Sequence[str]) -> dict[str, list[str]]:
    """Parameters by numbered layer; what is in none stays by itself."""
    groups: dict[str, list[str]] = {}
    for name in names:
        place = in_layer(name)
        layer = place.layer if place else name
        groups.setdefault(layer, []).append(name)
    return groups


def _shares(line: Line, groups: Mapping[str, Sequence[str]]) -> dict[str, float]:
    """The mean over seeds of what each group keeps of its weights."""
    runs = _with_layers(line)
    shares = {}
    for group, names in groups.items():
        shares[group] = fmean(_share(run, names) for run in runs)
    return shares


def _share(run: Run, names: Sequence[str]) -> float:
    survived = 0
    size = 0
    for name in names:
        # the names are those of another line, whose runs may list other parameters
        if name in run.layers:
            survivors, weights = run.layers[name]
            survived += survivors
            size += weights
    return survived / (size or 1)


def _range(shares: Mapping[str, Mapping[str, float]]) -> tuple[float, float]:
    """The shares of the palest and of the deepest colour."""
    values: list[float] = []
    for by_group in shares.values():
        values += by_group.values()
    low = min(values)
    high = max(values)
    if high - low > 0.005:
        return low, high

    # all keep the same: a middling colour says so, not a difference that is rounding
    low = max(low - 0.5, 0.0)
    return low, low + 1.0


def _layer_numbers(names: Sequence[str], width_of_column: float) -> list[Markup]:
    """The number of each layer, above its first column, as far as there is room."""
    parts: list[Markup] = []
    last = ""
    end = 0.0
    for i, name in enumerate(names):
        number = _number(name)
        x = NAMES_WIDTH + i * width_of_column
        if number and number != last and x > end:
            parts.append(text(x + 1, 16, number, "start"))
            end = x + 8 * len(number) + 4
        last = number
    return parts


def _most_uneven(shares: Mapping[str, Mapping[str, float]]) -> str:
    def unevenness(method: str) -> float:
        values = shares[method].values()
        return max(values) - min(values)

    widest = max(shares, key=unevenness)
    by_group = shares[widest]
    least = min(by_group, key=by_group.__getitem__)
    most = max(by_group, key=by_group.__getitem__)
    return (
        f"Most uneven: {widest}, from {by_group[least]:.0%} of {short_name(least)} "
        f"to {by_group[most]:.0%} of {short_name(most)}."
    )
