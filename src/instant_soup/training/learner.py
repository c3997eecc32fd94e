"""Learner: a model in training, always masked, always metered.

The one implementation of core's `Learner`, over any nn.Module. It moves a `MaskedModel` and a clock along together, and
knows who is charged. What it feeds on, how it is evaluated and scored, how a look-ahead leaves no trace, how a whole
training is kept and how a killed run goes on are files of their own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from copy import deepcopy
from math import ceil
from typing import Any

from ..core.budget import Meter, Purpose
from ..core.errors import TrainingError
from ..core.mask import Mask
from ..core.scope import Scope
from ..core.task import Base, Bookmark, Brief, Item, Sample, Seen, Shelf, Variation
from ..core.weights import Weights
from ..engine.workers import Workers
from .ahead import forked, packed_for_scouts, sent
from .course import Course
from .evaluation import Evaluation
from .feed import Feed
from .masked import MaskedModel
from .optim import RateLine
from .outcome import Outcome, trained_so_far, training_key
from .place import Clock, Place, Saved, Snapshot
from .regime import Regime
from .scoring import Scoring
from .seeds import stream
from .steps import Steps
from .tail import Tail


class ModuleLearner:
    """Train a copy of a course's model under a mask.

    Args:
        course: the model and what it learns.
        regime: how it trains.
        meter: what is charged, before each step.
        seed: of the run; the order of examples and the dropout follow from it.
        horizon: length of the learning-rate line in steps; the regime's T if not given.
        bookmark: where to save the place, so that a killed run goes on.
        shelf: where to keep whole trainings, so that none is done twice.
        workers: who carries out look-aheads, each a `Scout`; this process if None.
        free: whether nothing is charged, because who sent the look-aheads has paid for them.
    """

    def __init__(
        self,
        course: Course,
        regime: Regime,
        meter: Meter,
        *,
        seed: int = 0,
        horizon: int | None = None,
        bookmark: Bookmark | None = None,
        shelf: Shelf | None = None,
        workers: Workers | None = None,
        free: bool = False,
    ) -> None:
        self._course = course
        self._regime = regime
        self._meter = meter
        self._seed = seed
        self._horizon = regime.horizon(len(course.train)) if horizon is None else horizon
        self._line = RateLine.of(regime, self._horizon)

        # what changes as it goes on
        self._model = MaskedModel(course, regime)
        self._clock = Clock()
        self._tail = Tail.of(regime, self._horizon)
        self._aside: tuple[Mask, ...] = ()

        # what it works with
        self._feed = Feed(course, regime, self._model, meter, free)
        self._order = self._feed.order(Variation(seed=self.seed("order")))
        self._steps = Steps(self._feed, seed)
        self._evaluation = Evaluation(self._feed)
        self._scoring = Scoring(self._feed)
        self._workers = workers
        # a shelf holds whole tensors, and no rank has any where the model is cut
        self._shelf = None if self._model.layout.is_sharded else shelf
        self._bookmark = bookmark
        self._saved = Saved(bookmark)

    # what it is

    @property
    def scope(self) -> Scope:
        return self._model.scope

    @property
    def mask(self) -> Mask:
        return self._model.mask

    @property
    def base(self) -> Base:
        return self._course.base

    @property
    def origin(self) -> Weights:
        return self._model.origin()

    @property
    def fresh(self) -> frozenset[str]:
        return self._course.fresh

    @property
    def meter(self) -> Meter:
        return self._meter

    @property
    def steps_taken(self) -> int:
        return self._clock.steps

    @property
    def horizon(self) -> int:
        return self._horizon

    @property
    def epoch(self) -> int:
        return ceil(len(self._course.train) / self._regime.batch)

    @property
    def aside(self) -> Sequence[Mask]:
        return self._aside

    def set_aside(self, masks: Sequence[Mask]) -> None:
        self._aside = tuple(masks)

    @property
    def notes(self) -> Mapping[str, Sequence[Any]]:
        return deepcopy({**self._course.notes, **self._clock.notes})

    def note(self, key: str, value: Any) -> None:
        self._clock.notes.setdefault(key, []).append(value)

    def seed(self, *purpose: str | int) -> int:
        return stream(self._seed, *purpose)

    # weights and masks

    def view(self) -> Weights:
        return self._model.view()

    def weights(self) -> Weights:
        return {name: tensor.clone() for name, tensor in self.view().items()}

    def whole(self) -> Weights:
        """The live tensors at the first rank, put together where ranks hold them in parts. All ranks have to ask."""
        return self._model.whole()

    def restore(self, weights: Weights) -> None:
        self._model.restore(weights)

    def apply_mask(self, mask: Mask) -> None:
        self._model.apply_mask(mask)
        self._tail.forget()

    # training

    def train(self, steps: int, purpose: Purpose = "train") -> None:
        left = self._horizon - self._clock.steps
        if not 0 <= steps <= left:
            raise TrainingError(
                f"asked to train {steps} steps with {left} of {self._horizon} left; train longer or take fewer"
            )

        self._leg(self._clock.steps + steps, purpose, None)

    def complete(self, variation: Variation | None = None, *, at: int = 0) -> None:
        # before anything changes, and only if it is needed, for it reads all weights
        key = ""
        if self._shelf:
            key = training_key(self._feed, self._seed, variation, (at, self._horizon))

        self._model.start_over(variation or Variation())
        self._clock.steps = at
        self._clock.batches = at
        self._tail.forget()

        # claimed while it trains, so that whoever wants the same waits and then takes it
        with self._shelf.claim(key) if self._shelf else nullcontext():
            shelved = self._shelf.get(key) if self._shelf else None
            if shelved:
                Outcome.unpacked(*shelved).take_over(self._feed)
                # as if it had been trained here, so that a killed run finds its leg
                self._clock.leg += 1
                self._clock.steps = self._horizon
                return

            before = trained_so_far(self._meter)
            self._leg(self._horizon, "train", variation)
            outcome = Outcome.reached(self._feed, *before)

            # who takes the outcome from a shelf has no optimiser's memory either
            self._model.keep_moments(outcome.second_moments)
            self._model.start_over(variation or Variation())
            if self._shelf:
                self._shelf.put(key, *outcome.packed())

    def _leg(self, end: int, purpose: Purpose, variation: Variation | None) -> None:
        """Train up to step *end*: the main line, or a *variation* in an order of its own."""
        order = self._feed.order(variation) if variation else self._order
        dice = ("dropout", variation.seed) if variation else ("dropout",)
        variation = variation or Variation()

        self._clock.leg += 1
        self._model.keep_moments({})
        interrupted = self._saved.leg(self._clock)
        if interrupted:
            self.adopt(interrupted)

        while self._clock.steps < end:
            rate = variation.rate * self._line.at(self._clock.steps)
            batches = self._clock.batches
            indices = order.at(batches)
            self._steps.take(indices, purpose, rate, variation, (*dice, batches))

            self._clock.steps += 1
            self._clock.batches += 1
            self._tail.after(self._clock.steps, self._model)
            # the end of a leg is not saved: the next leg or the end of the round follows at once
            if self._bookmark and self._bookmark.due and self._clock.steps < end:
                self._save("leg")

    # looking ahead

    def look_ahead(
        self, briefs: Sequence[Brief], look: Callable[[ModuleLearner], Seen]
    ) -> Iterator[Seen]:
        if self._workers is not None:
            snapshot = self.snapshot(carry=any(brief.carry_optimizer for brief in briefs))
            yield from sent(self._workers, snapshot, briefs, look, self._feed)
            return

        for brief in briefs:
            with self._fork(brief):
                rate = brief.variation.rate * self._line.at(self._clock.steps)
                self._steps.look_ahead(brief, rate)
                seen = look(self)
            # outside of the fork, so that the method may change this learner between looks
            yield seen

    @contextmanager
    def _fork(self, brief: Brief) -> Iterator[None]:
        """Stand on a copy of the model with another clock; be oneself again at the end."""
        clock = self._clock
        bookmark = self._bookmark
        # a look-ahead's place must not be taken for that of the run
        self._bookmark = None
        self._clock = deepcopy(clock)

        try:
            with forked(self._model, brief):
                yield
        finally:
            self._clock = clock
            self._bookmark = bookmark

    def advance(self, weights: Weights, steps: int) -> None:
        self.restore(weights)
        self._clock.steps += steps

    # evaluation and scoring

    def evaluate(self) -> float:
        return self._evaluation.selected()

    def loss(self) -> float:
        return self._evaluation.loss()

    def test(self) -> dict[str, float]:
        """The task's figures on the test split. To be read once, after every choice is made."""
        return self._evaluation.test()

    def gradient(self, sample: Sample) -> Weights:
        return self._scoring.gradient(sample)

    def curvature(self, sample: Sample, temperature: float = 1.0) -> Weights:
        return self._scoring.curvature(sample, temperature)

    def inputs(
        self,
        examples: int,
        seed: int,
        *,
        second_moment: bool = False,
        subset: tuple[int, int] = (0, 1),
    ) -> Iterator[Weights]:
        return self._scoring.inputs(
            examples, seed, second_moment=second_moment, subset=subset
        )

    def second_moments(self) -> Weights:
        return self._model.second_moments()

    # its place

    def rounds(self, items: Iterable[Item]) -> Iterator[Item]:
        finished = self._saved.round()
        if finished:
            self.adopt(finished)

        done = self._clock.round
        for index, item in enumerate(items):
            if index >= done:
                yield item
                self._clock.round = index + 1
                self._clock.leg = 0
                self._save("round")

    def _save(self, name: str) -> None:
        if self._bookmark:
            self._bookmark.save(name, *self._place.packed(self._model.layout))

    @property
    def _place(self) -> Place:
        return Place(
            clock=self._clock,
            bill=self._meter.dump(),
            weights=self._model.tensors,
            mask=self.mask,
            aside=self._aside,
            memory=self._model.memory,
            tail=(self._tail.sums, self._tail.count),
        )

    def snapshot(self, *, carry: bool) -> Snapshot:
        """All that a look-ahead depends on but the course; with *carry* the optimiser's memory too."""
        place = self._place.for_look_aheads(carry=carry)
        return packed_for_scouts(place, self._feed, self._seed, self._horizon)

    def adopt(self, snapshot: Snapshot) -> None:
        """Stand where the learner stood that *snapshot* is of."""
        place = Place.unpacked(snapshot, self._model.layout, self._course.scope)
        self._clock = place.clock
        self._meter.load(place.bill)
        self._aside = place.aside
        self._tail.take_over(*place.tail)

        # the mask before the weights, which are taken over masked
        self._model.remember(place.memory)
        self._model.apply_mask(place.mask)
        self._model.restore(place.weights)
