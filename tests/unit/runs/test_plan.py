"""Plan: what a recipe costs, compared with what a run of it then pays."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from instant_soup.core.budget import Cost, Meter
from instant_soup.core.errors import KnobError
from instant_soup.core.prune import prune
from instant_soup.core.score import magnitude
from instant_soup.core.task import Brief, Variation
from instant_soup.methods import METHODS
from instant_soup.recipes.recipe import Recipe
from instant_soup.runs.environment import peaks
from instant_soup.runs.plan import Pace, Plan, Planner, plan, rehearse
from instant_soup.runs.run import evaluate
from instant_soup.runs.sizes import Sizes
from instant_soup.runs.stand_in import StandIn, StandInTask
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

    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = nn.Sequential(nn.Linear(4, 16), nn.ReLU(), nn.Linear(16, 2))
    yield module(
        "small",
        model,
        train=loader(72),
        validation=loader(24),
        test=loader(32),
        loss=nn.functional.cross_entropy,
        metric=accuracy,
        regime=Regime(steps=12, batch=8, rate=0.02, precision="float32"),
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


THROWN = {"carry": "none", "finish": "rewind"}
SOUP = {
    "preset": "beside-t",
    "denoisers": 2,
    "lookahead_steps": 3,
    "compression": 0.3,
    "mask_share": 0.5,
    "subset": [1.0, 1.0],
    **THROWN,
}
QUICK: dict[str, dict[str, Any]] = {
    # each as the one of its kind whose cost does not depend on what is seen, or at its dearest
    "early-bird": {"check": 0.1, "epsilon": 0.0, "queue": 3},
    "early-bird, continued": {"check": 0.1, "epsilon": 0.0, "finish": "continue"},
    "snip": {"per_class": 3, "allow_collapse": True},
    "grasp": {"per_class": 3, "allow_collapse": True},
    "lth": {"compression": 0.3},
    "lth-rewind": {"compression": 0.3, "rewind": 0.2},
    "lottery-pools": {"compression": 0.3, "coefficients": [0.3, 0.7], "beyond": 1},
    "instant-model-soup": {
        "ingredients": 2,
        "lookahead_steps": 3,
        "grid": 2,
        "subset": [1.0, 1.0],
    },
    "model-soup": {"average": "uniform", "ingredients": 3, "label_smoothing": [0.0, 0.0]},
    "model-soup, learned": {
        "average": "learned",
        "ingredients": 2,
        "label_smoothing": [0.0, 0.0],
    },
}
CASES = {
    "dense": recipe("dense", 0),
    "magnitude": recipe("magnitude"),
    "random, longer": recipe("random", budget=1.5),
    "gradual": recipe("gradual", rounds=3),
    "soup": recipe("instant-soup", **SOUP),
    "soup, continued": recipe("instant-soup", **SOUP | {"finish": "continue"}),
    **{name: recipe(name.split(",")[0], **knobs) for name, knobs in QUICK.items()},
    "soup, carried": recipe(
        "instant-soup", **SOUP | {"denoisers": 1, "carry": "mean"}, blend="lookahead"
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_a_rehearsal_bills_what_a_run_then_pays(case: str, small: CourseTask) -> None:
    """Where all batches are full, as here, the bills are equal to the pass."""
    asked = CASES[case]
    drawn, trained = Meter(), Meter()
    ticket = asked.make_method().draw(small, asked.sparsity, drawn)
    evaluate(ticket, small, budget=asked.budget, meter=trained)
    planned = rehearse(asked, Sizes.of(small))
    assert [work(meter) for meter in planned] == [
        work(meter) for meter in (drawn, trained)
    ]


def work(meter: Meter) -> dict[str, Cost]:
    """The bill without FLOPs, which no stand-in knows."""
    return {purpose: replace(cost, flops=0) for purpose, cost in meter.bill.items()}


def test_every_method_is_among_the_cases() -> None:
    cases = [*CASES.values(), *BY_BLOCK.values()]
    assert {case.method["name"] for case in cases} == {*METHODS, "dense"}


# what goes through a model block by block, and so needs one that has blocks
BY_BLOCK = {
    "wanda": recipe("wanda", samples=6),
    "wanda, by votes": recipe("wanda", samples=7, subsets=3),
    "ria": recipe("ria", samples=6),
    "sparsegpt": recipe("sparsegpt", samples=6),
}


@pytest.mark.parametrize("case", BY_BLOCK)
def test_samples_to_calibrate_on_are_billed_as_they_are_seen(
    case: str, mini: CourseTask
) -> None:
    asked, drawn = BY_BLOCK[case], Meter()
    asked.make_method().draw(mini, asked.sparsity, drawn)
    assert work(drawn) == work(rehearse(asked, Sizes.of(mini))[0])


@pytest.mark.parametrize("name", ["snip", "grasp", "model-soup, learned"])
def test_samples_by_class_are_billed_as_they_are_drawn(
    name: str, mini: CourseTask
) -> None:
    """Ten of each class are too many for a split of 24: all that is there is taken."""
    asked = recipe(
        name.split(",")[0],
        **{**QUICK[name], "per_class": 10} if "learned" not in name else QUICK[name],
    )
    drawn = Meter()
    asked.make_method().draw(mini, asked.sparsity, drawn)
    assert work(drawn) == work(rehearse(asked, Sizes.of(mini))[0])


DEPENDS = {
    "masks agree at once": recipe("early-bird", check=0.1, epsilon=0.3, queue=2),
    "few ingredients help": recipe(
        "model-soup", average="greedy", ingredients=4, label_smoothing=[0.0, 0.0]
    ),
    "settled at once": recipe("instant-soup", **SOUP | {"denoisers": 3}, settled=0.15),
}


@pytest.mark.parametrize("case", DEPENDS)
def test_where_cost_depends_on_what_is_seen_the_plan_is_the_most_that_it_can_be(
    case: str, small: CourseTask
) -> None:
    asked, paid = DEPENDS[case], Meter()
    asked.make_method().draw(small, asked.sparsity, paid)
    most = rehearse(asked, Sizes.of(small))[0].bill
    assert paid.bill.keys() == most.keys()
    assert all(cost.passes <= most[purpose].passes for purpose, cost in paid.bill.items())
    assert paid.spent.passes < sum(most.values(), Cost()).passes


def test_a_greedy_soup_is_planned_as_if_everything_helped(small: CourseTask) -> None:
    """4 ingredients, 3 tries of another, and 3 barriers of 3 readings."""
    draw, _ = rehearse(DEPENDS["few ingredients help"], Sizes.of(small))
    assert draw.bill["select"].passes == (4 + 3 + 3 * 3) * 24


@pytest.mark.parametrize("name", METHODS)
def test_every_method_can_be_rehearsed_with_its_defaults(
    name: str, small: CourseTask
) -> None:
    draw, train = rehearse(recipe(name, 0.5), Sizes.of(small))
    assert sum(cost.steps for cost in [*draw.bill.values(), *train.bill.values()]) >= 12
    assert {"select", "test"} <= train.bill.keys()


def test_a_rehearsal_trains_nothing(small: CourseTask) -> None:
    before = {
        name: tensor.clone() for name, tensor in small.course.model.state_dict().items()
    }
    state = torch.get_rng_state()
    rehearse(CASES["soup"], Sizes.of(small))
    assert torch.equal(torch.get_rng_state(), state)
    assert all(
        torch.equal(small.course.model.state_dict()[name], tensor)
        for name, tensor in before.items()
    )


def test_rounds_that_do_not_fit_are_found_before_they_are_paid_for(
    small: CourseTask,
) -> None:
    with pytest.raises(KnobError, match="the budget T has 12"):
        rehearse(
            recipe("instant-soup", preset="beside-t", round_steps=10), Sizes.of(small)
        )


def planned(small: CourseTask, monkeypatch: pytest.MonkeyPatch, case: str) -> Plan:
    """A plan on a machine that takes 2 s a step of 8 examples, with 1000 FLOPs a pass."""
    monkeypatch.setattr(Pace, "of", lambda _: Pace(2.0, 1000, peaks()["process"]))
    return plan(CASES[case], Sizes.of(small), small)


def test_the_ratio_leaves_the_test_reading_out(
    small: CourseTask, monkeypatch: pytest.MonkeyPatch
) -> None:
    dense = planned(small, monkeypatch, "dense")
    whole = 3 * 12 * 8
    assert dense.full.passes == pytest.approx(whole, rel=0.1)
    assert dense.ratio == pytest.approx((whole + 24) / dense.full.passes)
    assert dense.train["test"] == Cost(0, 32, 32, 0)


def test_look_aheads_are_part_of_the_ratio(
    small: CourseTask, monkeypatch: pytest.MonkeyPatch
) -> None:
    soup, dense = (planned(small, monkeypatch, case) for case in ("soup", "dense"))
    ahead = 2 * 2 * 3 * 8 * 3  # rounds, denoisers, steps, examples, passes
    leg = 6 * 8 * 3  # half of T before the rewind
    assert soup.ratio - dense.ratio == pytest.approx((ahead + leg) / dense.full.passes)


def test_time_is_so_much_a_step_and_a_third_of_an_example_where_nothing_is_learned(
    small: CourseTask, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A step goes forwards and, at twice the cost, backwards."""
    dense = planned(small, monkeypatch, "dense")
    assert dense.timing is not None
    assert dense.timing.seconds == pytest.approx(12 * 2.0 + (24 + 32) * 0.25 / 3)


