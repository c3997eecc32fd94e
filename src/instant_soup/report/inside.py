"""Charts of what tickets are like: where they keep weights, how alike they are, how sure their votes and soups."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from statistics import mean
from typing import Any

from markupsafe import Markup

from ..lab.agreement import Pair
from ..lab.compare import Comparison, Line
from .axes import RIGHT, TOP, WIDTH, across, upwards
from .charts import Chart, Row, drawing, frame, path
from .marks import Look, mark, text

LEFT = 190  # room for names


def layers(ident: str, lines: Sequence[Line], looks: Mapping[str, Look]) -> Chart | None:
    """What share of each parameter is kept, a row for each method: seeds taken together."""
    known = [line for line in lines if not line.control and any(run.layers for run in line.runs)]
    if not known:
        return None
    names = list(next(run.layers for line in known for run in line.runs if run.layers))
    wide = (WIDTH - LEFT - RIGHT) / len(names)
    parts, rows = _blocks(names, wide), []
    for i, line in enumerate(known):
        shares = _shares(line, names)
        cells = [text(LEFT - 8, 39 + 20 * i, line.title[:28], "end")]
        for j, (name, share) in enumerate(zip(names, shares, strict=True)):
            cells.append(
                _cell(LEFT + j * wide, 26 + 20 * i, wide, 18, share, f"{line.title}, {_brief(name)}: {share:.1%} kept")
            )
        parts.append(Markup('<g data-m="{}">{}</g>').format(looks[line.method].number, Markup("").join(cells)))
        rows.append((looks[line.method].number, (line.title, *(f"{share:.1%}" for share in shares))))
    first = known[0]
    title = f"{first.task}, {first.sparsity:.0%} pruned: share kept of each parameter"
    caption = (
        "One column a parameter, in the order of the model; darker keeps more. Point at a cell for its name and share."
    )
    svg = drawing(ident, title, parts, 62 + 20 * len(known))
    return Chart(ident, title, caption, svg, ("method", *map(_brief, names)), tuple(rows))


def alike(ident: str, pairs: Sequence[Pair], looks: Mapping[str, Look], *, beyond: bool) -> Chart | None:
    """How alike the tickets of each two methods are, as a square of numbers."""
    values: dict[tuple[str, str], list[float]] = defaultdict(list)
    for pair in pairs:
        cosine = pair.agreement.cosine_in_layers if beyond else pair.agreement.cosine
        values[pair.one, pair.other].append(cosine)
        values[pair.other, pair.one].append(cosine)
    names = sorted({pair.one for pair in pairs}, key=lambda name: looks[name].number)
    names += sorted({pair.other for pair in pairs} - set(names), key=lambda name: looks[name].number)
    if len(names) < 2:
        return None
    size = min(34.0, (WIDTH - LEFT - RIGHT) / len(names))
    parts, rows = [], []
    for i, one in enumerate(names):
        parts.append(text(LEFT - 8, 34 + i * size, one[:28], "end"))
        parts.append(text(LEFT + (i + 0.5) * size, 14, str(i + 1)))
        parts.append(text(LEFT - 180, 34 + i * size, str(i + 1), "start"))
        cells = []
        for j, other in enumerate(names):
            value = mean(values[one, other]) if values[one, other] else None
            cells.append("" if value is None else f"{value:.2f}")
            if value is not None:
                words = f"{one} and {other}: {value:.3f}"
                parts.append(_cell(LEFT + j * size, 20 + i * size, size, size, max(0.0, value), words, f"{value:.2f}"))
        rows.append((None, (one, *cells)))
    what = "cosine beyond chance within layers" if beyond else "cosine"
    title = f"{pairs[0].task}, {pairs[0].sparsity:.0%} pruned: {what} of masks"
    caption = (
        "0 is what masks with as many survivors in each layer share by chance, 1 the most that they can share."
        if beyond
        else "Uncorrected, as in Figure 3b of the paper: masks made at random already share a good part."
    )
    return Chart(ident, title, caption, drawing(ident, title, parts, 32 + size * len(names)), ("", *names), tuple(rows))


def votes(ident: str, task: str, found: Comparison, looks: Mapping[str, Look]) -> Chart | None:
    """On what share of the weights all look-aheads of a round agree."""
    lines = [line for line in found.lines if line.task == task and not line.control and _rounds(line)]
    if not lines:
        return None
    curves = [(line, _rounds(line)) for line in lines]
    targets = [target for _, rounds in curves for target, _ in rounds]
    x, y = across(targets), upwards([value for _, rounds in curves for _, value in rounds])
    marks = {target: f"{target:.0%}" for target in sorted({round(target, 3) for target in targets})}
    if len(marks) > 10:
        marks = dict(list(marks.items())[:: len(marks) // 8])
    parts = frame(x, y, "sparsity after the round", "share of weights all votes agree on", marks)
    rows: list[Row] = []
    for line, rounds in curves:
        look = looks[line.method]
        parts.append(path(look, [(x(target), y(value)) for target, value in rounds]))
        for target, value in rounds:
            words = f"{line.title} to {line.sparsity:.0%}, round to {target:.0%}: unanimous on {value:.2%}"
            parts.append(mark(look, x(target), y(value), words))
            rows.append((look.number, (line.title, f"{line.sparsity:.0%}", f"{target:.0%}", f"{value:.2%}")))
    title = f"{task}: how far the weak masks of a round agree"
    caption = "Where all agree, more denoisers change nothing. Means over seeds; one line for each final sparsity."
    head = ("method", "final sparsity", "round to", "unanimous on")
    return Chart(ident, title, caption, drawing(ident, title, parts), head, tuple(rows))


def soups(ident: str, task: str, found: Comparison, looks: Mapping[str, Look]) -> Chart | None:
    """The loss barrier between the soup so far and each ingredient."""
    lines = [line for line in found.lines if line.task == task and not line.control and _ingredients(line)]
    if not lines:
        return None
    barriers = {line.title: _ingredients(line) for line in lines}
    values = [one["barrier"] for found_ in barriers.values() for one in found_ if one.get("barrier") is not None]
    longest = max(map(len, barriers.values()))
    x, y = across([0.5, longest + 0.5], room=0.0), upwards([*values, 0.0])
    parts = frame(x, y, "ingredient", "loss barrier", {i: str(i) for i in range(1, longest + 1)})
    parts.append(
        Markup('<line class="axis" x1="62" x2="{}" y1="{y:.1f}" y2="{y:.1f}"/>').format(WIDTH - RIGHT, y=y(0.0))
    )
    rows: list[Row] = []
    for k, line in enumerate(lines):
        look, aside = looks[line.method], (k - (len(lines) - 1) / 2) * 10
        for i, one in enumerate(barriers[line.title], 1):
            taken = _fate(one)
            barrier = "none measured" if one.get("barrier") is None else f"{one['barrier']:.3f}"
            words = f"{line.title}, ingredient {i}: barrier {barrier}, {taken}, validation {one['validation']:.3f}"
            if one.get("barrier") is not None:
                parts.append(mark(look, x(i) + aside, y(one["barrier"]), words))
            rows.append((look.number, (line.title, str(i), barrier, taken, f"{one['validation']:.3f}")))
    title = f"{task}: loss barriers between soups and their ingredients"
    caption = (
        "How much higher the validation loss gets on the straight way between the two than at its ends. Above 0 there "
        "is a hill between them, and a mean of both lies on it. Of the first seed."
    )
    head = ("soup", "ingredient", "barrier", "what became of it", "validation")
    return Chart(ident, title, caption, drawing(ident, title, parts), head, tuple(rows))


def _rounds(line: Line) -> list[tuple[float, float]]:
    """Targets and unanimity of a line's rounds, the mean over its seeds."""
    seen: dict[float, list[float]] = defaultdict(list)
    for run in line.runs:
        for one in run.record["ticket"]["notes"].get("rounds") or ():
            if one.get("unanimous") is not None and one.get("look-aheads"):
                seen[round(one["target"], 6)].append(one["unanimous"])
    return [(target, mean(values)) for target, values in sorted(seen.items())]


