"""Costs: what the cost of each method was for, as bars."""

from __future__ import annotations

from markupsafe import Markup

from ..evidence.comparison import Comparison
from ..evidence.ledger import PURPOSES, Bill, bill
from .axes import RIGHT, WIDTH, Scale
from .drawing import Chart, Row, bar, row
from .figures import pruned
from .marks import Looks, label, text

NAMES_WIDTH = 142  # width of the names
ROW_HEIGHT = 24  # height of a row
FIRST_ROW = 34  # where the first row begins, beneath the legend
LEGEND = (-64, 14, 116, 190)
"""Where each purpose stands in the legend, from where bars begin."""
MEANING = {
    "train": "training",
    "look-ahead": "look-aheads",
    "score": "scoring",
    "select": "choosing",
}


def by_purpose(
    task: str,
    sparsity: float,
    comparison: Comparison,
    looks: Looks,
) -> Chart | None:
    """What each method's cost was for, the cheapest on top. None with fewer than two methods."""
    all_lines = comparison.of(task, sparsity)
    lines = [line for line in all_lines if not line.control]
    if len(lines) < 2:
        return None
    bills = [(line, bill(line)) for line in lines]
    bills.sort(key=lambda pair: pair[1].total)
    cheap, cheapest = bills[0]
    dear, dearest = bills[-1]

    # 32 for the total behind the longest bar
    end = WIDTH - RIGHT - 32
    x = Scale(0.0, dearest.total or 1.0, NAMES_WIDTH, end)
    parts: list[Markup] = _legend()
    rows: list[Row] = []
    for i, (line, costs) in enumerate(bills):
        look = looks[line.method]
        name = label(NAMES_WIDTH - 10, 15, line.title, 18)
        behind = x(costs.total) + 7
        total = text(behind, 15, f"{costs.total:.2f}", "start", "name")
        stack = _stack(costs, x, line.title)
        parts.append(row(look, i, FIRST_ROW, ROW_HEIGHT, [name, stack, total]))

        cells = (line.title, *_table_cells(costs))
        rows.append((look.number, cells))

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
        height=FIRST_ROW + ROW_HEIGHT * len(bills) + 6,
        stack=ROW_HEIGHT,
    )


def _legend() -> list[Markup]:
    parts = []
    for purpose, offset in zip(PURPOSES, LEGEND, strict=True):
        x = NAMES_WIDTH + offset
        parts.append(bar(f"p-{purpose}", x, 6, 11, 11))
        parts.append(text(x + 15, 16, MEANING[purpose], "start"))
    return parts


def _table_cells(costs: Bill) -> tuple[str, ...]:
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
        left = x(spent)
        # ends are sums of shares, not of widths: a bar that is widened to be seen pushes none along
        spent += item.share
        width = x(spent) - left
        bars.append(bar(f"p-{purpose}", left, 2, width, ROW_HEIGHT - 7))
        words.append(f"{MEANING[purpose]} {item.share:.2f} T")

    tip = f"{title}, {costs.total:.2f} T: {', '.join(words)}"
    stack = Markup('<g class="mark" data-tip="{}">{}</g>')
    return stack.format(tip, Markup("").join(bars))