def test_flops_are_those_of_every_pass(
    small: CourseTask, monkeypatch: pytest.MonkeyPatch
) -> None:
    timing = planned(small, monkeypatch, "dense").timing
    assert timing is not None
    assert timing.flops == 1000 * (3 * 12 * 8 + 24 + 32)


def test_memory_holds_weights_thrice_gradients_and_moments(
    small: CourseTask, monkeypatch: pytest.MonkeyPatch
) -> None:
    got = planned(small, monkeypatch, "dense").timing
    assert got is not None
    weights = 4 * sum(parameter.numel() for parameter in small.course.model.parameters())
    assert got.tensors == (3 + 1 + 4) * weights + 4 * small.course.scope.size
    assert got.peak > weights


def test_the_machine_is_timed_on_the_task_itself(small: CourseTask) -> None:
    pace = Pace.of(small)
    flops = pace.flops
    assert pace.step > 0
    cost = small.course.forward_cost
    batch = small.course.train.batch([0])
    one = cost.of(batch, small.course.train, [0])
    assert 0.5 * one < flops < 2 * one


# the stand-in


SIZES = Sizes("small", horizon=10, batch=4, train=20, validation=7, test=5, groups=2)


def stand_in() -> StandIn:
    return StandIn(Meter(), SIZES)


