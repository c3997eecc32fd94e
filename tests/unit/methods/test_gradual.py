"""Gradual: cuts inside one fine-tune."""

from __future__ import annotations

from collections.abc import Callable

import pytest

import instant_soup as soup
from instant_soup.core.errors import KnobError, UnknownName
from instant_soup.core.score import curved, magnitude
from instant_soup.tasks import CourseTask

Make = Callable[..., CourseTask]


def test_cuts_are_evenly_spaced_in_their_share_of_the_budget_and_the_line_goes_on(
    points: Make,
) -> None:
    task = points(steps=20)
    ticket = soup.Gradual(rounds=3, mask_share=0.6).draw(task, 0.9)
    learner = task.learner(soup.Meter())
    for steps, target in ((4, 0.3), (4, 0.6), (4, 0.9)):
        learner.train(steps)
        learner.apply_mask(soup.prune(magnitude(learner), learner.mask, target))
    learner.train(8)
    assert ticket.mask == learner.mask
    assert all(
        (learner.view()[name] == part).all() for name, part in ticket.start.items()
    )


@pytest.mark.parametrize(
    ("schedule", "kept"),
    [("linear", [118, 67, 17]), ("cubic", [62, 22, 17]), ("geometric", [78, 36, 17])],
)
def test_sparsity_grows_by_the_schedule(
    points: Make, schedule: str, kept: list[int]
) -> None:
    seen: list[int] = []
    meter = soup.Meter(
        watch=lambda pulse: seen.append(round((1 - (pulse.sparsity or 0)) * 168))
    )
    soup.Gradual(rounds=3, mask_share=0.6, schedule=schedule).draw(points(), 0.9, meter)
    assert list(dict.fromkeys(seen)) == [168, *kept]


def test_cuts_may_begin_later_and_are_evenly_spaced_from_there(points: Make) -> None:
    seen, meter = {}, soup.Meter()
    meter.watch = lambda pulse: seen.setdefault(
        round(pulse.sparsity or 0, 3), meter.bill["train"].steps
    )
    soup.Gradual(rounds=3, mask_start=0.2, mask_share=0.8).draw(
        points(steps=20), 0.9, meter
    )
    assert list(seen.values()) == [1, 9, 13, 17]  # the first step at each sparsity


def test_a_curved_cut_goes_by_the_memory_of_gradients(points: Make) -> None:
    task = points(steps=20)
    ticket = soup.Gradual(rounds=2, mask_share=0.5, score="curved").draw(task, 0.8)
    learner = task.learner(soup.Meter())
    for target in (0.4, 0.8):
        learner.train(5)
        learner.apply_mask(soup.prune(curved(learner), learner.mask, target))
    assert ticket.mask == learner.mask
    assert ticket.mask != soup.Gradual(rounds=2, mask_share=0.5).draw(task, 0.8).mask
    assert "score" not in ticket.notes


def test_cuts_before_any_training_go_by_magnitude_and_say_so(points: Make) -> None:
    ticket = soup.Gradual(rounds=2, mask_share=0.0, score="curved").draw(points(), 0.5)
    assert ticket.mask == soup.OneShot().draw(points(), 0.5).mask
    assert len(ticket.notes["score"]) == 1


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
    for start in (-0.1, 0.6):
        with pytest.raises(KnobError, match="mask_start is"):
            soup.Gradual(mask_start=start)
    with pytest.raises(UnknownName, match="did you mean 'curved'"):
        soup.Gradual(score="curve")
