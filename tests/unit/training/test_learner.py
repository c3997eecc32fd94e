from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

import instant_soup as soup
from instant_soup.core.errors import ScopeError, TrainingError
from instant_soup.core.prune import prune
from instant_soup.core.rounding import rounding
from instant_soup.core.score import magnitude
from instant_soup.core.task import Brief, Variation
from instant_soup.tasks import CourseTask
from instant_soup.training import optim
from instant_soup.training.learner import ModuleLearner

Make = Callable[..., ModuleLearner]


@pytest.fixture
def make(mini: CourseTask) -> Make:
    def learner(**regime: Any) -> ModuleLearner:
        changed = replace(mini, regime=mini.regime.model_copy(update=regime))
        return changed.learner(soup.Meter())

    return learner


def equal(first: Mapping[str, Tensor], second: Mapping[str, Tensor]) -> bool:
    return first.keys() == second.keys() and all(
        torch.equal(first[name], second[name]) for name in first
    )


def memory(learner: ModuleLearner) -> dict[str, Tensor]:
    return {
        name: t.clone()
        for name, t in optim.moments(
            learner._model.optimizer, learner._model.parameters
        ).items()
    }


def halved(learner: ModuleLearner) -> soup.Mask:
    return prune(magnitude(learner), learner.mask, 0.5)


def briefs(**training: Any) -> list[Brief]:
    return [
        Brief(2, Variation(seed=seed, rate=2.0, subset=0.5, **training))
        for seed in range(2)
    ]


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize("accumulation", [1, 3])
@pytest.mark.parametrize("clip", [0.0, 1e-3])
@pytest.mark.parametrize("weight_decay", [0.0, 0.5])
def test_dead_weights_and_their_moments_stay_zero_after_every_step(
    make: Make, precision: str, accumulation: int, clip: float, weight_decay: float
) -> None:
    learner = make(
        precision=precision,
        accumulation=accumulation,
        clip=clip,
        weight_decay=weight_decay,
    )
    learner.train(2)  # so that there is momentum to revive them by
    mask = halved(learner)
    learner.apply_mask(mask)
    for _ in range(3):
        learner.train(1)
        for name in mask:
            dead = ~mask[name]
            assert not learner.view()[name][dead].view(torch.int32).any()
            for moment in optim.MOMENTS:
                assert not memory(learner)[f"{moment}/{name}"][dead].any()
    assert all(bool(learner.view()[name][mask[name]].any()) for name in mask)


