"""Everything that is read stands out from what it is on, in light and in dark (WCAG 2.2, AA)."""

from __future__ import annotations

import re
from importlib.resources import files

import pytest

from instant_soup.report.layers import DEEP, PALE, cell
from instant_soup.report.marks import COLOURS

Colour = tuple[float, float, float]
STYLE = (files("instant_soup.report") / "page.css").read_text(encoding="utf-8")
THEMES = [
    dict(re.findall(r"--([\w-]+): (#[0-9a-f]{3,6})", block))
    for block in re.findall(r":root \{(.*?)\}", STYLE, re.DOTALL)[:2]
]


def rgb(code: str) -> Colour:
    code = code[1:] if len(code) == 7 else "".join(2 * letter for letter in code[1:])
    red, green, blue = (int(code[i : i + 2], 16) / 255 for i in (0, 2, 4))
    return red, green, blue


def light(colour: Colour) -> float:
    red, green, blue = (
        c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in colour
    )
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: Colour, other: Colour) -> float:
    low, high = sorted((light(one), light(other)))
    return (high + 0.05) / (low + 0.05)


def over(upper: Colour, lower: Colour, share: float) -> Colour:
    red, green, blue = (
        share * a + (1 - share) * b for a, b in zip(upper, lower, strict=True)
    )
    return red, green, blue


@pytest.mark.parametrize("theme", THEMES, ids=["light", "dark"])
def test_words_stand_out_from_paper_and_panel(theme: dict[str, str]) -> None:
    for word in ("ink", "quiet", "accent"):
        for ground in ("paper", "panel"):
            assert contrast(rgb(theme[word]), rgb(theme[ground])) >= 4.5, (word, ground)


@pytest.mark.parametrize("theme", THEMES, ids=["light", "dark"])
def test_marks_stand_out_from_paper(theme: dict[str, str]) -> None:
    for name in (*(f"c{i}" for i in range(COLOURS)), "choosing"):
        assert contrast(rgb(theme[name]), rgb(theme["paper"])) >= 3, name


@pytest.mark.parametrize("theme", THEMES, ids=["light", "dark"])
def test_numbers_stand_out_from_every_depth_of_a_cell(theme: dict[str, str]) -> None:
    words = {
        "pale": rgb(theme["pale"]),
        "middling": rgb("#000"),
        "deep": rgb(theme["deep"]),
    }
    for i in range(101):
        drawn = cell(0, 0, 40, 20, i / 100, "", "0.50")
        kind = next(kind for kind in words if f'class="{kind}"' in drawn)
        ground = over(rgb(theme["heat"]), rgb(theme["paper"]), i / 100)
        assert contrast(words[kind], ground) >= 4.5, (i, kind)


def test_depths_are_in_order() -> None:
    assert 0 < PALE < DEEP < 1
