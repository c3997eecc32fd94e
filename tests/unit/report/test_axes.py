from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from instant_soup.report.axes import Scale, across, kept_apart, tick_label, upwards

NUMBERS = st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=20)


@given(NUMBERS)
def test_every_value_is_inside_its_axis(values: list[float]) -> None:
    x, y = across(values), upwards(values)
    for value in values:
        assert x.start <= x(value) <= x.end
        assert y.end <= y(value) <= y.start


@given(st.lists(st.floats(1e-3, 1e5), min_size=1, max_size=20))
def test_every_value_is_inside_a_logarithmic_axis(values: list[float]) -> None:
    x = across(values, log=True)
    assert all(x.start <= x(value) <= x.end for value in values)


@given(st.floats(-1e4, 1e4), st.floats(1e-3, 1e4))
def test_ticks_are_few_in_order_and_said_apart(low: float, wide: float) -> None:
    ticks = Scale(low, low + wide, 0, 100).ticks
    said = [tick_label(tick, ticks) for tick in ticks]
    assert 2 <= len(ticks) <= 9
    assert ticks == sorted(ticks)
    assert len(set(said)) == len(said)


def test_a_narrow_logarithmic_axis_has_round_ticks_all_the_same() -> None:
    assert Scale(1.0, 1.6, 0, 100, log=True).ticks == pytest.approx([1.0, 1.2, 1.4, 1.6])
    assert Scale(0.9, 11, 0, 100, log=True).ticks == [1, 2, 5, 10]


@given(st.lists(st.floats(0, 100), min_size=1, max_size=8))
def test_names_are_spread_until_none_touches_another(places: list[float]) -> None:
    moved = kept_apart(sorted(places), 10, 0, 100)
    assert all(b - a >= 10 - 1e-9 for a, b in pairwise(moved))
    assert all(-1e-9 <= place <= 100 for place in moved)
