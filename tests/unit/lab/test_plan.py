"""Plan: what a recipe costs, compared with what a run of it then pays."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from instant_soup.core.budget import Cost, Meter
from instant_soup.core.errors import KnobError
from instant_soup.core.prune import prune
from instant_soup.core.score import magnitude
from instant_soup.core.task import Brief, Training
from instant_soup.lab import plan as planning
from instant_soup.lab.plan import Plan, StandIn, StandInTask, plan, rehearse
from instant_soup.lab.recipe import Recipe
from instant_soup.lab.run import evaluate
from instant_soup.methods import METHODS
from instant_soup.tasks import CourseTask, module
from instant_soup.training.metrics import accuracy
from instant_soup.training.regime import Regime


@pytest.fixture(scope="module")
def small() -> Iterator[CourseTask]:
    """T is 12 steps of 8, all full; 72 examples to train on, 24 to choose by, 32 to report on."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # steps so small are slower on two
    dice = torch.Generator().manual_seed(0)

    def loader(count: int) -> DataLoader[Any]:
        inputs = torch.randn(count, 4, generator=dice)
        return DataLoader(TensorDataset(inputs, (inputs.sum(1) > 0).long()))

    yield module(
        "small",
        nn.Sequential(nn.Linear(4, 16), nn.ReLU(), nn.Linear(16, 2)),
        train=loader(72),
        validation=loader(24),
        test=loader(32),
        loss=nn.functional.cross_entropy,
        metric=accuracy,
        regime=Regime(steps=12, batch=8, precision="float32"),
    )
    torch.set_num_threads(threads)


def recipe(name: str, sparsity: float = 0.6, budget: float = 1.0, **knobs: Any) -> Recipe:
    return Recipe.parse(
        {
            "task": {"name": "small", "columns": ["sentence"]},
            "method": {"name": name, **knobs},
            "sparsity": sparsity,
            "budget": budget,
        }
    )


SOUP = {"denoisers": 2, "lookahead_steps": 3, "compression": 0.3, "mask_share": 0.5, "subset": [1.0, 1.0]}
CASES = {
    "dense": recipe("dense", 0),
    "magnitude": recipe("magnitude"),
    "random, longer": recipe("random", budget=1.5),
    "gradual": recipe("gradual", rounds=3),
    "soup": recipe("instant-soup", **SOUP),
    "soup, continued": recipe("instant-soup", **SOUP, finish="continue"),
    "soup, carried": recipe("instant-soup", **{**SOUP, "denoisers": 1}, carry="mean", blend="lookahead"),
}


@pytest.mark.parametrize("case", CASES)
def test_a_rehearsal_bills_what_a_run_then_pays(case: str, small: CourseTask) -> None:
    """Where all batches are full, as here, the bills are equal to the pass."""
    asked = CASES[case]
    drawn, trained = Meter(), Meter()
    ticket = asked.make_method().draw(small, asked.sparsity, drawn)
    evaluate(ticket, small, budget=asked.budget, meter=trained)
    for planned, paid in zip(rehearse(asked, small), (drawn, trained), strict=True):
        assert planned.bill.keys() == paid.bill.keys()
        for purpose, cost in paid.bill.items():
            there = planned.bill[purpose]
            assert (there.steps, there.examples, there.passes) == (cost.steps, cost.examples, cost.passes)


@pytest.mark.parametrize("name", METHODS)
def test_every_method_can_be_rehearsed_with_its_defaults(name: str, small: CourseTask) -> None:
    draw, train = rehearse(recipe(name, 0.5), small)
    assert sum(cost.steps for cost in [*draw.bill.values(), *train.bill.values()]) >= 12
    assert {"select", "test"} <= train.bill.keys()


def test_a_rehearsal_trains_nothing(small: CourseTask) -> None:
    before = {name: tensor.clone() for name, tensor in small.course.model.state_dict().items()}
    state = torch.get_rng_state()
    rehearse(CASES["soup"], small)
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(small.course.model.state_dict()[name], tensor) for name, tensor in before.items())


def test_rounds_that_do_not_fit_are_found_before_they_are_paid_for(small: CourseTask) -> None:
    with pytest.raises(KnobError, match="the budget T has 12"):
        rehearse(recipe("instant-soup", round_steps=10), small)


