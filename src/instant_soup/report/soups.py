"""Soups: what went into them, and the loss barriers between a soup and its ingredients."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from ..evidence.comparison import Comparison
from ..evidence.line import Line
from ..store.parts import IngredientNote
from .axes import LEFT, WIDTH, across, upwards
from .drawing import Chart, Row, frame
from .marks import Looks, mark

BARRIER = "loss barrier"
"""The name of the axis of barriers, on which 0 is drawn."""


@dataclass(frozen=True)
class Ingredient:
    """One ingredient of the soup of a line's first seed.

    Attributes:
        validation: its own figure where it was measured by itself; the soup's after it where soups are stirred.
        barrier: between the soup so far and it; None where none was measured.
        fate: what became of it, in words.
    """

    line: Line
    number: int
    validation: float
    barrier: float | None
    fate: str
    taken: bool


def chosen(task: str, comparison: Comparison, looks: Looks) -> Chart | None:
    """The validation figure of each ingredient, hollow where it was left out. None where no soup was made."""
    ingredients = _ingredients_of(task, comparison)
    taken = sum(ingredient.taken for ingredient in ingredients)

    return _chart(
        f"{task}: ingredients of soups",
        "validation",
        caption=(
            "The figure on the validation split: of the ingredient by itself in model soups, of the soup after it was "
            "offered in instant model soups and lottery pools. Hollow marks were left out. One seed."
        ),
        finding=f"{taken} of {len(ingredients)} ingredients were taken.",
        points=[(ingredient, ingredient.validation) for ingredient in ingredients],
        looks=looks,
    )


def barriers(task: str, comparison: Comparison, looks: Looks) -> Chart | None:
    """The loss barrier between the soup so far and each ingredient. None where none was measured."""
    points = []
    for ingredient in _ingredients_of(task, comparison):
        if ingredient.barrier is not None:
            points.append((ingredient, ingredient.barrier))
    high = sum(barrier > 0 for _, barrier in points)

    return _chart(
        f"{task}: barriers between soups and ingredients",
        BARRIER,
        caption=(
            "How much higher the validation loss is on the straight way between the two than at its ends. Above 0 "
            "there is a hill between them, and a mean of both lies on it. One seed."
        ),
        finding=f"{high} of {len(points)} barriers are above 0.",
        points=points,
        looks=looks,
    )


def _chart(
    title: str,
    axis: str,
    *,
    caption: str,
    finding: str,
    points: Sequence[tuple[Ingredient, float]],
    looks: Looks,
) -> Chart | None:
    """*points*, each an ingredient with its value, in the order in which soups were offered them."""
    if not points:
        return None

    longest = max(ingredient.number for ingredient, _ in points)
    values = [value for _, value in points]
    # with zero in the chart one sees on which side of it barriers are
    if axis == BARRIER:
        values.append(0.0)
    x = across([0.5, longest + 0.5], room=0.0)
    y = upwards(values)

    # more than twenty numbers would run into each other
    step_of_ticks = longest // 20 + 1
    numbers = range(1, longest + 1, step_of_ticks)
    ticks = {float(number): str(number) for number in numbers}
    parts = frame(x, y, "ingredient", axis, ticks)
    if axis == BARRIER:
        zero = Markup(
            '<line class="axis" x1="{}" x2="{:.1f}" y1="{y:.1f}" y2="{y:.1f}"/>'
        )
        height = y(0.0)
        parts.append(zero.format(LEFT, x.end, y=height))

    lines: list[Line] = []
    for ingredient, _ in points:
        if ingredient.line not in lines:
            lines.append(ingredient.line)
    # the soups stand side by side at each ingredient, within four fifths of the way to the next
    if longest > 1:
        step = x(2) - x(1)
        apart = min(12.0, step * 0.8 / len(lines))
    else:
        apart = min(24.0, WIDTH / 2 / len(lines))
    middle = (len(lines) - 1) / 2

    rows: list[Row] = []
    for ingredient, value in points:
        line = ingredient.line
        look = looks[line.method]
        offset = (lines.index(line) - middle) * apart
        place = x(ingredient.number) + offset
        sparsity = f" at {line.sparsity:.0%}" if line.sparsity else ""
        soup = f"{line.title}{sparsity}"
        words = f"{soup}, ingredient {ingredient.number}: {axis} {value:.3f}, {ingredient.fate}"
        kind = "" if ingredient.taken else "hollow"
        parts.append(mark(look, place, y(value), words, kind=kind))
        cells = (soup, *_ingredient_cells(ingredient))
        rows.append((look.number, cells))

    head = ("soup", "ingredient", "validation", "barrier", "what became of it")
    return Chart(title, caption, finding, parts, head, tuple(rows))


def _ingredient_cells(ingredient: Ingredient) -> tuple[str, ...]:
    """An ingredient as a row of the table, but for its soup."""
    barrier = "" if ingredient.barrier is None else f"{ingredient.barrier:.3f}"
    validation = f"{ingredient.validation:.3f}"
    return str(ingredient.number), validation, barrier, ingredient.fate


def _ingredients_of(task: str, comparison: Comparison) -> list[Ingredient]:
    ingredients: list[Ingredient] = []
    for line in comparison.of_task(task):
        if not line.control:
            ingredients += _ingredients_in(line)
    return ingredients


def _ingredients_in(line: Line) -> Iterator[Ingredient]:
    notes = line.runs[0].record.ticket.notes
    for number, note in enumerate(notes.ingredients or notes.pool, 1):
        fate, taken = _fate(note)
        yield Ingredient(line, number, note.validation, note.barrier, fate, taken)


def _fate(note: IngredientNote) -> tuple[str, bool]:
    """What became of an ingredient, and whether it went into the soup, from either way of noting it."""
    # greedy soups take an ingredient or leave it, pools give it a share
    if note.taken is not None:
        return ("taken" if note.taken else "left out"), note.taken

    share = note.coefficient if note.share is None else note.share
    if not share:
        return "left out", False
    return f"share {share:.2g}", True
