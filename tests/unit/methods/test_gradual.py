"""Gradual: cuts inside one fine-tune."""

from __future__ import annotations

from collections.abc import Callable

import pytest

import instant_soup as soup
from instant_soup.core.errors import KnobError, UnknownName
from instant_soup.core.score import magnitude
from instant_soup.tasks import CourseTask

Make = Callable[..., CourseTask]


def test_cuts_are_evenly_spaced_in_their_share_of_the_budget_and_the_line_goes_on(points: Make) -> None:
    task = points(steps=20)
    ticket = soup.Gradual(rounds=3, mask_share=0.6).draw(task, 0.9)
    learner = task.learner(soup.Meter())
    for steps, target in ((4, 0.3), (4, 0.6), (4, 0.9)):
        learner.train(steps)
        learner.apply_mask(soup.prune(magnitude(learner), learner.mask, target))
    learner.train(8)
    assert ticket.mask == learner.mask
    assert all((learner.view()[name] == part).all() for name, part in ticket.start.items())


@pytest.mark.parametrize(
    ("schedule", "kept"), [("linear", [118, 67, 17]), ("cubic", [62, 22, 17]), ("geometric", [78, 36, 17])]
)
def test_sparsity_grows_by_the_schedule(points: Make, schedule: str, kept: list[int]) -> None:
    seen: list[int] = []
    meter = soup.Meter(watch=lambda pulse: seen.append(round((1 - (pulse.sparsity or 0)) * 168)))
    soup.Gradual(rounds=3, mask_share=0.6, schedule=schedule).draw(points(), 0.9, meter)
    assert list(dict.fromkeys(seen)) == [168, *kept]


def test_all_cuts_may_come_before_any_training_or_up_to_its_end(points: Make) -> None:
    first = soup.Gradual(rounds=2, mask_share=0.0).draw(points(), 0.5)
    assert first.mask == soup.OneShot().draw(points(), 0.5).mask
    meter = soup.Meter()
    soup.Gradual(rounds=2, mask_share=1.0).draw(points(), 0.5, meter)
    assert meter.bill["train"].steps == 15


def test_knobs_that_cannot_work_are_refused() -> None:
    with pytest.raises(UnknownName, match="did you mean 'cubic'"):
        soup.Gradual(schedule="cubik")
    with pytest.raises(KnobError, match="rounds is 0"):
        soup.Gradual(rounds=0)
    for share in (-0.1, 1.1, float("nan")):
        with pytest.raises(KnobError, match="mask_share is"):
            soup.Gradual(mask_share=share)