def _fate(ingredient: Mapping[str, Any]) -> str:
    """Whether an ingredient went into the soup, and with what share."""
    if "share" in ingredient:
        return f"share {ingredient['share']}"
    return "taken" if ingredient.get("taken") else "left out"


def _ingredients(line: Line) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = line.runs[0].record["ticket"]["notes"].get("ingredients") or []
    return found


def _shares(line: Line, names: Sequence[str]) -> list[float]:
    timed = [run for run in line.runs if run.layers]
    return [mean(run.layers[name][0] / run.layers[name][1] for run in timed) for name in names]


def _blocks(names: Sequence[str], wide: float) -> list[Markup]:
    """Where each numbered block of the model begins."""
    parts: list[Markup] = []
    last = ""
    for i, name in enumerate(names):
        number = next(iter(re.findall(r"\.(\d+)\.", name)), "")
        if number != last:
            last = number
            parts.append(text(LEFT + i * wide + 2, TOP + 4, f"layer {number}" if i == 0 else number, "start"))
    return parts


def _brief(name: str) -> str:
    """The end of a parameter's name, from its layer's number on."""
    return re.sub(r"^.*?\.(\d+)\.", r"\1.", name).removesuffix(".weight")


def _cell(x: float, y: float, width: float, height: float, value: float, words: str, shown: str = "") -> Markup:
    """A square whose darkness is *value*, from 0 to 1."""
    inner = text(x + width / 2, y + height / 2 + 4, shown, kind="on" if value > 0.55 else "in") if shown else ""
    return Markup(
        '<g class="mark cell" role="img" aria-label="{0}" data-tip="{0}" tabindex="-1">'
        '<rect class="heat" x="{1:.2f}" y="{2:.1f}" width="{3:.2f}" height="{4:.1f}" fill-opacity="{5:.2f}"/>{6}</g>'
    ).format(words, x, y, width - 0.6, height - 1, 0.04 + 0.96 * min(1.0, value), inner)
