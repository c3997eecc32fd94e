"""Whole trainings: what they depend on, what is kept of them, and how they go on after a kill."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

import instant_soup as soup
from instant_soup.core.budget import Cost
from instant_soup.core.prune import prune
from instant_soup.core.rounding import rounding_of
from instant_soup.core.score import magnitude
from instant_soup.core.task import Variation
from instant_soup.tasks import CourseTask
from instant_soup.training import optim
from instant_soup.training.learner import ModuleLearner
from instant_soup.training.order import Order
from instant_soup.training.outcome import training_key

Make = Callable[..., CourseTask]
Kept = tuple[dict[str, Tensor], dict[str, Any]]


@dataclass
class Rack:
    """A shelf in memory."""

    reused: bool = False
    kept: dict[str, Kept] = field(default_factory=dict)
    claimed: list[str] = field(default_factory=list)

    @contextmanager
    def claim(self, key: str) -> Iterator[None]:
        self.claimed.append(key)
        yield
        self.claimed.remove(key)

    def put(
        self, key: str, tensors: Mapping[str, Tensor], facts: Mapping[str, Any]
    ) -> None:
        assert key not in self.kept
        assert key in self.claimed
        self.kept[key] = (
            {name: tensor.clone() for name, tensor in tensors.items()},
            dict(facts),
        )

    def get(self, key: str) -> Kept | None:
        return (
            (self.kept[key][0], {**self.kept[key][1], "reused": self.reused})
            if key in self.kept
            else None
        )


class KilledError(Exception):
    """As if the power had gone."""


@dataclass
class Page:
    """A bookmark in memory that is always due, keeps no order of names, and kills after so many saves."""

    saves: int = 10**9
    places: dict[str, Kept] = field(default_factory=dict)
    due: bool = True

    def save(
        self, place: str, tensors: Mapping[str, Tensor], facts: Mapping[str, Any]
    ) -> None:
        self.places[place] = (
            {name: tensors[name].clone() for name in sorted(tensors, reverse=True)},
            dict(facts),
        )
        self.saves -= 1
        if not self.saves:
            raise KilledError

    def load(self, place: str) -> Kept | None:
        return self.places.get(place)


def equal(first: Mapping[str, Tensor], second: Mapping[str, Tensor]) -> bool:
    return first.keys() == second.keys() and all(
        torch.equal(first[name], second[name]) for name in first
    )


def halved(learner: ModuleLearner) -> ModuleLearner:
    learner.apply_mask(prune(magnitude(learner), learner.mask, 0.5))
    return learner


def completed(task: CourseTask, training: Variation | None = None) -> dict[str, Tensor]:
    learner = task.learner(soup.Meter())
    learner.complete(training)
    return dict(learner.weights())


# what it is


@pytest.mark.parametrize("world", ["mini", "mini_clip_task"])
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_a_whole_training_of_a_fresh_learner_is_its_main_line_to_the_bit(
    world: str, precision: str, request: pytest.FixtureRequest
) -> None:
    task: CourseTask = request.getfixturevalue(world)
    task = replace(task, regime=task.regime.model_copy(update={"precision": precision}))
    whole, line = halved(task.learner(soup.Meter())), halved(task.learner(soup.Meter()))
    whole.complete()
    line.train(line.horizon)
    assert equal(whole.weights(), line.weights())
    assert whole.meter.bill == line.meter.bill
    assert whole.steps_taken == line.steps_taken == 12


def test_each_whole_training_begins_anew(points: Make) -> None:
    """Nothing is left of what was trained before: no momentum, no place on the line or in the order."""
    learner, fresh = points().learner(soup.Meter()), points().learner(soup.Meter())
    learner.train(5)
    learner.complete()
    start = learner.weights()
    fresh.restore(start)
    learner.complete()
    fresh.complete()
    assert equal(learner.weights(), fresh.weights())
    assert not equal(learner.weights(), start)


@dataclass
class Heard:
    """A split that remembers what was asked of it."""

    inner: Any
    asked: list[list[int]] = field(default_factory=list)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)

    def __len__(self) -> int:
        return len(self.inner)

    def batch(self, indices: Sequence[int]) -> Any:
        self.asked.append(list(indices))
        return self.inner.batch(indices)


@pytest.mark.parametrize("at", [0, 4, 14])
def test_a_training_that_begins_later_has_the_rates_and_examples_of_later(
    points: Make, at: int
) -> None:
    task = points()
    train, rates = Heard(task.course.train), []
    learner = replace(task, course=replace(task.course, train=train)).learner(
        soup.Meter()
    )
    learner.meter.watch = lambda _: rates.append(
        learner._model.optimizer.param_groups[0]["lr"]
    )
    learner.complete(at=at)
    assert rates == pytest.approx([0.05 * (1 - step / 15) for step in range(at, 15)])
    order = Order(60, 8, learner.seed("order"))
    assert train.asked == [order.at(position) for position in range(at, 15)]
    assert learner.meter.bill["train"].steps == 15 - at
    assert learner.steps_taken == 15


# a training of its own


def own(task: CourseTask, **training: Any) -> dict[str, Tensor]:
    """Of the main line's order of examples, so that only what is given differs."""
    return completed(
        task, Variation(**{"seed": task.learner(soup.Meter()).seed("order"), **training})
    )


