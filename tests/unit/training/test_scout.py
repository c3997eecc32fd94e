"""Look-aheads that are sent away, over workers that pack and unpack all that passes but stays in this process."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from dataclasses import replace
from typing import Any

import pytest
import torch

import instant_soup as soup
from instant_soup.core.errors import BudgetSpent, EngineError, TrainingError
from instant_soup.core.prune import prune
from instant_soup.core.score import magnitude
from instant_soup.core.task import Base, Brief, Learner, Variation
from instant_soup.engine import wire
from instant_soup.soup.denoiser import Protocols
from instant_soup.tasks import CourseTask
from instant_soup.training.scout import Scout

Make = Callable[..., CourseTask]
BRIEFS = [
    Brief(2, Variation(rate=2.0, seed=1)),
    Brief(3, Variation(subset=0.5, label_smoothing=0.1, seed=2)),
]


class Nearby:
    """Has scouts carry out errands, each by the next in turn, as if they were far."""

    def __init__(self, task: CourseTask, scouts: int = 2) -> None:
        self.scouts = [Scout(task.course) for _ in range(scouts)]
        self.moved: list[int] = []

    def each(
        self, shared: Any, errands: Sequence[Any], names: Sequence[str]
    ) -> Generator[Any]:
        assert len(names) == len(errands)
        packed, turn = wire.pack(shared), len(self.moved)
        self.moved.append(packed.size)

        def answers() -> Generator[Any]:
            for number, errand in enumerate(errands):
                scout = self.scouts[(turn + number) % len(self.scouts)]
                yield wire.pack(scout(packed.look(), errand)).open()

        return answers()


def afar(task: CourseTask, scouts: int = 2) -> CourseTask:
    return replace(task, workers=Nearby(task, scouts))  # type: ignore[arg-type]


def weights(learner: Learner) -> Any:
    return learner.weights()


def after_some(task: CourseTask) -> Any:
    learner = task.learner(soup.Meter())
    learner.train(3)
    learner.apply_mask(prune(magnitude(learner), learner.mask, 0.4))
    learner.train(1)
    return learner


@pytest.mark.parametrize("carry", [False, True])
def test_a_look_ahead_sees_the_same_wherever_it_is_done(
    points: Make, *, carry: bool
) -> None:
    briefs = [replace(brief, carry_optimizer=carry) for brief in BRIEFS]
    here, there = (after_some(task) for task in (points(), afar(points())))
    for seen, other in zip(
        here.look_ahead(briefs, weights), there.look_ahead(briefs, weights), strict=True
    ):
        assert seen.keys() == other.keys()
        assert all(torch.equal(seen[name], other[name]) for name in seen)
    assert here.meter.bill == there.meter.bill
    here.train(2)
    there.train(2)
    assert all(torch.equal(here.view()[name], there.view()[name]) for name in here.view())


QUICK = {
    "lookahead_steps": 2,
    "compression": 0.25,
    "denoisers": 3,
    "round_steps": 1,
    "carry": "none",
}


@pytest.mark.parametrize(
    "knobs",
    [
        {"blend": "votes"},
        {"blend": "lookahead", "carry_optimizer": True},
        {"carry": "mean", "finish": "continue"},
        {"settled": 0.2, "denoisers": 5},
        {"blend": "union", "lookahead_warmup": 2},
        {"score": "curved", "blend": "bound", "protocols": Protocols(subsets="disjoint")},
        {
            "score": "curved",
            "blend": "lookahead",
            "carry_optimizer": True,
            "protocols": Protocols(subsets="classes"),
        },
        {
            "score": "curved",
            "carry": "mean",
            "blend": "extrapolated",
            "progress": "row",
            "finish": "continue",
        },
    ],
)
@pytest.mark.parametrize("scouts", [1, 3])
def test_a_ticket_is_the_same_wherever_its_look_aheads_are_done(
    points: Make, knobs: dict[str, Any], scouts: int
) -> None:
    method = soup.InstantSoup(**{**QUICK, **knobs})
    task = points(steps=60)
    here, there = (method.draw(world, 0.6) for world in (task, afar(task, scouts)))
    assert there.digest == here.digest
    assert there.cost == here.cost
    assert there.notes == here.notes


def test_the_soup_that_stirs_ingredients_in_is_the_same_too(points: Make) -> None:
    method, task = (
        soup.InstantModelSoup(ingredients=2, lookahead_steps=2),
        points(steps=60),
    )
    assert method.draw(afar(task), 0.5).digest == method.draw(task, 0.5).digest


def test_the_optimisers_memory_travels_only_where_it_is_carried_on(points: Make) -> None:
    learner = after_some(task := afar(points()))
    list(learner.look_ahead(BRIEFS, weights))
    list(learner.look_ahead([replace(BRIEFS[0], carry_optimizer=True)], weights))
    plain, carrying = task.workers.moved  # type: ignore[union-attr]
    size = sum(tensor.nbytes for tensor in learner.view().values())
    assert plain < carrying - 1.9 * size


def test_a_limit_stops_a_draw_with_the_same_bill(points: Make) -> None:
    bills = []
    for task in (points(), afar(points())):
        learner = task.learner(meter := soup.Meter(limit=3 * 8 * 4))
        with pytest.raises(BudgetSpent, match="look-ahead needs 24 passes"):
            list(learner.look_ahead(BRIEFS, weights))
        bills.append(meter.bill)
    assert bills[0] == bills[1]


def test_progress_is_told_with_the_loss_there(points: Make) -> None:
    pulses: list[Any] = []
    learner = afar(points()).learner(soup.Meter(watch=pulses.append))
    list(learner.look_ahead(BRIEFS, weights))
    assert [pulse.purpose for pulse in pulses] == ["look-ahead"] * 2
    assert all(0 < pulse.loss < 10 for pulse in pulses)
    assert [pulse.spent.steps for pulse in pulses] == [2, 5]


def test_a_scout_of_another_model_refuses(points: Make) -> None:
    task = points()
    other = Scout(replace(task.course, base=Base("points", "0" * 64)))
    snapshot = task.learner(soup.Meter()).snapshot(carry=False)
    with pytest.raises(
        EngineError,
        match=r"a worker has 'points' with weights 0{12} and 60 examples, and what was sent",
    ):
        other(snapshot, (BRIEFS[0], weights))


def test_workers_serve_other_seeds_and_other_regimes_of_its_course_too(
    points: Make,
) -> None:
    method, task = (
        soup.InstantSoup(lookahead_steps=2, compression=0.25, round_steps=1),
        points(steps=60),
    )
    shared = afar(task)
    for change in (
        {"seed": 5},
        {"regime": soup.Regime(steps=70, batch=8, rate=0.01, precision="float32")},
    ):
        assert (
            method.draw(replace(shared, **change), 0.6).digest
            == method.draw(replace(task, **change), 0.6).digest
        )
    assert method.draw(shared, 0.6).digest == method.draw(task, 0.6).digest


def test_a_scout_that_failed_stands_where_it_stood(points: Make) -> None:
    task = points()
    scout = Scout(task.course)
    snapshot = after_some(task).snapshot(carry=False)
    with pytest.raises(TrainingError):
        scout(snapshot, (Brief(1, Variation(rate=float("nan"), seed=0)), _diverged))
    (seen, _), (fresh, _) = (
        one(snapshot, (BRIEFS[0], weights)) for one in (scout, Scout(task.course))
    )
    assert all(torch.equal(seen[name], fresh[name]) for name in seen)


def _diverged(learner: Learner) -> None:
    raise TrainingError("the loss is nan")
