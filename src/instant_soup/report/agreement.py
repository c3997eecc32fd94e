"""Agreement: how alike the masks of different methods are."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations
from statistics import mean

from markupsafe import Markup

from ..evidence.agreement import Pair
from .axes import RIGHT, WIDE, WIDTH
from .drawing import Chart, Row
from .figures import pruned
from .layers import cell
from .marks import Look, Looks, shortened, text

NAMES_WIDTH = 178  # width of the names
FIRST_ROW = 26  # where the first row begins, beneath the numbers of the columns
LEGIBLE = 26  # width of a cell from which on its value is written on it

Values = Mapping[tuple[str, str], float]
"""The cosine of each two methods, both ways around."""


def alike(pairs: Sequence[Pair], looks: Looks, *, beyond: bool) -> Chart | None:
    """The cosine between masks of each two methods, corrected for chance where *beyond*. None without a pair."""
    values = _values(pairs, beyond=beyond)
    # both ways around, so every method is the first of some pair
    methods = {first for first, _ in values}
    names = sorted(methods, key=lambda name: looks[name].number)
    if len(names) < 2:
        return None

    size = min(40.0, (WIDE - NAMES_WIDTH - RIGHT) / len(names))
    parts: list[Markup] = []
    rows: list[Row] = []
    for i, name in enumerate(names):
        parts.append(_head(looks[name], i, size))
        parts += _heat_row(values, names, i, size, looks)
        cells = _table_row(values, names, name)
        rows.append((looks[name].number, cells))

    if beyond:
        kind = "beyond chance, within layers"
        caption = "0 is what masks that keep as much of each layer share by chance; 1 is the most that they can share."
    else:
        kind = "as it is"
        caption = "Not corrected, as in Figure 3b of the paper: masks made at random share a good part already."

    first = pairs[0]
    side = size * len(names)
    return Chart(
        title=f"{first.task}, {pruned(first.sparsity)}: cosine of masks, {kind}",
        caption=caption,
        finding=_extremes(values, names),
        parts=parts,
        head=("method", *names),
        rows=tuple(rows),
        height=FIRST_ROW + side + 6,
        width=max(WIDTH, NAMES_WIDTH + side + RIGHT),
    )


def _head(look: Look, i: int, size: float) -> Markup:
    """The name of row *i* with its number, and that number above the column of the same method."""
    y = FIRST_ROW + i * size + size / 2 + 4
    title = f"{shortened(look.name, 22)}  {i + 1}"
    beside = text(NAMES_WIDTH - 10, y, title, "end", "name")

    # names are too long to stand above columns as narrow as these
    middle = NAMES_WIDTH + (i + 0.5) * size
    above = text(middle, 17, str(i + 1))
    return Markup('<g data-m="{}">{}{}</g>').format(look.number, beside, above)


def _heat_row(
    values: Values,
    names: Sequence[str],
    i: int,
    size: float,
    looks: Looks,
) -> Iterator[Markup]:
    """The cells of row *i*. Each bears the numbers of both methods, so that the page hides it with either."""
    name = names[i]
    number = looks[name].number
    y = FIRST_ROW + i * size
    group = Markup('<g data-m="{}" data-n="{}">{}</g>')
    for j, other in enumerate(names):
        value = values.get((name, other))
        if value is None:
            continue

        # z: a cosine that is rounded to nothing has no sign
        shown = f"{value:z.2f}" if size > LEGIBLE else ""
        words = f"{name} and {other}: {value:z.3f}"
        x = NAMES_WIDTH + j * size
        drawn = cell(x, y, size, size - 1, value, words, shown)
        yield group.format(number, looks[other].number, drawn)


def _table_row(values: Values, names: Sequence[str], name: str) -> tuple[str, ...]:
    """A row of the table."""
    cells = [name]
    for other in names:
        value = values.get((name, other))
        cells.append("" if value is None else f"{value:z.3f}")
    return tuple(cells)


def _values(pairs: Sequence[Pair], *, beyond: bool) -> Values:
    """The mean over seeds for each two methods, both ways around."""
    cosines: dict[tuple[str, str], list[float]] = defaultdict(list)
    for pair in pairs:
        agreement = pair.agreement
        cosine = agreement.cosine_in_layers if beyond else agreement.cosine
        cosines[pair.first, pair.second].append(cosine)
        cosines[pair.second, pair.first].append(cosine)
    return {key: mean(seeds) for key, seeds in cosines.items()}


def _extremes(values: Values, names: Sequence[str]) -> str:
    measured = [key for key in combinations(names, 2) if key in values]
    most = max(measured, key=values.__getitem__)
    least = min(measured, key=values.__getitem__)
    return (
        f"Most alike: {most[0]} and {most[1]}, {values[most]:z.2f}. "
        f"Least: {least[0]} and {least[1]}, {values[least]:z.2f}."
    )
