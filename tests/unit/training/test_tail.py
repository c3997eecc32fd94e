"""The mean of the weights over the last part of a training, in place of its end."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from torch import Tensor

import instant_soup as soup
from instant_soup.core.errors import KnobError
from instant_soup.core.prune import prune
from instant_soup.core.score import magnitude
from instant_soup.core.task import Brief, Variation
from instant_soup.tasks import CourseTask
from instant_soup.training.learner import ModuleLearner
from instant_soup.training.tail import Tail

Make = Callable[..., CourseTask]


def trained(task: CourseTask) -> ModuleLearner:
    """Half of the weights pruned, and trained to the end of the line."""
    learner = task.learner(soup.Meter())
    learner.apply_mask(prune(magnitude(learner), learner.mask, 0.5))
    learner.train(learner.horizon)
    return learner


def means(snapshots: list[dict[str, Tensor]]) -> dict[str, Tensor]:
    """In double precision, which the sums of the tail are to be near to."""
    return {
        name: torch.stack([each[name].double() for each in snapshots]).mean(0)
        for name in snapshots[0]
    }


def test_at_the_end_weights_are_the_mean_of_those_after_each_late_step(
    points: Make,
) -> None:
    plain = points().learner(soup.Meter())
    plain.apply_mask(prune(magnitude(plain), plain.mask, 0.5))
    snapshots = []
    for _ in range(plain.horizon):
        plain.train(1)
        snapshots.append(dict(plain.weights()))

    # 0.4 of 15 steps
    learner = trained(points(tail=0.4))
    expected = means(snapshots[-6:])
    assert learner.view().keys() == expected.keys()
    for name, tensor in learner.view().items():
        torch.testing.assert_close(tensor.double(), expected[name], rtol=1e-6, atol=1e-7)
        assert not torch.equal(tensor, plain.view()[name])
    for name in learner.scope:
        dead = ~learner.mask[name]
        assert not learner.view()[name][dead].view(torch.int32).any()

    # nothing is charged for it
    assert learner.meter.bill == plain.meter.bill


def test_a_long_line_has_a_hundred_snapshots_at_most() -> None:
    tail = Tail.of(soup.Regime(tail=0.2), 1250)
    taken = [
        step
        for step in range(1, 1251)
        if step > tail.begins and not (1250 - step) % tail.every
    ]
    assert (len(taken), taken[0], taken[-1]) == (21, 1010, 1250)


def test_without_a_tail_a_training_ends_where_it_always_did(points: Make) -> None:
    learner = trained(points())
    assert learner.view().keys()
    assert Tail.of(points().regime, 15).begins == 15


def test_what_was_averaged_under_another_mask_is_forgotten(points: Make) -> None:
    """Cut after 12 of 15 steps, of which the last 10 are the tail: the mean is of the three that follow."""
    plain, learner = (
        points().learner(soup.Meter()),
        points(tail=2 / 3).learner(soup.Meter()),
    )
    for each in (plain, learner):
        each.train(12)
        each.apply_mask(prune(magnitude(each), each.mask, 0.5))
    assert learner.mask == plain.mask

    snapshots = []
    for _ in range(3):
        plain.train(1)
        snapshots.append(dict(plain.weights()))
    learner.train(3)
    for name, tensor in means(snapshots).items():
        torch.testing.assert_close(
            learner.view()[name].double(), tensor, rtol=1e-6, atol=1e-7
        )


def test_each_whole_training_has_a_tail_of_its_own(points: Make) -> None:
    once, twice = (points(tail=0.4).learner(soup.Meter()) for _ in range(2))
    twice.train(12)
    twice.restore(twice.origin)
    for learner in (once, twice):
        learner.complete()
    for name, tensor in once.view().items():
        assert torch.equal(tensor, twice.view()[name]), name


def test_a_look_ahead_from_within_the_tail_leaves_no_trace(points: Make) -> None:
    alone, looking = (points(tail=0.4).learner(soup.Meter()) for _ in range(2))
    alone.train(15)
    looking.train(12)
    brief = Brief(3, Variation(seed=5))
    assert list(looking.look_ahead([brief], lambda learner: learner.steps_taken)) == [12]
    looking.train(3)
    for name, tensor in alone.view().items():
        assert torch.equal(tensor, looking.view()[name]), name


def test_only_a_tail_that_is_set_is_part_of_what_is_asked() -> None:
    assert soup.Regime(device="cpu").asked() == soup.Regime().asked()
    assert "tail" not in soup.Regime().asked()
    assert soup.Regime(tail=0.2).asked()["tail"] == 0.2
    for share in (0, 1, -0.5):
        with pytest.raises(KnobError, match="tail is"):
            soup.Regime(tail=share)


@pytest.mark.parametrize("method", [soup.OneShot(), soup.InstantSoup(denoisers=2)])
def test_every_method_takes_it(method: soup.OneShot, mini: CourseTask) -> None:
    task = replace(mini, regime=mini.regime.model_copy(update={"tail": 0.5}))
    plain = soup.evaluate(method.draw(mini, 0.5), mini)
    averaged = soup.evaluate(method.draw(task, 0.5), task)
    assert averaged.cost == plain.cost
    assert any(
        not torch.equal(tensor, plain.weights[name])
        for name, tensor in averaged.weights.items()
    )