def test_the_stand_in_charges_as_a_learner_does() -> None:
    learner = stand_in()
    learner.train(3)
    list(learner.look_ahead([Brief(2, Variation())] * 2, lambda there: there))
    learner.evaluate()
    assert learner.meter.bill == {
        "train": Cost(3, 12, 36),
        "look-ahead": Cost(4, 16, 48),
        "select": Cost(0, 7, 7),
    }
    assert learner.steps_taken == 3


def test_the_stand_in_moves_on_by_what_it_advances() -> None:
    learner = stand_in()
    learner.advance({}, 4)
    assert learner.steps_taken == 4
    assert learner.meter.spent == Cost()


def test_the_stand_in_shows_masked_weights() -> None:
    learner = stand_in()
    mask = prune(magnitude(learner), learner.mask, 0.5)
    learner.apply_mask(mask)
    (name,) = learner.scope
    assert (learner.view()[name] != 0).sum() == mask.kept == mask.scope.size // 2
    assert learner.mask is mask


def test_stand_ins_of_a_task_are_alike_and_apart() -> None:
    task = StandInTask(SIZES)
    first, second = task.learner(Meter()), task.learner(Meter())
    first.train(3)
    assert second.steps_taken == 0
    assert torch.equal(first.origin["stand-in"], second.origin["stand-in"])
    assert first.horizon == 10


def test_a_task_is_loaded_once_for_all_seeds_and_methods_and_not_timed_unasked(
    small: CourseTask, monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded: list[Recipe] = []

    def build(recipe: Recipe) -> CourseTask:
        loaded.append(recipe)
        return small

    monkeypatch.setattr(Pace, "of", lambda _: pytest.fail("timed"))
    planner = Planner(build, timed=False)
    plans = [planner.plan(CASES[case]) for case in ("dense", "soup")]
    seeded = CASES["soup"].model_dump(mode="json") | {"seed": 7}
    assert planner.plan(Recipe.parse(seeded)) is plans[1]
    assert plans == [plan(CASES[case], Sizes.of(small)) for case in ("dense", "soup")]
    assert len(loaded) == 1


def test_a_task_is_timed_once_where_that_is_asked_for(
    small: CourseTask, monkeypatch: pytest.MonkeyPatch
) -> None:
    timed: list[CourseTask] = []
    monkeypatch.setattr(Pace, "of", lambda task: timed.append(task) or Pace(2.0, 1000, 1))
    planner = Planner(lambda _: small, timed=True)
    assert all(planner.plan(CASES[case]).timing for case in ("dense", "soup"))
    assert len(timed) == 1
