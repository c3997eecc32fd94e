"""Early-Bird: when the mask is taken, and how far apart masks are said to be."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

import instant_soup as soup
from instant_soup.core.errors import KnobError, UnknownName
from instant_soup.methods import EarlyBird
from instant_soup.tasks import CourseTask

Make = Callable[..., CourseTask]
STILL = {"rate": 1e-12, "weight_decay": 0.0}  # nothing moves
CHECK = 1 / 8  # of an epoch of 8 steps, so after each step


@pytest.mark.parametrize("queue", [2, 3, 5])
def test_the_ticket_is_taken_as_soon_as_the_queue_is_full_of_masks_that_agree(
    points: Make, queue: int
) -> None:
    meter = soup.Meter()
    ticket = EarlyBird(check=CHECK, queue=queue, mask_share=1.0).draw(
        points(**STILL), 0.5, meter
    )
    assert meter.bill["train"].steps == queue
    assert ticket.notes["agreed"] == [True]
    assert ticket.notes["distances"] == [
        [0.0] * (i if i < queue else queue - 1) for i in range(queue)
    ]
    assert ticket.mask == soup.OneShot().draw(points(), 0.5).mask


def test_a_mask_is_taken_at_its_time_even_where_none_agree(points: Make) -> None:
    """At a rate like this some weight crosses the cut at each step, and with epsilon 0 one is enough."""
    meter = soup.Meter()
    method = EarlyBird(check=CHECK, queue=3, epsilon=0.0, mask_share=0.6)
    ticket = method.draw(points(rate=0.2), 0.5, meter)
    assert meter.bill["train"].steps == 9
    assert ticket.notes["agreed"] == [False]
    assert [len(distances) for distances in ticket.notes["distances"]] == [0, 1] + [2] * 7
    assert all(max(distances) > 0 for distances in ticket.notes["distances"][1:])


def test_a_check_comes_after_a_part_of_an_epoch(points: Make) -> None:
    meter = soup.Meter()
    ticket = EarlyBird(check=0.5, queue=5, epsilon=0.0, mask_share=0.6).draw(
        points(rate=0.2), 0.5, meter
    )
    assert len(ticket.notes["distances"]) == 2  # 4 steps each, 9 in all
    assert meter.bill["train"].steps == 8


def test_the_mask_is_that_of_the_dense_weights_at_the_last_check(points: Make) -> None:
    task = points(rate=0.2)
    ticket = EarlyBird(check=CHECK, queue=2, epsilon=0.0, mask_share=0.4).draw(task, 0.5)
    learner = task.learner(soup.Meter())
    learner.train(6)
    sizes = {name: learner.view()[name].abs() for name in learner.scope}
    assert ticket.mask == soup.prune(sizes, soup.Mask.dense(learner.scope), 0.5)
    assert ticket.mask != soup.OneShot().draw(task, 0.5).mask


class Swap(nn.Module):
    """Eight weights from 1 to 8, of which the small ones rise and the large ones fall, all equally fast."""

    def __init__(self) -> None:
        super().__init__()
        self.w = nn.Parameter(torch.arange(1.0, 9.0).view(2, 4))

    def forward(self, inputs: Tensor) -> Tensor:
        return (self.w[1] - self.w[0]).sum().expand(len(inputs), 1)


def swap() -> CourseTask:
    loader: Any = DataLoader(TensorDataset(torch.zeros(8), torch.zeros(8)))
    return soup.tasks.module(
        "swap",
        Swap(),
        train=loader,
        validation=loader,
        test=loader,
        loss=lambda outputs, _: outputs.mean(),
        metric=lambda outputs, _: -float(outputs.mean()),
        regime=soup.Regime(steps=40, batch=1, rate=0.275, precision="float32"),
    )


@pytest.mark.parametrize("sparsity", [0.25, 0.5, 0.75])
def test_a_distance_of_one_is_the_largest_that_two_masks_can_have(
    sparsity: float,
) -> None:
    """In the end, 4.2 on, all small weights have passed all large ones."""
    notes = (
        EarlyBird(check=1 / 8, queue=21, epsilon=0.0, mask_share=0.5)
        .draw(swap(), sparsity)
        .notes["distances"]
    )
    assert len(notes) == 20
    assert notes[-1][0] == 1.0  # of the newest mask to the first
    assert notes[-1][-1] == 0.0  # and to the last but one
    assert all(0 <= distance <= 1 for distances in notes for distance in distances)


def test_the_newest_mask_must_be_near_each_of_the_others() -> None:
    far, near = (
        EarlyBird(check=1 / 8, queue=4, epsilon=epsilon, mask_share=0.5)
        .draw(swap(), 0.5)
        .notes
        for epsilon in (0.0, 0.3)
    )
    assert near["agreed"] == far["agreed"] == [True]
    assert len(near["distances"]) < len(far["distances"])
    for notes, epsilon in ((far, 0.0), (near, 0.3)):
        *before, last = notes["distances"]
        assert max(last) <= epsilon
        assert not any(
            len(distances) == 3 and max(distances) <= epsilon for distances in before
        )
        assert any(distances and distances[-1] <= epsilon for distances in before)


def test_a_ticket_that_goes_on_is_trained_for_the_rest_with_the_same_optimiser(
    points: Make,
) -> None:
    task, meter = points(), soup.Meter()
    ticket = EarlyBird(check=CHECK, queue=2, epsilon=1.0, finish="continue").draw(
        task, 0.5, meter
    )
    learner = task.learner(soup.Meter())
    learner.train(2)
    learner.apply_mask(ticket.mask)
    learner.train(13)
    assert ticket.ready
    assert meter.bill["train"].steps == 15
    assert all(
        torch.equal(learner.view()[name], part) for name, part in ticket.start.items()
    )


@pytest.mark.parametrize(("finish", "moved"), [("restart", True), ("rewind", False)])
def test_a_ticket_starts_over_from_where_it_stood_or_from_the_pre_trained_weights(
    points: Make, finish: Any, moved: bool
) -> None:
    task = points()
    ticket = EarlyBird(check=CHECK, queue=2, epsilon=1.0, finish=finish).draw(task, 0.5)
    learner = task.learner(soup.Meter())
    if moved:
        learner.train(2)
    learner.apply_mask(ticket.mask)
    assert not ticket.ready
    assert set(ticket.start) == (set(learner.view()) if moved else task.course.fresh)
    assert all(
        torch.equal(learner.view()[name], part) for name, part in ticket.start.items()
    )


def test_knobs_that_cannot_work_are_refused(points: Make) -> None:
    for knob, values in {
        "check": (0.0, -1.0, float("nan")),
        "queue": (0, 1),
        "epsilon": (-0.1, 1.1, float("nan")),
        "mask_share": (0.0, 1.1, float("nan")),
    }.items():
        for value in values:
            with pytest.raises(KnobError, match=knob):
                EarlyBird(**{knob: value})
    with pytest.raises(UnknownName, match="did you mean 'restart'"):
        EarlyBird(finish="restat")  # type: ignore[arg-type]
    meter = soup.Meter()
    with pytest.raises(
        KnobError, match="check is 3 epochs, or 24 steps, and the budget T has 15"
    ):
        EarlyBird(check=3).draw(points(), 0.5, meter)
    assert not meter.bill
