"""Soups: what went into them, and the loss barriers between a soup and its ingredients."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from ..evidence.comparison import Comparison, Line
from ..store.parts import IngredientNote
from .axes import LEFT, WIDTH, across, upwards
from .drawing import Chart, Row, frame
from .marks import Look, mark


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


def chosen(task: str, comparison: Comparison, looks: Mapping[str, Look]) -> Chart | None:
    """The validation figure of each ingredient, hollow where it was left out. None where no soup was made."""
    ingredients = _of(task, comparison)
    values = {(id(one.line), one.number): one.validation for one in ingredients}
    caption = (
        "The figure on the validation split: of the ingredient by itself in model soups, of the soup after it was "
        "offered in instant model soups and lottery pools. Hollow marks were left out. One seed."
    )
    said = f"{sum(one.taken for one in ingredients)} of {len(ingredients)} ingredients were taken."

    return _chart(
        f"{task}: ingredients of soups",
        "validation",
        caption,
        said,
        ingredients,
        values,
        looks,
    )


def barriers(
    task: str, comparison: Comparison, looks: Mapping[str, Look]
) -> Chart | None:
    """The loss barrier between the soup so far and each ingredient. None where none was measured."""
    ingredients = [one for one in _of(task, comparison) if one.barrier is not None]
    values = {(id(one.line), one.number): one.barrier or 0.0 for one in ingredients}
    caption = (
        "How much higher the validation loss is on the straight way between the two than at its ends. Above 0 there is "
        "a hill between them, and a mean of both lies on it. One seed."
    )
    high = sum(value > 0 for value in values.values())
    said = f"{high} of {len(values)} barriers are above 0."

    return _chart(
        f"{task}: barriers between soups and ingredients",
        "loss barrier",
        caption,
        said,
        ingredients,
        values,
        looks,
    )


def _chart(
    title: str, axis: str, caption: str, said: str, ingredients: Sequence[Ingredient],
    values: Mapping[tuple[int, int], float], looks: Mapping[str, Look],
) -> Chart | None:  # fmt: skip
    if not ingredients:
        return None
    lines = list({id(one.line): one.line for one in ingredients}.values())
    longest = max(one.number for one in ingredients)
    zero = [0.0] if axis == "loss barrier" else []
    x, y = across([0.5, longest + 0.5], room=0.0), upwards([*values.values(), *zero])
    every = longest // 20 + 1
    parts = frame(
        x, y, "ingredient", axis, {float(i): str(i) for i in range(1, longest + 1, every)}
    )

    if zero:
        rule = Markup(
            '<line class="axis" x1="{}" x2="{:.1f}" y1="{y:.1f}" y2="{y:.1f}"/>'
        )
        parts.append(rule.format(LEFT, x.end, y=y(0.0)))

    apart = (
        min(12.0, (x(2) - x(1)) * 0.8 / len(lines))
        if longest > 1
        else min(24.0, WIDTH / 2 / len(lines))
    )
    rows: list[Row] = []

    for one in ingredients:
        look, value = looks[one.line.method], values[id(one.line), one.number]
        aside = (lines.index(one.line) - (len(lines) - 1) / 2) * apart
        at = f" at {one.line.sparsity:.0%}" if one.line.sparsity else ""
        words = f"{one.line.title}{at}, ingredient {one.number}: {axis} {value:.3f}, {one.fate}"
        parts.append(
            mark(
                look,
                x(one.number) + aside,
                y(value),
                words,
                kind="" if one.taken else "hollow",
            )
        )
        barrier = "" if one.barrier is None else f"{one.barrier:.3f}"
        cells = (
            f"{one.line.title}{at}",
            str(one.number),
            f"{one.validation:.3f}",
            barrier,
            one.fate,
        )
        rows.append((look.number, cells))

    head = ("soup", "ingredient", "validation", "barrier", "what became of it")
    return Chart(title, caption, said, parts, head, tuple(rows))


def _of(task: str, comparison: Comparison) -> list[Ingredient]:
    lines = [line for line in comparison.of_task(task) if not line.control]
    return [ingredient for line in lines for ingredient in _ingredients(line)]


def _ingredients(line: Line) -> Iterator[Ingredient]:
    notes = line.runs[0].record.ticket.notes
    for number, note in enumerate(notes.ingredients or notes.pool, 1):
        fate, taken = _fate(note)
        yield Ingredient(line, number, note.validation, note.barrier, fate, taken)


def _fate(note: IngredientNote) -> tuple[str, bool]:
    """Whether an ingredient went into the soup, and with what share, from either way of noting it."""
    if note.taken is not None:
        return ("taken", True) if note.taken else ("left out", False)
    share = note.coefficient if note.share is None else note.share
    return (f"share {share:.2g}", True) if share else ("left out", False)
