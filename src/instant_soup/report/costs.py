"""Costs: what the cost of each method was for, as bars."""

from __future__ import annotations

from collections.abc import Mapping

from markupsafe import Markup

from ..evidence.comparison import Comparison
from ..evidence.ledger import PURPOSES, Bill, bill
from .axes import RIGHT, WIDTH, Scale
from .drawing import Chart, Row, bar, row
from .figures import pruned
from .marks import Look, shortened, text

NAMES = 142  # width of the names
TALL, FIRST = 24, 34
MEANING = {
    "train": "training",
    "look-ahead": "look-aheads",
    "score": "scoring",
    "select": "choosing",
}


def by_purpose(
    task: str, sparsity: float, comparison: Comparison, looks: Mapping[str, Look]
) -> Chart | None:
    """What each method's cost was for, the cheapest on top. None with fewer than two methods."""
    lines = [line for line in comparison.of(task, sparsity) if not line.control]
    if len(lines) < 2:
        return None
    bills = sorted(((line, bill(line)) for line in lines), key=lambda pair: pair[1].total)
    x = Scale(0.0, max(one.total for _, one in bills) or 1.0, NAMES, WIDTH - RIGHT - 32)
    parts: list[Markup] = []

    for purpose, offset in zip(PURPOSES, (-64, 14, 116, 190), strict=True):
        parts += [
            bar(f"p-{purpose}", NAMES + offset, 6, 11, 11),
            text(NAMES + offset + 15, 16, MEANING[purpose], "start"),
        ]

    rows: list[Row] = []
    for i, (line, one) in enumerate(bills):
        look = looks[line.method]
        name = text(NAMES - 10, 15, shortened(line.title, 18), "end", "name")
        total = text(x(one.total) + 7, 15, f"{one.total:.2f}", "start", "name")
        parts.append(row(look, i, FIRST, TALL, [name, _stack(one, x, line.title), total]))
        shares = tuple(
            f"{one.items[name].share:.2f}" if name in one.items else ""
            for name in PURPOSES
        )
        seconds = f"{one.seconds:.0f}" if one.seconds is not None else ""
        rows.append(
            (
                look.number,
                (
                    line.title,
                    *shares,
                    f"{one.total:.2f}",
                    f"{one.uncounted:.2f}",
                    seconds,
                ),
            )
        )

    head = (
        "method",
        *(f"{MEANING[name]}, T" for name in PURPOSES),
        "in all, T",
        "without look-aheads, T",
        "seconds",
    )
    cheap, dear = bills[0], bills[-1]
    said = f"From {cheap[1].total:.2f} T ({cheap[0].title}) to {dear[1].total:.2f} T ({dear[0].title})."
    caption = (
        "In full fine-tunes T, counted in passes through the model. The paper's budgets leave look-aheads out; "
        "the table says what that would hide."
    )
    title = f"{task}, {pruned(sparsity)}: what the cost was for"

    return Chart(
        title,
        caption,
        said,
        parts,
        head,
        tuple(rows),
        FIRST + TALL * len(bills) + 6,
        TALL,
    )


def _stack(one: Bill, x: Scale, title: str) -> Markup:
    """The bars of one bill, one after the other."""
    words = ", ".join(
        f"{MEANING[name]} {item.share:.2f} T" for name, item in one.items.items()
    )
    bars, at = [], 0.0
    for purpose, item in one.items.items():
        bars.append(bar(f"p-{purpose}", x(at), 2, x(at + item.share) - x(at), TALL - 7))
        at += item.share
    return Markup('<g class="mark" data-tip="{}">{}</g>').format(
        f"{title}, {one.total:.2f} T: {words}", Markup("").join(bars)
    )
