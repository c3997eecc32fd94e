"""Sensitivity: gradients and curvature of a sample, as learners give them and what that leaves behind."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

import instant_soup as soup
from instant_soup.core.errors import BudgetSpent, TrainingError
from instant_soup.core.prune import prune
from instant_soup.core.rounding import rounding
from instant_soup.core.score import magnitude
from instant_soup.core.task import Brief, Sample, Variation
from instant_soup.tasks import CourseTask
from instant_soup.training.learner import ModuleLearner
from instant_soup.training.sample import balanced

Make = Callable[..., CourseTask]


def gradient_by_hand(
    task: CourseTask, learner: ModuleLearner, sample: Sample
) -> dict[str, Tensor]:
    """Of the model at the learner's weights, in one piece."""
    examples = getattr(task.course, sample.split)
    inputs, targets = examples.batch(
        balanced(examples.targets, len(examples), sample.per_class, sample.seed)
    )
    weights = {name: part.requires_grad_() for name, part in learner.weights().items()}
    outputs = torch.func.functional_call(task.course.model, weights, (inputs,))
    return dict(
        zip(
            weights,
            torch.autograd.grad(F.cross_entropy(outputs, targets), weights.values()),
            strict=True,
        )
    )


@pytest.mark.parametrize("split", ["train", "validation"])
@pytest.mark.parametrize("batch", [64, 7])
def test_the_gradient_is_that_of_the_mean_loss_pruned_weights_included(
    points: Make, split: Any, batch: int
) -> None:
    task, sample = points(batch=batch), Sample(5, 3, split)
    learner = task.learner(soup.Meter())
    learner.train(2)
    learner.apply_mask(prune(magnitude(learner), learner.mask, 0.5))
    found, wanted = learner.gradient(sample), gradient_by_hand(task, learner, sample)
    assert found.keys() == wanted.keys()
    for name, part in found.items():
        bound = rounding(15 * part.numel(), float(wanted[name].abs().max()))
        torch.testing.assert_close(part, wanted[name], rtol=0, atol=bound)
    for name, keep in learner.mask.items():
        assert found[name][~keep].any()


def test_of_a_text_of_any_length_the_micro_batches_add_up(mini: CourseTask) -> None:
    whole, parts = (
        replace(mini, regime=mini.regime.model_copy(update={"batch": batch})).learner(
            soup.Meter()
        )
        for batch in (64, 3)
    )
    for see in (
        lambda learner: learner.gradient(Sample(5)),
        lambda learner: learner.curvature(Sample(5)),
    ):
        first, second = (
            torch.cat([part.flatten() for part in see(learner).values()])
            for learner in (whole, parts)
        )
        assert (first - second).norm() < 1e-4 * first.norm()


@pytest.mark.parametrize(
    ("split", "purpose"), [("train", "score"), ("validation", "select")]
)
def test_a_gradient_costs_three_passes_an_example_and_no_step(
    points: Make, split: Any, purpose: Any
) -> None:
    task = points()
    learner = task.learner(soup.Meter())
    learner.gradient(Sample(4, 0, split))
    assert dict(learner.meter.bill) == {purpose: learner.meter.spent}
    spent = learner.meter.spent
    assert (spent.steps, spent.examples, spent.passes) == (0, 12, 36)
    assert spent.flops == 36 * 2 * (6 * 12 + 12 * 8 + 8 * 3)


def test_curvature_costs_a_gradient_and_three_times_that(points: Make) -> None:
    learner = points().learner(soup.Meter())
    learner.curvature(Sample(4))
    assert dict(learner.meter.bill) == {"score": learner.meter.spent}
    assert (learner.meter.spent.steps, learner.meter.spent.passes) == (0, 12 * (3 + 9))


