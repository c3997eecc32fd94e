"""A square of many methods stays inside its drawing."""

from __future__ import annotations

import re
from itertools import combinations

import pytest

from instant_soup.core.agreement import Agreement
from instant_soup.evidence.agreement import Pair
from instant_soup.report.agreement import alike
from instant_soup.report.axes import WIDE, WIDTH
from instant_soup.report.drawing import Chart
from instant_soup.report.marks import assign_looks


def square(count: int, cosine: float = 0.5) -> Chart:
    names = [f"method-{i:02}" for i in range(count)]
    one = Agreement(5, 5, 2, cosine, 0.3, 0.6, 0.1, 0.1, cosine, 0.1)
    pairs = [Pair("glue/sst2", 0.5, 0, a, b, one) for a, b in combinations(names, 2)]
    found = alike(pairs, assign_looks(names), beyond=True)
    assert found
    return found


@pytest.mark.parametrize("count", [2, 5, 8, 12, 20, 40])
def test_every_cell_is_inside_the_drawing(count: int) -> None:
    found = square(count)
    rectangles = re.findall(
        r'<rect[^>]* x="([\d.]+)" y="([\d.]+)" width="([\d.]+)" height="([\d.]+)"',
        found.content,
    )
    assert len(rectangles) == count * (count - 1)
    assert max(float(x) + float(width) for x, _, width, _ in rectangles) <= found.width
    assert max(float(y) + float(height) for _, y, _, height in rectangles) <= found.height
    assert WIDTH <= found.width <= WIDE


def test_a_zero_has_no_minus_before_it() -> None:
    found = square(3, cosine=-0.0004)
    assert "-0.00" not in f"{found.content}{found.finding}{found.rows}"