def test_a_training_that_does_not_differ_is_the_main_line(points: Make) -> None:
    assert equal(own(points()), completed(points()))


def test_its_rate_is_a_multiple_of_the_main_lines(points: Make) -> None:
    assert equal(own(points(), rate=2.0), completed(points(rate=0.1)))


def test_its_weight_decay_is_in_place_of_the_main_lines(points: Make) -> None:
    assert equal(own(points(), weight_decay=0.5), completed(points(weight_decay=0.5)))
    assert not equal(own(points(), weight_decay=0.0), own(points()))


def test_its_labels_are_smoothed(points: Make) -> None:
    task = points()

    def smooth(outputs: Tensor, targets: Tensor, _: float) -> Tensor:
        return F.cross_entropy(outputs, targets, label_smoothing=0.25)

    smoothed = replace(task, course=replace(task.course, loss=smooth))
    assert equal(own(task, label_smoothing=0.25), completed(smoothed))


def test_its_subset_is_all_that_it_sees(points: Make) -> None:
    task = points()
    train = Heard(task.course.train)
    completed(
        replace(task, course=replace(task.course, train=train)),
        Variation(subset=0.25, seed=3),
    )
    order = Order(60, 8, 3, subset=0.25)
    assert train.asked == [order.at(position) for position in range(15)]
    assert len({index for asked in train.asked for index in asked}) == 15


def test_its_seed_picks_the_order_of_examples(points: Make) -> None:
    first, again, other = (
        completed(points(), Variation(seed=seed)) for seed in (1, 1, 2)
    )
    assert equal(first, again)
    assert not equal(first, other)


def test_its_seed_picks_the_dropout(mini: CourseTask) -> None:
    """Of one example there is but one order."""
    one = mini.regime.model_copy(update={"batch": 1, "steps": 2})
    first, other = (
        completed(replace(mini, regime=one), Variation(seed=seed, subset=1e-9))
        for seed in same_example(mini)
    )
    assert not equal(first, other)


def same_example(task: CourseTask) -> list[int]:
    """Two seeds whose smallest subset is the same example."""
    size = len(task.course.train)
    firsts: dict[int, int] = {}
    for seed in range(size + 1):
        (index,) = Order(size, 1, seed, task.course.train.lengths, 1e-9).at(0)
        if index in firsts:
            return [firsts[index], seed]
        firsts[index] = seed
    raise AssertionError("more seeds than examples")


# the shelf


def shelved(task: CourseTask, rack: Rack) -> CourseTask:
    return replace(task, shelf=rack)


@pytest.mark.parametrize(
    ("training", "at"),
    [(None, 0), (None, 4), (Variation(rate=2.0, seed=3, subset=0.5), 0)],
)
def test_what_is_on_the_shelf_is_not_trained_again_and_charged_all_the_same(
    points: Make, training: Variation | None, at: int
) -> None:
    rack, task = Rack(), points()
    first = halved(shelved(task, rack).learner(soup.Meter()))
    first.complete(training, at=at)
    sealed = replace(task, course=replace(task.course, predict=lambda *_: 1 / 0))
    second = halved(shelved(sealed, rack).learner(soup.Meter()))
    rack.reused = True
    second.complete(training, at=at)
    assert equal(second.weights(), first.weights())
    assert second.mask == first.mask
    assert second.meter.bill == first.meter.bill
    assert second.steps_taken == first.steps_taken == 15
    assert second.meter.reused == first.meter.spent
    assert first.meter.reused == Cost()