def test_a_budget_that_does_not_cover_a_score_stops_it_in_time(points: Make) -> None:
    learner = points(batch=4).learner(soup.Meter(limit=30))
    with pytest.raises(BudgetSpent, match="score needs 12 passes and 6 of 30 are left"):
        learner.gradient(Sample(4))
    assert learner.meter.spent.passes == 24


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize("world", ["mini", "mini_clip_task"])
def test_scoring_leaves_no_trace(
    world: str, precision: str, request: pytest.FixtureRequest
) -> None:
    """A run that scores at every turn is bit-equal to one that never does."""
    task: CourseTask = request.getfixturevalue(world)
    task = replace(task, regime=task.regime.model_copy(update={"precision": precision}))
    plain, scorer = task.learner(soup.Meter()), task.learner(soup.Meter())
    fast = torch.backends.mha.get_fastpath_enabled()
    for _ in range(2):
        for learner in (plain, scorer):
            learner.train(2)
            learner.apply_mask(
                prune(magnitude(learner), learner.mask, learner.steps_taken / 10)
            )
        before, state = scorer.weights(), torch.get_rng_state()
        for sample in (Sample(2, 1), Sample(2, 1, "validation")):
            scorer.gradient(sample)
            scorer.curvature(sample)
        assert all(
            torch.equal(part, before[name]) for name, part in scorer.view().items()
        )
        assert all(
            parameter.grad is None for parameter in scorer._model.parameters.values()
        )
        assert torch.equal(torch.get_rng_state(), state)
        assert torch.backends.mha.get_fastpath_enabled() == fast
        assert plain.evaluate() == scorer.evaluate()
        assert plain.loss() == scorer.loss()
        look: Any = lambda scout: scout.weights()  # noqa: E731
        briefs = [Brief(2, Variation(seed=1))]
        (there,), (other) = (
            plain.look_ahead(briefs, look),
            next(scorer.look_ahead(briefs, look)),
        )
        assert all(torch.equal(part, other[name]) for name, part in there.items())
    assert all(
        torch.equal(part, scorer.view()[name]) for name, part in plain.view().items()
    )
    assert plain.meter.bill["train"] == scorer.meter.bill["train"]


def test_training_is_in_bfloat16_again_after_a_score_that_failed(
    mini: CourseTask,
) -> None:
    """Accelerate's forward is back, not the plain one that scores are taken with."""
    task = replace(mini, regime=mini.regime.model_copy(update={"precision": "bfloat16"}))
    learner, seen = task.learner(soup.Meter()), []
    layer: Any = learner._model.module.bert.encoder.layer[0].intermediate.dense
    layer.register_forward_hook(lambda _, __, output: seen.append(output.dtype))
    learner.train(1)
    learner.gradient(Sample(1))
    loss = task.course.loss
    object.__setattr__(learner._course, "loss", lambda *_: 1 / 0)
    try:
        with pytest.raises(ZeroDivisionError):
            learner.gradient(Sample(1))
    finally:
        object.__setattr__(learner._course, "loss", loss)
    learner.train(1)
    learner.evaluate()
    assert seen == [
        torch.bfloat16,
        torch.float32,
        torch.float32,
        torch.bfloat16,
        torch.bfloat16,
    ]


def test_scores_are_taken_without_dropout(mini: CourseTask) -> None:
    learner = mini.learner(soup.Meter())
    learner.train(1)  # which leaves the model in training mode
    first, second = learner.gradient(Sample(2)), learner.gradient(Sample(2))
    assert all(torch.equal(part, second[name]) for name, part in first.items())


def test_a_parameter_that_takes_no_part_has_no_slope(points: Make) -> None:
    task = points()
    task.course.model.register_parameter("idle", torch.nn.Parameter(torch.ones(2)))
    learner = task.learner(soup.Meter())
    assert learner.gradient(Sample(1))["idle"].tolist() == [0, 0]
    assert "idle" not in learner.curvature(Sample(1))


def test_a_score_as_a_label_has_no_temperature(points: Make) -> None:
    task = points()
    train = replace(task.course.train, targets=task.course.train.targets.float())
    learner = replace(task, course=replace(task.course, train=train)).learner(
        soup.Meter()
    )
    with pytest.raises(
        TrainingError, match="temperature is 200, and the label is a score"
    ):
        learner.curvature(Sample(2), 200.0)
    assert not learner.meter.bill
