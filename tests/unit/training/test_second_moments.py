"""Second moments: what curved scores read of training, beside an AdamW that is written out by hand."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.func import functional_call
from torch.nn import functional as F

import instant_soup as soup
from instant_soup.core.prune import prune
from instant_soup.core.score import chance, curved, magnitude
from instant_soup.core.task import Brief, Variation
from instant_soup.tasks import CourseTask
from instant_soup.training.learner import ModuleLearner
from instant_soup.training.order import Order

Make = Callable[..., CourseTask]
Tensors = dict[str, Tensor]
SCOPE = ("one.weight", "two.weight")


class ByHand:
    """AdamW in float64, from the papers: moments, their bias, decoupled decay, a clipped gradient, a mask."""

    def __init__(self, task: CourseTask, seed: int) -> None:
        self.task = task
        self.regime = task.regime
        self.order = Order(60, self.regime.batch, seed)
        self.weights: Tensors = {
            n: p.detach().double() for n, p in task.course.model.named_parameters()
        }
        self.first = {name: torch.zeros_like(part) for name, part in self.weights.items()}
        self.second = {
            name: torch.zeros_like(part) for name, part in self.weights.items()
        }
        self.kept = {name: torch.ones_like(part) for name, part in self.weights.items()}
        self.steps = 0

    def step(self) -> None:
        inputs, targets = self.task.course.train.batch(self.order.at(self.steps))
        leaves = {
            name: part.clone().requires_grad_() for name, part in self.weights.items()
        }
        loss = F.cross_entropy(
            functional_call(self.task.course.model, leaves, (inputs.double(),)), targets
        )
        loss.backward()
        slopes = {
            name: leaf.grad * self.kept[name]
            for name, leaf in leaves.items()
            if leaf.grad is not None
        }

        if self.regime.clip:
            norm = torch.cat([slope.flatten() for slope in slopes.values()]).norm()
            slopes = {
                name: slope * min(1.0, self.regime.clip / float(norm))
                for name, slope in slopes.items()
            }

        rate = self.regime.rate * self._line()
        self.steps += 1
        for name, slope in slopes.items():
            self.first[name] = 0.9 * self.first[name] + 0.1 * slope
            self.second[name] = 0.999 * self.second[name] + 0.001 * slope**2
            update = (
                self.first[name]
                / (1 - 0.9**self.steps)
                / (self.unbiased(name).sqrt() + 1e-8)
            )
            decayed = self.weights[name] * (1 - rate * self.regime.weight_decay)
            self.weights[name] = (decayed - rate * update) * self.kept[name]

    def _line(self) -> float:
        """The rate as a share of the highest: flat for half of 15 steps, which is rounded to 8, or never."""
        falls_from = 8 if self.regime.line == "flat" else 0
        return min(1.0, (15 - self.steps) / (15 - falls_from))

    def unbiased(self, name: str) -> Tensor:
        return self.second[name] / (1 - 0.999**self.steps)

    def prune(self, mask: soup.Mask) -> None:
        for name in mask:
            self.kept[name] = mask[name].double()
            for part in (self.weights, self.first, self.second):
                part[name] = part[name] * self.kept[name]

    def scores(self) -> Tensors:
        return {
            name: self.weights[name].abs() * self.unbiased(name) ** 0.25 for name in SCOPE
        }


@pytest.mark.parametrize("line", ["linear", "flat"])
@pytest.mark.parametrize("clip", [0.0, 0.05])
@pytest.mark.parametrize("accumulation", [1, 3])
@pytest.mark.parametrize("weight_decay", [0.0, 0.5])
def test_a_curved_score_is_that_of_an_adamw_written_out(
    points: Make, line: str, clip: float, accumulation: int, weight_decay: float
) -> None:
    """After one step, where its bias is largest; under a mask that came in between; and in the end."""
    task = points(
        line=line,
        clip=clip,
        accumulation=accumulation,
        weight_decay=weight_decay,
        rate=0.01,
    )
    learner = task.learner(soup.Meter())
    hand = ByHand(task, learner.seed("order"))

    for steps in (1, 6, 8):
        learner.train(steps)
        for _ in range(steps):
            hand.step()

        scores, wanted = curved(learner), hand.scores()
        assert list(scores) == list(SCOPE)
        for name in SCOPE:
            assert scores[name].dtype == torch.float32
            torch.testing.assert_close(
                scores[name].double(), wanted[name], rtol=2e-3, atol=1e-6
            )

        if learner.mask.sparsity == 0:
            mask = prune(chance(learner), learner.mask, 0.4)
            learner.apply_mask(mask)
            hand.prune(mask)
            assert not any(curved(learner)[name][~mask[name]].any() for name in mask)


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_second_moments_are_the_optimisers_own_without_their_bias(
    mini: CourseTask, precision: str
) -> None:
    task = replace(mini, regime=mini.regime.model_copy(update={"precision": precision}))
    learner = task.learner(soup.Meter())
    learner.train(3)
    state = learner._model.optimizer.state
    moments = learner.second_moments()
    assert list(moments) == list(learner.scope)
    for name, moment in moments.items():
        assert moment.dtype == torch.float32
        memory = state[learner._model.parameters[name]]
        assert int(memory["step"]) == 3
        torch.testing.assert_close(moment, memory["exp_avg_sq"].float() / (1 - 0.999**3))
        assert moment.any()


# before there is a memory


def test_where_nothing_was_trained_the_score_is_the_magnitude_and_that_is_noted_once(
    points: Make,
) -> None:
    learner = points().learner(soup.Meter())
    assert learner.second_moments() == {}
    assert equal(curved(learner), magnitude(learner))
    curved(learner)
    (note,) = learner.notes["score"]
    assert "magnitude" in note
    learner.train(1)
    assert not equal(curved(learner), magnitude(learner))
    assert len(learner.notes["score"]) == 1


def test_curvature_may_weigh_other_weights_than_the_learners_own(points: Make) -> None:
    learner = points().learner(soup.Meter())
    learner.train(2)
    scores = curved(learner, learner.origin)
    for name in SCOPE:
        torch.testing.assert_close(
            scores[name],
            learner.origin[name].abs() * learner.second_moments()[name] ** 0.25,
        )
    powers = curved(learner, power=0.5)
    for name in SCOPE:
        torch.testing.assert_close(
            powers[name],
            learner.view()[name].abs() * learner.second_moments()[name] ** 0.5,
        )


# whole trainings


def equal(first: Mapping[str, Tensor], second: Mapping[str, Tensor]) -> bool:
    return first.keys() == second.keys() and all(
        torch.equal(first[name], second[name]) for name in first
    )


def halved(learner: ModuleLearner) -> ModuleLearner:
    learner.apply_mask(prune(magnitude(learner), learner.mask, 0.5))
    return learner


def test_after_a_whole_training_the_moments_are_those_of_its_end(points: Make) -> None:
    whole, line = (
        halved(points().learner(soup.Meter())),
        halved(points().learner(soup.Meter())),
    )
    whole.complete()
    line.train(line.horizon)
    assert equal(whole.second_moments(), line.second_moments())
    assert not any(
        moment[~whole.mask[name]].any() for name, moment in whole.second_moments().items()
    )


def test_from_the_shelf_the_moments_are_those_of_training(
    points: Make, tmp_path: Any
) -> None:
    from instant_soup.store.trainings import FolderShelf

    task = replace(points(), shelf=FolderShelf(tmp_path, "me"))
    trained, taken = (halved(task.learner(soup.Meter())) for _ in range(2))
    trained.complete()
    taken.meter.watch = None
    before = len(list(tmp_path.glob("*.safetensors")))
    taken.complete()
    assert len(list(tmp_path.glob("*.safetensors"))) == before == 1
    assert equal(taken.second_moments(), trained.second_moments())
    assert equal(curved(taken), curved(trained))


def test_a_mask_zeroes_the_moments_of_a_whole_training_too(points: Make) -> None:
    learner = points().learner(soup.Meter())
    learner.complete()
    before = dict(learner.second_moments())
    mask = prune(curved(learner), learner.mask, 0.5)
    learner.apply_mask(mask)
    for name, moment in learner.second_moments().items():
        assert torch.equal(moment, before[name] * mask[name])


def test_the_next_leg_has_moments_of_its_own(points: Make) -> None:
    task = points()
    learner = task.learner(soup.Meter())
    learner.complete()
    learner.restore(learner.origin)
    learner.complete(Variation(seed=3, rate=0.5))
    alone = task.learner(soup.Meter())
    alone.complete(Variation(seed=3, rate=0.5))
    assert equal(learner.second_moments(), alone.second_moments())


class KilledError(Exception):
    """As if the power had gone."""


class Page:
    """A bookmark in memory that is always due and kills after so many saves."""

    due = True

    def __init__(self, saves: int) -> None:
        self.saves = saves
        self.places: dict[str, tuple[Tensors, dict[str, Any]]] = {}

    def save(
        self, place: str, tensors: Mapping[str, Tensor], facts: Mapping[str, Any]
    ) -> None:
        self.places[place] = (
            {name: tensor.clone() for name, tensor in tensors.items()},
            dict(facts),
        )
        self.saves -= 1
        if not self.saves:
            raise KilledError

    def load(self, place: str) -> tuple[Tensors, dict[str, Any]] | None:
        return self.places.get(place)


@pytest.mark.parametrize("saves", [1, 7])
def test_after_a_kill_the_moments_are_those_of_a_training_left_alone(
    points: Make, saves: int
) -> None:
    alone = points().learner(soup.Meter())
    alone.complete()
    task = replace(points(), bookmark=Page(saves))
    with pytest.raises(KilledError):
        task.learner(soup.Meter()).complete()
    again = task.learner(soup.Meter())
    again.complete()
    assert equal(again.second_moments(), alone.second_moments())


# look-aheads


@pytest.mark.parametrize("carry", [False, True])
def test_a_look_ahead_scores_by_its_own_moments_and_leaves_no_trace(
    points: Make, *, carry: bool
) -> None:
    learner = points().learner(soup.Meter())
    learner.train(3)
    before, scores = dict(learner.second_moments()), dict(curved(learner))
    looks = [
        Brief(2, Variation(rate=2.0, seed=seed), carry_optimizer=carry) for seed in (0, 1)
    ]
    first, second = learner.look_ahead(looks, lambda scout: dict(curved(scout)))
    assert not equal(first, second)
    assert not equal(first, scores)
    assert equal(learner.second_moments(), before)
    assert equal(curved(learner), scores)
    assert "score" not in learner.notes
