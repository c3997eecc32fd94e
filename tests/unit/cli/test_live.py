"""What a run shows while it runs."""

from __future__ import annotations

import pytest

from instant_soup.cli.live import _left


@pytest.mark.parametrize(
    ("elapsed", "passes", "said"),
    [
        # one slow first step of a hundred would make it 16 s of a run that takes 4
        (0.5, 3, "? s left"),
        (4.9, 900, "? s left"),
        (60.0, 9, "? s left"),
        (10.0, 250, "about 30 s left"),
        (10.0, 1000, "about 0 s left"),
    ],
)
def test_time_left_is_told_once_the_pace_says_something(
    elapsed: float, passes: int, said: str
) -> None:
    assert _left(elapsed, passes, expected=1000) == said
