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
TALL = 24  # height of a row
FIRST = 34  # where the first row begins, beneath the legend
LEGEND = (
    -64,
    14,
    116,
    190,
)  # where each purpose stands in the legend, from where bars begin
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
    bills = [(line, bill(line)) for line in lines]
    bills.sort(key=lambda pair: pair[1].total)
    cheap, cheapest = bills[0]
    dear, dearest = bills[-1]

    x = Scale(0.0, dearest.total or 1.0, NAMES, WIDTH - RIGHT - 32)
    parts: list[Markup] = _legend()
    rows: list[Row] = []
    for i, (line, costs) in enumerate(bills):
        look = looks[line.method]
        name = text(NAMES - 10, 15, shortened(line.title, 18), "end", "name")
        total = text(x(costs.total) + 7, 15, f"{costs.total:.2f}", "start", "name")
        stack = _stack(costs, x, line.title)
        parts.append(row(look, i, FIRST, TALL, [name, stack, total]))
        rows.append((look.number, (line.title, *_cells(costs))))

    return Chart(
        title=f"{task}, {pruned(sparsity)}: what the cost was for",
        caption=(
            "In full fine-tunes T, counted in passes through the model. The paper's budgets leave look-aheads out; "
            "the table says what that would hide."
        ),
        finding=f"From {cheapest.total:.2f} T ({cheap.title}) to {dearest.total:.2f} T ({dear.title}).",
        parts=parts,
        head=(
            "method",
            *(f"{MEANING[purpose]}, T" for purpose in PURPOSES),
            "in all, T",
            "without look-aheads, T",
            "seconds",
        ),
        rows=tuple(rows),
        height=FIRST + TALL * len(bills) + 6,
        stack=TALL,
    )


def _legend() -> list[Markup]:
    parts = []
    for purpose, offset in zip(PURPOSES, LEGEND, strict=True):
        x = NAMES + offset
        parts.append(bar(f"p-{purpose}", x, 6, 11, 11))
        parts.append(text(x + 15, 16, MEANING[purpose], "start"))
    return parts


def _cells(costs: Bill) -> tuple[str, ...]:
    """A bill as a row of the table."""
    shares = []
    for purpose in PURPOSES:
        item = costs.items.get(purpose)
        shares.append(f"{item.share:.2f}" if item else "")
    seconds = f"{costs.seconds:.0f}" if costs.seconds is not None else ""
    return *shares, f"{costs.total:.2f}", f"{costs.uncounted:.2f}", seconds


def _stack(costs: Bill, x: Scale, title: str) -> Markup:
    """The bars of one bill, one after the other."""
    bars = []
    words = []
    spent = 0.0
    for purpose, item in costs.items.items():
        end = spent + item.share
        bars.append(bar(f"p-{purpose}", x(spent), 2, x(end) - x(spent), TALL - 7))
        words.append(f"{MEANING[purpose]} {item.share:.2f} T")
        spent = end

    tip = f"{title}, {costs.total:.2f} T: {', '.join(words)}"
    stack = Markup('<g class="mark" data-tip="{}">{}</g>')
    return stack.format(tip, Markup("").join(bars))
