"""What Python says that a result cost is what a record says of the same run."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import instant_soup as soup
from instant_soup.runs.run import build
from instant_soup.tasks import CourseTask

Make = Callable[..., CourseTask]


def _soup() -> soup.InstantSoup:
    return soup.InstantSoup(rounds=2, denoisers=1, lookahead_steps=1, finish="restart")


@pytest.mark.parametrize(
    "method",
    [
        {"name": "dense"},
        {"name": "magnitude"},
        {"name": "instant-soup", "rounds": 2, "denoisers": 2, "lookahead_steps": 2},
        {"name": "gradual"},
        {"name": "lth", "rounds": 2},
    ],
    ids=lambda method: str(method["name"]),
)
def test_a_result_costs_what_the_record_of_the_same_run_says(
    mini_recipe: dict[str, Any], tmp_path: Path, method: dict[str, Any]
) -> None:
    sparsity = 0.0 if method["name"] == "dense" else 0.7
    recipe = soup.Recipe.parse({**mini_recipe, "method": method, "sparsity": sparsity})
    record = soup.run(recipe, soup.Store(tmp_path))

    task = build(recipe)
    ticket = recipe.make_method().draw(task, sparsity)
    result = soup.evaluate(ticket, task)

    assert result.cost == record.cost.total
    assert result.drawing == ticket.cost
    assert result.drawing == sum(record.cost.draw.values(), soup.Cost())


def test_a_meter_that_was_charged_before_charges_nothing_twice(points: Make) -> None:
    task = points()
    meter = soup.Meter()
    ticket = _soup().draw(task, 0.5, meter)
    alone = soup.evaluate(ticket, task)
    shared = soup.evaluate(ticket, task, meter=meter)

    assert ticket.cost.passes > 0
    assert shared.cost == alone.cost
    assert alone.cost.steps == ticket.cost.steps + 15
    assert shared.cost.passes == meter.spent.passes - meter.bill["test"].passes


def test_a_result_shows_what_of_its_cost_went_into_drawing(points: Make) -> None:
    task = points()
    ticket = _soup().draw(task, 0.5)
    page = soup.evaluate(ticket, task)._repr_html_()
    assert f"{ticket.cost.passes:,} of them to draw" in page
