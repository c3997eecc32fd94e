"""Tickets on each other's tasks: drawn where there are some, and nothing where there are none."""

from __future__ import annotations

import re

import pytest

from instant_soup.evidence.agreement import Pair
from instant_soup.evidence.comparison import Comparison
from instant_soup.evidence.statistics import interval
from instant_soup.evidence.transfers import Matrix
from instant_soup.report.axes import WIDE, WIDTH
from instant_soup.report.page import render
from instant_soup.report.transfers import travel


def square(count: int) -> Matrix:
    tasks = [f"glue/task-<{i}>" for i in range(count)]
    cells = {
        (one, other): interval([0.5 + 0.01 * i])
        for i, one in enumerate(tasks)
        for other in tasks
    }
    references = {
        ("dense", tasks[0]): interval([0.9, 0.8]),
        ("random", tasks[0]): interval([-0.1]),
    }
    return Matrix(
        "instant-soup",
        0.5,
        tuple(tasks),
        dict.fromkeys(tasks, "accuracy"),
        cells,
        references,
    )


@pytest.mark.parametrize("count", [2, 4, 9, 20])
def test_every_cell_is_inside_and_the_own_ticket_is_framed(count: int) -> None:
    found = travel(square(count))
    boxes = re.findall(
        r'<rect[^>]* x="([\d.]+)" y="([\d.]+)" width="([\d.]+)" height="([\d.]+)"',
        found.content,
    )
    assert len(boxes) == count * count + 2 + count
    assert found.content.count('class="frame"') == count
    assert max(float(x) + float(width) for x, _, width, _ in boxes) <= found.width
    assert max(float(y) + float(height) for _, y, _, height in boxes) <= found.height
    assert WIDTH <= found.width <= WIDE
    assert len(found.rows) == count + 2


def test_the_page_has_the_section_only_where_tickets_were_transferred(
    found: Comparison, pairs: list[Pair]
) -> None:
    without, having = render(found, pairs, "T"), render(found, pairs, "T", [square(3)])
    assert "Do tickets travel?" not in without
    assert having.count("Do tickets travel?") == 2  # contents and section
    assert "Read down a column" in having
    assert "task-<0>" not in having
    assert (
        "ticket of glue/task-&lt;1&gt; on glue/task-&lt;0&gt;: accuracy 0.510" in having
    )
