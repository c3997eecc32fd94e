"""Instant Model Soup: what is stirred in, how much of it, and what it is measured by."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.func import functional_call

import instant_soup as soup
from instant_soup.core.budget import Meter
from instant_soup.core.errors import KnobError
from instant_soup.core.rounding import rounding
from instant_soup.core.task import Brief
from instant_soup.methods import InstantModelSoup
from instant_soup.soup.denoiser import Protocols
from instant_soup.tasks import CourseTask
from instant_soup.training.learner import ModuleLearner

Make = Callable[..., CourseTask]
Tensors = Mapping[str, Tensor]


@dataclass
class Overheard:
    """A task whose look-aheads can be listened to: where each began, and where it got."""

    task: CourseTask

    def __post_init__(self) -> None:
        self.heard: list[tuple[Tensors, Tensors]] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self.task, name)

    def learner(self, meter: Meter, *, horizon: int | None = None) -> ModuleLearner:
        learner = self.task.learner(meter, horizon=horizon)
        look_ahead = learner.look_ahead

        def overheard(
            briefs: Sequence[Brief], look: Callable[[Any], Any]
        ) -> Iterator[Any]:
            start = learner.weights()
            for seen in look_ahead(briefs, look):
                self.heard.append((start, seen))
                yield seen

        learner.look_ahead = overheard  # type: ignore[method-assign]
        return learner


def accuracy(task: CourseTask, weights: Tensors) -> float:
    validation = task.course.validation
    outputs = functional_call(task.course.model, dict(weights), (validation.inputs,))
    return float((outputs.argmax(1) == validation.targets).float().mean())


def mixed(one: Tensors, other: Tensors, share: float) -> Tensors:
    return {name: one[name] + share * (other[name] - one[name]) for name in one}


def test_the_soup_is_that_of_the_loop_written_out(points: Make) -> None:
    task = Overheard(points())
    ticket = InstantModelSoup(ingredients=5, lookahead_steps=10, grid=4).draw(task, 0.0)  # type: ignore[arg-type]
    best: Tensors = {name: p.detach() for name, p in task.course.model.named_parameters()}
    shares = []
    for _, ingredient in task.heard:
        grid = [
            (accuracy(task.task, mixed(best, ingredient, i / 4)), i / 4) for i in range(5)
        ]
        value, share = max(grid, key=lambda each: each[0])
        shares.append((share, pytest.approx(value)))
        best = mixed(best, ingredient, share)
    notes = ticket.notes["ingredients"]
    assert [(note["share"], note["validation"]) for note in notes] == shares
    assert len({share for share, _ in shares}) > 1
    for name, part in ticket.start.items():
        bound = rounding(3 * len(task.heard), float(best[name].abs().max()))
        torch.testing.assert_close(part, best[name], rtol=0, atol=bound, msg=name)
    assert ticket.sparsity == 0


def test_each_ingredient_is_the_pre_trained_model_pruned_to_a_sparsity_of_its_own(
    points: Make,
) -> None:
    task = Overheard(points())
    method = InstantModelSoup(ingredients=3, lookahead_steps=5, sparsities=(0.2, 0.7))
    notes = method.draw(task, 0.5).notes["ingredients"]  # type: ignore[arg-type]
    origin = task.task.learner(soup.Meter()).origin
    sparsities = [note["sparsity"] for note in notes]
    assert len(set(sparsities)) == 3
    for sparsity, (start, there) in zip(sparsities, task.heard, strict=True):
        assert 0.2 <= sparsity <= 0.7
        mask = soup.OneShot().draw(task.task, sparsity).mask
        for name in origin:
            keep = mask[name] if name in mask else torch.ones(())
            assert torch.equal(start[name], origin[name] * keep)
            assert torch.equal(there[name], there[name] * keep)
            assert not torch.equal(there[name], start[name])


def test_an_ingredient_of_no_use_leaves_the_soup_as_it_was_to_the_bit(
    points: Make,
) -> None:
    """Equal is not better, and of equals the one nearest to the soup is taken."""
    task = points()
    task = replace(task, course=replace(task.course, metric=lambda *_: {"metric": 0.5}))
    ticket = InstantModelSoup(ingredients=2, lookahead_steps=5).draw(task, 0.0)
    assert [note["share"] for note in ticket.notes["ingredients"]] == [0.0, 0.0]
    assert set(ticket.start) == task.course.fresh
    for name, part in ticket.start.items():
        assert torch.equal(part, task.course.model.get_parameter(name).detach())


@pytest.mark.parametrize("lookahead_steps", [2, 15])
def test_no_round_makes_the_soup_validate_worse(
    points: Make, lookahead_steps: int
) -> None:
    task = points()
    method = InstantModelSoup(
        ingredients=6,
        lookahead_steps=lookahead_steps,
        protocols=Protocols(rate=(0.5, 20.0)),
    )
    before = task.learner(soup.Meter()).evaluate()
    values = [note["validation"] for note in method.draw(task, 0.0).notes["ingredients"]]
    assert [before, *values] == sorted([before, *values])
    assert before < values[-1]


def test_a_sparse_soup_is_pruned_by_its_own_magnitudes(points: Make) -> None:
    task = points()
    method = InstantModelSoup(
        ingredients=3, lookahead_steps=15, protocols=Protocols(rate=(3.0, 3.0))
    )
    dense, sparse = method.draw(task, 0.0), method.draw(task, 0.6)
    whole = {**task.learner(soup.Meter()).origin, **dense.start}
    assert sparse.mask == soup.prune(
        {n: whole[n].abs() for n in sparse.mask}, dense.mask, 0.6
    )
    assert sparse.mask != soup.OneShot().draw(task, 0.6).mask
    assert not sparse.ready


def test_what_is_charged_is_the_ingredients_and_the_grid(points: Make) -> None:
    meter = soup.Meter()
    InstantModelSoup(ingredients=3, lookahead_steps=7, grid=4).draw(points(), 0.5, meter)
    assert meter.bill["look-ahead"].steps == 3 * 7
    # the grid with 0, and a barrier's three points
    assert meter.bill["select"].passes == 3 * 40 * (5 + 3)
    assert set(meter.bill) == {"look-ahead", "select"}


def test_knobs_that_cannot_work_are_refused() -> None:
    for knob in ("ingredients", "lookahead_steps", "grid"):
        with pytest.raises(KnobError, match=f"{knob} is 0"):
            InstantModelSoup(**{knob: 0})
    for sparsities in ((0.5, 0.2), (-0.1, 0.5), (0.5, 1.0), (0.1, float("nan")), (0.1,)):
        with pytest.raises(KnobError, match="sparsities is"):
            InstantModelSoup(sparsities=sparsities)  # type: ignore[arg-type]
    with pytest.raises(KnobError, match="rate range is"):
        InstantModelSoup(protocols=Protocols(rate=(0.0, 1.0)))