def test_each_training_is_kept_with_its_own_cost(points: Make) -> None:
    """Not with that of the trainings before it."""
    rack, bills = Rack(), []
    for _ in range(2):
        learner = shelved(points(), rack).learner(soup.Meter())
        for at in (0, 5):
            learner.complete(at=at)
            bills.append(learner.meter.bill["train"])
    assert len(rack.kept) == 2
    assert bills[2:] == bills[:2]
    assert [bill.steps for bill in bills] == [15, 25] * 2


def test_what_this_run_put_on_the_shelf_itself_is_not_reused(points: Make) -> None:
    """A run that was killed takes its own trainings from there, and its bill says nothing of that."""
    rack = Rack(reused=False)
    for _ in range(2):
        learner = shelved(points(), rack).learner(soup.Meter())
        learner.complete()
        assert learner.meter.reused == Cost()
        assert learner.meter.bill["train"].steps == 15


def test_it_goes_on_from_the_shelf_as_from_training(points: Make) -> None:
    """Nothing of the training but its weights is seen in what comes next."""
    rack = Rack()
    outcomes = []
    for _ in range(2):
        learner = shelved(points(), rack).learner(soup.Meter())
        learner.complete()
        assert not optim.moments(learner._model.optimizer, learner._model.parameters)
        halved(learner)
        before = learner.weights()
        learner._shelf = None  # the second training is done both times
        learner.complete(at=3)
        assert not equal(before, learner.weights())
        outcomes.append((learner.weights(), learner.meter.bill))
    assert equal(outcomes[0][0], outcomes[1][0])
    assert outcomes[0][1] == outcomes[1][1]
    assert len(rack.kept) == 1


def test_the_key_is_all_that_a_training_depends_on_and_nothing_else(points: Make) -> None:
    def key(
        task: CourseTask | None = None, *, horizon: int | None = None, **given: Any
    ) -> str:
        learner = (task or points()).learner(soup.Meter(), horizon=horizon)
        given.get("prepare", lambda _: None)(learner)
        line = (given.get("at", 0), learner.horizon)
        return training_key(learner._feed, learner._seed, given.get("training"), line)

    def nudge(learner: ModuleLearner) -> None:
        learner.restore({"head.bias": learner.view()["head.bias"] + 1e-6})

    def there_and_back(learner: ModuleLearner) -> None:
        learner.train(2)
        learner.note("been", "there")
        learner.restore(learner.origin)

    task = points()
    same = key()
    assert key(prepare=there_and_back) == same
    others = [
        key(prepare=halved),
        key(prepare=nudge),
        key(at=1),
        key(horizon=16),
        *(
            key(training=training)
            for training in (
                Variation(),
                Variation(rate=2.0),
                Variation(weight_decay=0.0),
            )
        ),
        *(
            key(training=training)
            for training in (Variation(label_smoothing=0.1), Variation(subset=0.5))
        ),
        key(training=Variation(seed=1)),
        key(replace(task, seed=1)),
        key(points(rate=0.04)),
        key(points(batch=4)),
        key(points(precision="bfloat16")),
        key(replace(task, course=replace(task.course, name="other"))),
    ]
    assert len({same, *others}) == 1 + len(others)


def test_a_mask_is_part_of_the_key_even_where_it_changes_no_weight(points: Make) -> None:
    """A weight that is zero and one that is pruned train apart."""
    rack, outcomes = Rack(), []
    for masked in (True, False):
        learner = halved(shelved(points(), rack).learner(soup.Meter()))
        if not masked:
            learner.apply_mask(soup.Mask.dense(learner.scope))
        learner.complete()
        outcomes.append(learner.weights())
    assert len(rack.kept) == 2
    assert not equal(*outcomes)


# kills


