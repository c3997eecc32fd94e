"""Agreement: how alike the masks of different methods are."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from itertools import combinations
from statistics import mean

from markupsafe import Markup

from ..evidence.agreement import Pair
from .axes import RIGHT, WIDE, WIDTH
from .drawing import Chart, Row
from .figures import pruned
from .layers import cell
from .marks import Look, shortened, text

NAMES, FIRST = 178, 26


def alike(
    pairs: Sequence[Pair], looks: Mapping[str, Look], *, beyond: bool
) -> Chart | None:
    """The cosine between masks of each two methods, corrected for chance where *beyond*. None without a pair."""
    values = _values(pairs, beyond=beyond)
    names = sorted(
        {name for key in values for name in key}, key=lambda name: looks[name].number
    )
    if len(names) < 2:
        return None
    size = min(40.0, (WIDE - NAMES - RIGHT) / len(names))
    parts: list[Markup] = []
    rows: list[Row] = []

    for i, one in enumerate(names):
        y = FIRST + i * size
        label = text(
            NAMES - 10, y + size / 2 + 4, f"{shortened(one, 22)}  {i + 1}", "end", "name"
        )
        above = text(NAMES + (i + 0.5) * size, 17, str(i + 1))
        parts.append(
            Markup('<g data-m="{}">{}{}</g>').format(looks[one].number, label, above)
        )
        for j, other in enumerate(names):
            if (value := values.get((one, other))) is not None:
                shown = f"{value:z.2f}" if size > 26 else ""
                words = f"{one} and {other}: {value:z.3f}"
                drawn = cell(NAMES + j * size, y, size, size - 1, value, words, shown)
                parts.append(
                    Markup('<g data-m="{}" data-n="{}">{}</g>').format(
                        looks[one].number, looks[other].number, drawn
                    )
                )
        cells = (
            f"{values[one, other]:z.3f}" if (one, other) in values else ""
            for other in names
        )
        rows.append((looks[one].number, (one, *cells)))

    first, what = pairs[0], "beyond chance, within layers" if beyond else "as it is"
    caption = (
        "0 is what masks that keep as much of each layer share by chance; 1 is the most that they can share."
        if beyond
        else "Not corrected, as in Figure 3b of the paper: masks made at random share a good part already."
    )
    title = f"{first.task}, {pruned(first.sparsity)}: cosine of masks, {what}"
    side = size * len(names)
    head, width = ("method", *names), max(WIDTH, NAMES + side + RIGHT)

    return Chart(
        title,
        caption,
        _said(values, names),
        parts,
        head,
        tuple(rows),
        FIRST + side + 6,
        None,
        width,
    )


def _values(pairs: Sequence[Pair], *, beyond: bool) -> dict[tuple[str, str], float]:
    """The mean over seeds for each two methods, both ways around."""
    found: dict[tuple[str, str], list[float]] = defaultdict(list)
    for pair in pairs:
        cosine = pair.agreement.cosine_in_layers if beyond else pair.agreement.cosine
        found[pair.first, pair.second].append(cosine)
        found[pair.second, pair.first].append(cosine)
    return {key: mean(values) for key, values in found.items()}


def _said(values: Mapping[tuple[str, str], float], names: Sequence[str]) -> str:
    known = {key: values[key] for key in combinations(names, 2) if key in values}
    most, least = max(known, key=known.__getitem__), min(known, key=known.__getitem__)
    high, low = f"{known[most]:z.2f}", f"{known[least]:z.2f}"
    return f"Most alike: {most[0]} and {most[1]}, {high}. Least: {least[0]} and {least[1]}, {low}."