def planned(small: CourseTask, monkeypatch: pytest.MonkeyPatch, case: str) -> Plan:
    """A plan on a machine that takes 2 s a step of 8 examples, with 1000 FLOPs a pass."""
    monkeypatch.setattr(planning, "_timed", lambda _: (2.0, 0.25, 1000))
    return plan(CASES[case], small)


def test_the_ratio_leaves_the_test_reading_out(small: CourseTask, monkeypatch: pytest.MonkeyPatch) -> None:
    dense = planned(small, monkeypatch, "dense")
    whole = 3 * 12 * 8
    assert dense.full.passes == pytest.approx(whole, rel=0.1)
    assert dense.ratio == pytest.approx((whole + 24) / dense.full.passes)
    assert dense.train["test"] == Cost(0, 32, 32, 0)


def test_look_aheads_are_part_of_the_ratio(small: CourseTask, monkeypatch: pytest.MonkeyPatch) -> None:
    soup, dense = (planned(small, monkeypatch, case) for case in ("soup", "dense"))
    ahead = 2 * 2 * 3 * 8 * 3  # rounds, denoisers, steps, examples, passes
    leg = 6 * 8 * 3  # half of T before the rewind
    assert soup.ratio - dense.ratio == pytest.approx((ahead + leg) / dense.full.passes)


def test_time_is_so_much_a_step_and_a_third_of_an_example_where_nothing_is_learned(
    small: CourseTask, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A step goes forwards and, at twice the cost, backwards."""
    dense = planned(small, monkeypatch, "dense")
    assert dense.seconds == pytest.approx(12 * 2.0 + (24 + 32) * 0.25 / 3)


def test_flops_are_those_of_every_pass(small: CourseTask, monkeypatch: pytest.MonkeyPatch) -> None:
    assert planned(small, monkeypatch, "dense").flops == 1000 * (3 * 12 * 8 + 24 + 32)


def test_memory_holds_weights_thrice_gradients_and_moments(small: CourseTask, monkeypatch: pytest.MonkeyPatch) -> None:
    got = planned(small, monkeypatch, "dense")
    weights = 4 * sum(parameter.numel() for parameter in small.course.model.parameters())
    assert got.tensors == (3 + 1 + 4) * weights + 4 * small.course.scope.size
    assert got.peak > weights


def test_the_machine_is_timed_on_the_task_itself(small: CourseTask) -> None:
    step, example, flops = planning._timed(small)
    assert step == pytest.approx(8 * example)
    assert step > 0
    cost = small.course.forward_cost
    batch = small.course.train.batch([0])
    one = cost.of(batch, small.course.train, [0])
    assert 0.5 * one < flops < 2 * one


# the stand-in


def stand_in() -> StandIn:
    return StandIn(Meter(), horizon=10, batch=4, validation=7)


def test_the_stand_in_charges_as_a_learner_does() -> None:
    learner = stand_in()
    learner.train(3)
    list(learner.look_ahead([Brief(2, Training())] * 2, lambda there: there))
    learner.evaluate()
    assert learner.meter.bill == {"train": Cost(3, 12, 36), "look-ahead": Cost(4, 16, 48), "select": Cost(0, 7, 7)}
    assert learner.steps_taken == 3


def test_the_stand_in_moves_on_by_what_it_advances() -> None:
    learner = stand_in()
    learner.advance({}, 4)
    assert learner.steps_taken == 4
    assert learner.meter.spent == Cost()


def test_the_stand_in_shows_masked_weights() -> None:
    learner = stand_in()
    mask = prune(magnitude(learner), learner.mask, 0.5)  # type: ignore[arg-type]
    learner.apply_mask(mask)
    (name,) = learner.scope
    assert (learner.view()[name] != 0).sum() == mask.kept == mask.scope.size // 2
    assert learner.mask is mask


def test_stand_ins_of_a_task_are_alike_and_apart() -> None:
    task = StandInTask("small", 10, 4, 7)
    first, second = task.learner(Meter()), task.learner(Meter())
    first.train(3)
    assert second.steps_taken == 0
    assert torch.equal(first.origin["stand-in"], second.origin["stand-in"])
    assert first.horizon == 10