@pytest.mark.parametrize("shelf", [True, False])
@pytest.mark.parametrize("tail", [None, 0.5])
@pytest.mark.parametrize("saves", [1, 8, 14, 20, 33])
def test_a_training_that_was_killed_goes_on_to_the_same_outcome_and_bill(
    points: Make, saves: int, tail: float | None, shelf: bool
) -> None:
    """Three whole trainings with a choice between; a save comes after each step but the last."""

    def work(task: CourseTask) -> ModuleLearner:
        learner = task.learner(soup.Meter())
        for target in (0.3, 0.6):
            learner.complete(Variation(rate=2.0, seed=1) if target > 0.5 else None, at=1)
            learner.note("validation", learner.evaluate())
            learner.apply_mask(prune(magnitude(learner), learner.mask, target))
            learner.restore(learner.origin)
        learner.complete()
        return learner

    wanted = work(points(tail=tail))
    page, rack = Page(saves), Rack() if shelf else None
    with pytest.raises(KilledError):
        work(replace(points(tail=tail), bookmark=page, shelf=rack))
    task = replace(points(tail=tail), bookmark=page, shelf=rack)
    train = Heard(task.course.train)
    found = work(replace(task, course=replace(task.course, train=train)))
    assert equal(found.weights(), wanted.weights())
    assert found.mask == wanted.mask
    assert found.meter.bill == wanted.meter.bill
    assert found.notes == wanted.notes
    assert found.meter.reused == Cost()
    # legs of 14, 14 and 15 steps, saved after each step but the last
    leg, step = divmod(saves - 1, 13)
    assert len(train.asked) == 14 + 14 + 15 - (step + 1) - (14 * leg if shelf else 0)


def test_a_kill_between_the_shelf_and_the_next_save_trains_nothing_twice(
    points: Make,
) -> None:
    page, rack = Page(), Rack()
    task = replace(points(), bookmark=page, shelf=rack)
    task.learner(soup.Meter()).complete()  # and killed here
    train = Heard(task.course.train)
    learner = replace(task, course=replace(task.course, train=train)).learner(
        soup.Meter()
    )
    learner.complete()
    halved(learner)
    learner.complete()
    assert len(train.asked) == 15
    assert learner.meter.bill["train"].steps == 30


# aside


def test_masks_set_aside_survive_a_kill(points: Make) -> None:
    """At the end of a round, and in the middle of a leg."""

    def work(task: CourseTask) -> ModuleLearner:
        learner = task.learner(soup.Meter())
        for i in learner.rounds(range(4)):
            learner.train(3)
            learner.set_aside(
                [*learner.aside, prune(magnitude(learner), learner.mask, 0.2 + i / 10)][
                    -3:
                ]
            )
        return learner

    wanted = work(points())
    assert len(set(wanted.aside)) == 3
    for saves in range(1, 12):
        page = Page(saves)
        with pytest.raises(KilledError):
            work(replace(points(), bookmark=page))
        page.saves = -1
        found = work(replace(points(), bookmark=page))
        assert found.aside == wanted.aside
        assert found.meter.bill == wanted.meter.bill
        assert equal(found.weights(), wanted.weights())


def test_more_than_nine_masks_come_back_each_as_itself(points: Make) -> None:
    page = Page()
    task = replace(points(), bookmark=page)
    learner = task.learner(soup.Meter())
    learner.set_aside(
        [prune(magnitude(learner), learner.mask, i / 20) for i in range(12)]
    )
    aside = learner.aside
    for _ in learner.rounds([0]):
        learner.train(1)
    later = task.learner(soup.Meter())
    list(later.rounds([0]))
    assert later.aside == aside


# the loss


@pytest.mark.parametrize("world", ["mini", "mini_clip_task"])
def test_the_loss_is_the_mean_over_the_validation_split_without_dropout(
    world: str, request: pytest.FixtureRequest
) -> None:
    task: CourseTask = request.getfixturevalue(world)
    learner = task.learner(soup.Meter())
    learner.train(3)
    before = learner.meter.spent
    total, split = 0.0, task.course.validation
    loss = learner.loss()
    with torch.no_grad():
        learner._model.module.eval()
        for i in range(len(split)):
            batch = dict(split.batch([i]))
            labels = batch.pop("labels")
            outputs = learner._model.module(**batch).logits
            total += float(F.cross_entropy(outputs, labels))
    assert loss == pytest.approx(
        total / len(split), abs=rounding_of(learner._model.module, outputs)
    )
    assert learner.loss() == loss
    spent = learner.meter.spent - before
    assert (spent.steps, spent.passes) == (0, 2 * len(split))
    assert learner.meter.bill["select"] == spent


def test_an_epoch_is_the_steps_that_see_every_example_once(points: Make) -> None:
    assert points(batch=8).learner(soup.Meter()).epoch == 8
    assert points(batch=60).learner(soup.Meter()).epoch == 1
    assert points(batch=59).learner(soup.Meter()).epoch == 2