def test_gradients_of_dead_weights_do_not_enter_the_clip_norm(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    learner = make(clip=1.0)
    mask = halved(learner)
    learner.apply_mask(mask)
    seen = {}

    def clip(parameters: object, bound: float) -> Tensor:
        assert bound == 1.0
        seen.update(
            {
                name: p.grad.clone()
                for name, p in learner._model.parameters.items()
                if p.grad is not None
            }
        )
        return torch.ones(())

    monkeypatch.setattr(learner._model.accelerator, "clip_grad_norm_", clip)
    learner.train(1)
    for name in mask:
        assert not seen[name][~mask[name]].any()
        assert seen[name][mask[name]].any()


def test_pruning_in_mid_training_clears_the_moments_of_what_it_kills_and_no_other(
    make: Make,
) -> None:
    learner = make()
    learner.train(3)
    before, mask = memory(learner), halved(learner)
    learner.apply_mask(mask)
    after = memory(learner)
    for name in mask:
        for moment in optim.MOMENTS:
            assert torch.equal(
                after[f"{moment}/{name}"], before[f"{moment}/{name}"] * mask[name]
            )


@pytest.mark.parametrize("carry", [False, True])
@pytest.mark.parametrize("masked", [False, True])
def test_a_look_ahead_leaves_no_trace(make: Make, *, carry: bool, masked: bool) -> None:
    """A run that looks ahead at every turn is bit-equal to one that never does."""
    plain, scout = make(), make()
    for _ in range(3):
        for learner in (plain, scout):
            learner.train(2)
            if masked:
                learner.apply_mask(
                    prune(magnitude(learner), learner.mask, learner.steps_taken / 10)
                )
        state, weights, moments = torch.get_rng_state(), scout.weights(), memory(scout)
        seen = list(
            scout.look_ahead(
                [replace(b, carry_optimizer=carry) for b in briefs()],
                lambda scout: scout.weights(),
            )
        )
        assert not any(equal(there, weights) for there in seen)
        assert equal(scout.weights(), weights)
        assert equal(memory(scout), moments)
        assert torch.equal(torch.get_rng_state(), state)
    assert equal(plain.weights(), scout.weights())
    assert equal(memory(plain), memory(scout))
    assert plain.steps_taken == scout.steps_taken
    assert plain.meter.bill["train"] == scout.meter.bill["train"]


def test_a_look_ahead_that_fails_leaves_no_trace_either(make: Make) -> None:
    learner = make()
    learner.train(1)
    before = learner.weights()

    def fail(_: object) -> None:
        raise RuntimeError("the look failed")

    with pytest.raises(RuntimeError, match="the look failed"):
        list(learner.look_ahead(briefs(), fail))
    assert equal(learner.weights(), before)
    learner.train(1)


def test_the_parent_is_itself_again_while_what_a_look_ahead_saw_is_handled(
    make: Make,
) -> None:
    learner = make()
    before = learner.weights()
    for _ in learner.look_ahead(briefs(), lambda _: None):
        assert equal(learner.weights(), before)


def test_a_look_ahead_is_a_function_of_state_and_brief(make: Make) -> None:
    """Which look-aheads came before it makes no difference."""
    first, second = make(), make()
    both = list(first.look_ahead(briefs(), lambda scout: scout.weights()))
    (last,) = second.look_ahead(briefs()[1:], lambda scout: scout.weights())
    assert equal(both[1], last)
    assert not equal(both[0], both[1])


def test_a_look_ahead_trains_under_the_mask_at_a_multiple_of_the_current_rate(
    make: Make,
) -> None:
    learner = make(weight_decay=0.0, clip=0.0)
    learner.train(6)
    learner.apply_mask(halved(learner))
    rates = []
    for factor in (1.0, 2.0):
        (there,) = learner.look_ahead(
            [Brief(1, Variation(rate=factor, seed=0))], lambda scout: scout.weights()
        )
        name = next(iter(learner.mask))
        moved = (there[name] - learner.weights()[name]).abs()
        assert not moved[~learner.mask[name]].any()
        # a fresh AdamW's first step is as long as the rate
        rates.append(float(moved.max()))
    current = learner._line.at(learner.steps_taken)
    assert rates == pytest.approx([current, 2 * current], rel=1e-2)


def test_accumulation_gives_the_gradient_of_the_whole_batch(make: Make) -> None:
    whole, parts = make(accumulation=1, clip=0.0), make(accumulation=3, clip=0.0)
    for learner in (whole, parts):  # dropout would differ between the two
        for module in learner._model.module.modules():
            if isinstance(module, torch.nn.Dropout):
                module.p = 0.0
        learner._model.module.config.attention_probs_dropout_prob = 0.0
        learner.train(1)
    moments = memory(whole)
    for name, moment in moments.items():
        # the gradient of a key's bias is nothing but the rounding of larger numbers
        kind = name.split("/")[0]
        largest = max(
            float(other.abs().max())
            for key, other in moments.items()
            if key.startswith(f"{kind}/")
        )
        bound = rounding(moment.numel(), largest)
        torch.testing.assert_close(
            memory(parts)[name], moment, rtol=1e-3, atol=bound, msg=name
        )


def test_training_past_the_end_of_the_line_is_refused_before_any_step(make: Make) -> None:
    learner = make()
    with pytest.raises(TrainingError, match="13 steps with 12 of 12 left"):
        learner.train(13)
    assert not learner.meter.bill


def test_a_loss_that_is_not_finite_ends_training_with_the_weights_as_they_were(
    make: Make, mini: CourseTask
) -> None:
    course = replace(
        mini.course,
        loss=lambda outputs, targets, smoothing: (
            mini.course.loss(outputs, targets, smoothing) * float("nan")
        ),
    )
    learner = replace(mini, course=course).learner(soup.Meter())
    before = learner.weights()
    with pytest.raises(TrainingError, match="the loss is nan"):
        learner.train(1)
    assert equal(learner.weights(), before)


def test_weights_of_another_shape_and_masks_of_another_model_are_refused(
    make: Make,
) -> None:
    learner = make()
    name = next(iter(learner.scope))
    with pytest.raises(ScopeError, match=name):
        learner.restore({name: torch.zeros(3)})
    with pytest.raises(ScopeError, match="another"):
        learner.restore({"another": torch.zeros(3)})
    with pytest.raises(ScopeError, match="the mask is for"):
        learner.apply_mask(soup.Mask.dense(soup.Scope({"other": (2, 2)})))


def test_a_budget_that_runs_out_stops_before_the_step_that_would_exceed_it(
    mini: CourseTask,
) -> None:
    learner = mini.learner(soup.Meter(limit=3 * 8 * 2))
    with pytest.raises(
        soup.SoupError, match="train needs 24 passes and 0 of 48 are left"
    ):
        learner.train(5)
    assert learner.steps_taken == 2
