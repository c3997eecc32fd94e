"""Model soup: its ingredients are fine-tunes of their own; how they are averaged is tested with `soup.average`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch

import instant_soup as soup
from instant_soup.core.errors import KnobError, UnknownName
from instant_soup.methods import ModelSoup
from instant_soup.methods.model_soup import PROTOCOLS
from instant_soup.soup.denoiser import Protocols, briefs
from instant_soup.tasks import CourseTask

Make = Callable[..., CourseTask]


@pytest.mark.parametrize("sparsity", [0.0, 0.6])
def test_the_uniform_soup_is_the_mean_of_fine_tunes_by_protocol(
    points: Make, sparsity: float
) -> None:
    task = points()
    learner = task.learner(soup.Meter())
    looks = briefs(
        3,
        15,
        Protocols((0.3, 3.0), (0.0, 0.1), (0.0, 0.1), (1.0, 1.0)),
        learner.seed("ingredients"),
    )
    assert len({look.variation for look in looks}) == 3
    total: dict[str, torch.Tensor] = {}
    for look in looks:
        alone = task.learner(soup.Meter())
        alone.apply_mask(
            soup.OneShot().draw(task, sparsity).mask if sparsity else alone.mask
        )
        alone.complete(look.variation)
        total = {
            name: total.get(name, 0) + part for name, part in alone.weights().items()
        }
    ticket = ModelSoup(average="uniform", ingredients=3).draw(task, sparsity)
    assert ticket.start.keys() == total.keys()
    for name, part in ticket.start.items():
        torch.testing.assert_close(part, total[name] / 3)
    assert ticket.ready


@pytest.mark.parametrize("average", ["uniform", "greedy", "learned"])
def test_its_notes_say_what_each_ingredient_is_worth_and_how_far_apart_those_taken_are(
    points: Make, average: str
) -> None:
    ticket = ModelSoup(average=average, ingredients=4).draw(points(), 0.5)
    notes = ticket.notes["ingredients"]
    taken = [note for note in notes if note["taken"]]
    assert len(notes) == 4
    assert len(taken) == 4 or average == "greedy"
    # of the first to itself
    assert [note["barrier"] is None for note in taken].count(True) == 1
    assert all(note["barrier"] is None for note in notes if not note["taken"])


def test_the_greedy_soup_validates_no_worse_than_its_best_ingredient(
    points: Make,
) -> None:
    for seed in range(3):
        task = replace(points(), seed=seed)
        ticket = ModelSoup(
            ingredients=4, protocols=replace(PROTOCOLS, rate=(0.3, 10.0))
        ).draw(task, 0.5)
        best = max(note["validation"] for note in ticket.notes["ingredients"])
        assert soup.evaluate(ticket, task).validation >= best


def test_it_costs_as_many_fine_tunes_as_it_has_ingredients(points: Make) -> None:
    meter = soup.Meter()
    ModelSoup(ingredients=3).draw(points(), 0.5, meter)
    assert meter.bill["train"].steps == 3 * 15
    assert set(meter.bill) == {"train", "select"}


def test_knobs_that_cannot_work_are_refused() -> None:
    with pytest.raises(UnknownName, match="did you mean 'greedy'"):
        ModelSoup(average="greed")
    with pytest.raises(KnobError, match="ingredients is 1"):
        ModelSoup(ingredients=1)
    with pytest.raises(KnobError, match="subset range is"):
        ModelSoup(protocols=Protocols(subset=(0.0, 1.0)))
