"""Average, compared with the loops of the paper written out."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

import instant_soup as soup
from instant_soup.core.rounding import rounding
from instant_soup.core.task import Variation
from instant_soup.core.weights import Weights
from instant_soup.soup.average import AVERAGES, barrier, greedy, learned, uniform
from instant_soup.tasks import CourseTask
from instant_soup.training.learner import ModuleLearner
from instant_soup.training.sample import balanced

Make = Callable[..., CourseTask]
RATES = (3.0, 3.0, 3.0, 12.0, 0.02, 3.0)


@pytest.fixture
def learner(points: Make) -> ModuleLearner:
    """Under a mask of half of the weights."""
    learner = points().learner(soup.Meter())
    learner.apply_mask(soup.OneShot().draw(points(), 0.5).mask)
    return learner


@pytest.fixture
def bowls(learner: ModuleLearner) -> list[Weights]:
    """Good and bad fine-tunes."""
    made = []
    for seed, rate in enumerate(RATES):
        learner.restore(learner.origin)
        learner.complete(Variation(rate=rate, seed=seed))
        made.append(learner.weights())
    return made


@pytest.fixture
def values(learner: ModuleLearner, bowls: list[Weights]) -> list[float]:
    return [accuracy(learner, bowl) for bowl in bowls]


def accuracy(learner: ModuleLearner, weights: Weights) -> float:
    validation = learner._course.validation
    outputs = functional_call(learner._course.model, dict(weights), (validation.inputs,))
    return float((outputs.argmax(1) == validation.targets).float().mean())


def close(first: Weights, second: Weights, tolerance: float = 0.0) -> bool:
    assert first.keys() == second.keys()
    for name, part in first.items():
        bound = rounding(6, float(part.abs().max())) + tolerance
        if not torch.allclose(part, second[name], atol=bound, rtol=0):
            return False
    return True


def test_the_uniform_soup_is_the_plain_mean(
    learner: ModuleLearner, bowls: list[Weights]
) -> None:
    soup_ = uniform(learner, bowls, [0.0] * len(bowls))
    assert soup_.taken == tuple(range(6))
    assert close(
        soup_.weights, {name: sum(bowl[name] for bowl in bowls) / 6 for name in bowls[0]}
    )
    assert not learner.meter.bill.get("select")


def test_the_greedy_soup_is_that_of_the_loop_written_out(
    learner: ModuleLearner, bowls: list[Weights], values: list[float]
) -> None:
    order = sorted(range(6), key=lambda i: values[i], reverse=True)
    taken, bar = [order[0]], values[order[0]]
    for i in order[1:]:
        mean = {
            name: torch.stack([bowls[j][name] for j in [*taken, i]]).mean(0)
            for name in bowls[0]
        }
        if (value := accuracy(learner, mean)) > bar:
            taken, bar = [*taken, i], value
    soup_ = greedy(learner, bowls, values)
    assert 1 < len(taken) < 6  # some are worth taking and some are not
    assert soup_.taken == tuple(taken)
    assert close(
        soup_.weights,
        {name: torch.stack([bowls[i][name] for i in taken]).mean(0) for name in bowls[0]},
    )


def test_the_greedy_soup_is_at_least_as_good_as_the_best_ingredient(
    learner: ModuleLearner, bowls: list[Weights], values: list[float]
) -> None:
    soup_ = greedy(learner, bowls, values)
    assert accuracy(learner, soup_.weights) > max(values)  # as it happens, better
    best, worst = (values.index(extreme(values)) for extreme in (max, min))
    both = greedy(learner, [bowls[worst], bowls[best]], [values[worst], values[best]])
    assert values[worst] < values[best]
    assert both.taken[0] == 1
    assert accuracy(learner, both.weights) >= values[best]


def test_an_equal_soup_is_not_taken_for_a_better_one(
    learner: ModuleLearner, bowls: list[Weights]
) -> None:
    same = [bowls[1]] * 3
    assert greedy(learner, same, [accuracy(learner, bowls[1])] * 3).taken == (0,)


def test_the_learned_shares_are_those_of_autograd_through_the_mix(
    learner: ModuleLearner, bowls: list[Weights]
) -> None:
    """With a graph over all ingredients, which is what the real one goes without."""
    steps, validation = 12, learner._course.validation
    logits = {name: torch.zeros(6, requires_grad=True) for name in bowls[0]}
    optimizer = torch.optim.AdamW(logits.values(), lr=0.1, weight_decay=0.0)

    def mix() -> dict[str, Tensor]:
        return {
            name: sum(
                share * bowl[name]
                for share, bowl in zip(logits[name].softmax(0), bowls, strict=True)
            )
            for name in logits
        }

    for step in range(steps):
        seed = learner.seed("learned soup", step)
        inputs, targets = validation.batch(
            balanced(validation.targets, len(validation), 5, seed)
        )
        optimizer.zero_grad()
        F.cross_entropy(
            functional_call(learner._course.model, mix(), (inputs,)), targets
        ).backward()
        optimizer.step()
    wanted = {name: tensor.detach() for name, tensor in mix().items()}
    ours = learned(learner, bowls, [], steps=steps, rate=0.1, per_class=5)
    assert ours.taken == tuple(range(6))
    assert close(ours.weights, wanted, 1e-5)
    assert not close(ours.weights, uniform(learner, bowls, []).weights, 1e-3)


def test_the_learned_soup_leaves_the_worst_ingredient_behind(
    learner: ModuleLearner, bowls: list[Weights], values: list[float]
) -> None:
    losses = []
    for make in (learned, uniform):
        learner.restore(make(learner, bowls, values).weights)
        losses.append(learner.loss())
    assert losses[0] < losses[1]


@pytest.mark.parametrize("name", AVERAGES)
def test_where_all_ingredients_are_zero_so_is_the_soup(
    name: str, learner: ModuleLearner, bowls: list[Weights], values: list[float]
) -> None:
    soup_ = AVERAGES[name](learner, bowls, values)
    for parameter, keep in learner.mask.items():
        # not even -0.0
        assert not soup_.weights[parameter][~keep].view(torch.int32).any()
        assert soup_.weights[parameter][keep].all()


@pytest.mark.parametrize("name", AVERAGES)
def test_averaging_leaves_the_ingredients_alone(
    name: str, learner: ModuleLearner, bowls: list[Weights], values: list[float]
) -> None:
    before = [{n: part.clone() for n, part in bowl.items()} for bowl in bowls]
    AVERAGES[name](learner, bowls, values)
    assert all(
        torch.equal(bowl[n], old[n])
        for bowl, old in zip(bowls, before, strict=True)
        for n in old
    )


def test_counters_come_from_the_first_ingredient(
    learner: ModuleLearner, bowls: list[Weights]
) -> None:
    counted = [{**bowl, "n": torch.tensor(i)} for i, bowl in enumerate(bowls)]

    class Ignorant:
        """Knows no counter."""

        def __getattr__(self, name: str) -> Any:
            return getattr(learner, name)

        def restore(self, weights: Weights) -> None:
            learner.restore({name: part for name, part in weights.items() if name != "n"})

    for make in AVERAGES.values():
        assert make(Ignorant(), counted, [1.0, *[0.0] * 5]).weights["n"].item() == 0  # type: ignore[arg-type]


def test_choosing_is_charged_to_selection(
    learner: ModuleLearner, bowls: list[Weights], values: list[float]
) -> None:
    trained = learner.meter.bill["train"]
    greedy(learner, bowls, values)
    assert learner.meter.bill["select"].passes == 5 * 40
    learned(learner, bowls, values, steps=2, per_class=4)
    assert learner.meter.bill["select"].passes == 5 * 40 + 2 * 3 * 3 * 4
    assert learner.meter.bill["train"] == trained
    assert set(learner.meter.bill) == {"train", "select"}


# barriers


class Wells(nn.Module):
    """Two basins: the loss is 0 at w = -1 and at w = 1, and 1 in between."""

    def __init__(self) -> None:
        super().__init__()
        self.w = nn.Parameter(torch.ones(1, 1))

    def forward(self, inputs: Tensor) -> Tensor:
        return (self.w.square() - 1).square().expand(len(inputs), 1)


@pytest.fixture
def wells() -> ModuleLearner:
    loader: Any = DataLoader(TensorDataset(torch.zeros(3), torch.zeros(3)))
    task = soup.tasks.module(
        "wells",
        Wells(),
        train=loader,
        validation=loader,
        test=loader,
        loss=lambda outputs, _: outputs.mean(),
        metric=lambda outputs, _: -float(outputs.mean()),
        regime=soup.Regime(precision="float32"),
    )
    return task.learner(soup.Meter())


def at(w: float) -> Weights:
    return {"w": torch.tensor([[float(w)]])}


def test_between_equal_ends_there_is_no_barrier(wells: ModuleLearner) -> None:
    assert barrier(wells, at(0.7), at(0.7)) == 0


def test_between_two_basins_there_is_one(wells: ModuleLearner) -> None:
    assert barrier(wells, at(-1), at(1)) == 1
    assert wells.view()["w"].item() == 1  # it stays at the other end
    assert barrier(wells, at(2), at(-1)) == pytest.approx((0.25 - 1) ** 2 - 9 / 2)


def test_in_one_basin_the_barrier_is_not_above_zero(wells: ModuleLearner) -> None:
    assert barrier(wells, at(0.8), at(1.2)) < 0
