"""Learner: a model in training, always masked, always metered.

The one implementation of core's `Learner`, over any nn.Module. It owns what has to change together: weights, mask,
optimiser and clock. There are no hooks on modules and no second parameter per weight; the masks are kept here, by
parameter name. What it feeds on, how it is evaluated and scored, how a look-ahead leaves no trace and how a killed run
goes on are files of their own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from copy import deepcopy
from dataclasses import asdict
from math import ceil
from typing import Any
from uuid import uuid4

import torch
from torch import Tensor
from torch.optim import AdamW

from ..core.budget import Cost, Meter, Purpose
from ..core.content import content_key
from ..core.errors import ScopeError, TrainingError
from ..core.mask import Mask
from ..core.ranks.agreement import check_agreement
from ..core.scope import Scope
from ..core.task import Base, Bookmark, Brief, Item, Sample, Seen, Shelf, Training
from ..core.weights import Weights, digest
from ..engine.workers import Workers
from . import optim
from .ahead import copied, sent
from .course import Course
from .device import accelerator
from .evaluation import answers
from .feed import Feed
from .layout import Layout, local, tensors_of
from .loop import step
from .order import Order
from .place import Clock, Saved, Snapshot, inside, under
from .regime import Regime
from .scoring import Scoring
from .seeds import borrowed, stream


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
        crew: who carries out look-aheads, each a `Scout`; this process if None.
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
        crew: Workers | None = None,
        free: bool = False,
    ) -> None:
        self._course = course
        self._regime = regime
        self._meter = meter
        self._seed = seed
        self._horizon = regime.horizon(len(course.train)) if horizon is None else horizon
        self._line = optim.RateLine.of(regime, self._horizon)

        # the model
        self._accelerator = accelerator(regime.precision)
        model = deepcopy(course.model)
        plain_forward = model.forward  # Accelerate puts autocast around it
        self._layout = Layout(model, self._accelerator)
        self._model = self._layout.model
        self._module = self._layout.module
        self._scope = course.scope.cut(self._layout.shards)
        self._tensors = tensors_of(self._module)
        self._parameters = {
            name: p for name, p in self._module.named_parameters() if p.requires_grad
        }

        # what changes as it goes on
        self._mask = Mask.dense(self._scope)
        self._keep: dict[str, Tensor] = {}
        self._optimizer = self._fresh_optimizer(Training())
        self._clock = Clock()
        # second moments of the last whole training
        self._completed: dict[str, Tensor] = {}
        self._aside: tuple[Mask, ...] = ()

        # what it works with
        self._feed = Feed(
            course,
            regime,
            self._layout,
            self._accelerator.device,
            meter,
            lambda: self._mask.sparsity,
            free,
        )
        self._order = self._feed.order(Training(seed=self.seed("order")))
        self._scoring = Scoring(
            self._feed,
            self._module,
            plain_forward,
            self._parameters,
            self._scope,
            str(self._accelerator.mixed_precision),
        )
        self._crew = crew
        self._shelf = None if self._layout.cut else shelf  # it holds whole tensors
        self._bookmark = bookmark
        self._saved = Saved(bookmark)

    # what it is

    @property
    def scope(self) -> Scope:
        return self._scope

    @property
    def mask(self) -> Mask:
        return self._mask

    @property
    def base(self) -> Base:
        return self._course.base

    @property
    def origin(self) -> Weights:
        part = self._layout.shards.part
        return {
            name: part(name, tensor.detach())
            for name, tensor in tensors_of(self._course.model).items()
        }

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
        return deepcopy(self._clock.notes)

    def note(self, key: str, value: Any) -> None:
        self._clock.notes.setdefault(key, []).append(value)

    def seed(self, *purpose: str | int) -> int:
        return stream(self._seed, *purpose)

    # weights and masks

    def view(self) -> Weights:
        return {name: local(tensor.detach()) for name, tensor in self._tensors.items()}

    def weights(self) -> Weights:
        return {name: tensor.clone() for name, tensor in self.view().items()}

    def whole(self) -> Weights:
        """The live tensors at the first rank, put together where ranks hold them in parts. All ranks have to ask."""
        put_together = self._layout.shards.whole
        whole = {name: put_together(name, part) for name, part in self.view().items()}
        return {name: tensor for name, tensor in whole.items() if tensor is not None}

    @torch.no_grad()
    def restore(self, weights: Weights) -> None:
        live = self.view()
        for name, tensor in weights.items():
            if name not in live:
                raise ScopeError(
                    f"weights hold {name!r} of shape {tuple(tensor.shape)}, and the model has nothing there"
                )
            live[name].copy_(self._layout.part(name, tensor, live[name]))

        self._zero_pruned()

    def apply_mask(self, mask: Mask) -> None:
        if mask.scope != self.scope:
            raise ScopeError(
                f"the mask is for {mask.scope}, and this model has {self.scope}"
            )

        self._mask = self._layout.mask(mask)
        if not self._layout.cut:  # else no two ranks hold the same part of it
            check_agreement(self._mask, self._layout.team)

        self._keep = {}
        for name, kept in self._mask.kept_by_name.items():
            if kept < self._mask.scope.numel(name):
                self._keep[name] = self._mask[name].to(local(self._parameters[name]))
        self._zero_pruned()

    @torch.no_grad()
    def _zero_pruned(self) -> None:
        for name, keep in self._keep.items():
            parameter = self._parameters[name]
            dead = keep == 0
            # not a product: that could leave -0.0 or NaN
            local(parameter).masked_fill_(dead, 0.0)
            optim.forget(self._optimizer, parameter, keep)
            if name in self._completed:
                self._completed[name] = self._completed[name].masked_fill(dead, 0.0)

    # training

    def train(self, steps: int, purpose: Purpose = "train") -> None:
        left = self._horizon - self._clock.steps
        if not 0 <= steps <= left:
            raise TrainingError(
                f"asked to train {steps} steps with {left} of {self._horizon} left; train longer or take fewer"
            )
        self._leg(
            self._clock.steps + steps, purpose, Training(), self._order, ("dropout",)
        )

    def complete(self, training: Training | None = None, *, at: int = 0) -> None:
        key = self._key(training, at) if self._shelf else ""  # it reads all weights
        self._optimizer = self._fresh_optimizer(training or Training())
        self._clock.steps = at
        self._clock.batches = at

        with self._shelf.claim(key) if self._shelf else nullcontext():
            shelved = self._shelf.get(key) if self._shelf else None
            if shelved:
                self._take(*shelved)
            else:
                self._make(key, training)

    def _take(self, tensors: Mapping[str, Tensor], facts: Mapping[str, Any]) -> None:
        """Stand at the end of a training that was on the shelf."""
        self._meter.charge(
            "train",
            Cost(**facts["cost"]),
            reused=facts["reused"],
            seconds=facts["seconds"],
        )
        self._feed.tell("train")
        self._clock.leg += 1
        self._clock.steps = self._horizon

        self.restore(inside("weights", tensors))
        self._completed = {
            name: moment.to(self._parameters[name].device)
            for name, moment in inside("second moments", tensors).items()
        }

    def _make(self, key: str, training: Training | None) -> None:
        """Train to the end, and shelve the outcome."""
        cost = self._meter.bill.get("train", Cost())
        seconds = self._meter.seconds.get("train", 0.0)

        if training is None:
            self._leg(self._horizon, "train", Training(), self._order, ("dropout",))
        else:
            order = self._feed.order(training)
            self._leg(self._horizon, "train", training, order, ("dropout", training.seed))

        self._completed = dict(self.second_moments())
        # as who takes it from the shelf has it
        self._optimizer = self._fresh_optimizer(training or Training())

        if self._shelf is not None:
            outcome = under("weights", self.view()) | under(
                "second moments", self._completed
            )
            facts = {
                "cost": asdict(self._meter.bill["train"] - cost),
                "seconds": self._meter.seconds["train"] - seconds,
            }
            self._shelf.put(key, outcome, facts)

    def _key(self, training: Training | None, at: int) -> str:
        """What a whole training depends on, in one hash."""
        live = self.view()
        facts = {
            "course": self._course.name,
            "regime": self._regime.model_dump(mode="json"),
            "seed": self._seed,
            "training": asdict(training) if training else None,
            "line": [at, self._horizon],
            "mask": self._mask.digest,
            "weights": digest(live, sorted(live)),
            "outcome": ["weights", "second moments"],
        }

        return content_key(facts)

    def _leg(
        self,
        end: int,
        purpose: Purpose,
        training: Training,
        order: Order,
        dice: tuple[str | int, ...],
    ) -> None:
        self._clock.leg += 1
        self._completed = {}
        interrupted = self._saved.leg(self._clock)
        if interrupted:
            self.adopt(interrupted)

        while self._clock.steps < end:
            rate = training.rate * self._line.at(self._clock.steps)
            batches = self._clock.batches
            self._step(order.at(batches), purpose, rate, training, (*dice, batches))

            self._clock.steps += 1
            self._clock.batches += 1
            if self._bookmark and self._bookmark.due and self._clock.steps < end:
                self._save("leg")

    def _step(
        self,
        indices: list[int],
        purpose: Purpose,
        rate: float,
        training: Training,
        dice: tuple[str | int, ...],
    ) -> None:
        batch = self._feed.charged(purpose, self._course.train, indices, 3, steps=1)
        for group in self._optimizer.param_groups:
            group["lr"] = rate

        rank = self._layout.team.rank
        with borrowed():
            torch.manual_seed(
                self.seed(*dice, "rank", rank) if rank else self.seed(*dice)
            )
            self._model.train()
            loss = step(
                self._accelerator,
                self._model,
                self._optimizer,
                self._parameters,
                self._keep,
                self._feed.micro(batch, indices),
                self._course.batch_loss,
                training.label_smoothing,
                self._regime.clip,
                self._layout.team,
            )
        self._feed.tell(purpose, loss)

    def _fresh_optimizer(self, training: Training) -> AdamW:
        decay = (
            self._regime.weight_decay
            if training.weight_decay is None
            else training.weight_decay
        )
        return optim.adamw(self._parameters.values(), decay)

    # looking ahead

    def look_ahead(
        self, briefs: Sequence[Brief], look: Callable[[ModuleLearner], Seen]
    ) -> Iterator[Seen]:
        if self._crew is not None:
            snapshot = self.snapshot(carry=any(brief.carry_optimizer for brief in briefs))
            yield from sent(self._crew, snapshot, briefs, look, self._feed)
            return

        for brief in briefs:
            with self._fork(brief):
                self._go_ahead(brief)
                seen = look(self)
            yield seen

    @contextmanager
    def _fork(self, brief: Brief) -> Iterator[None]:
        """Stand on a copy of the weights with another optimiser and another clock; be oneself again at the end."""
        optimizer = self._optimizer
        clock = self._clock
        bookmark = self._bookmark

        with copied(self._tensors, self._layout):
            self._optimizer = self._fresh_optimizer(brief.training)
            if brief.carry_optimizer:
                optim.remember(
                    self._optimizer,
                    self._parameters,
                    optim.moments(optimizer, self._parameters),
                )
            self._clock = deepcopy(clock)
            self._bookmark = None

            try:
                yield
            finally:
                self._optimizer = optimizer
                self._clock = clock
                self._bookmark = bookmark

    def _go_ahead(self, brief: Brief) -> None:
        """Train as *brief* says, at a rate that stays what it is here."""
        training = brief.training
        order = self._feed.order(training)
        rate = training.rate * self._line.at(self._clock.steps)

        for position in range(brief.steps):
            warm = min(1.0, (position + 1) / brief.warmup) if brief.warmup else 1.0
            dice = ("look-ahead dropout", training.seed, position)
            self._step(order.at(position), "look-ahead", warm * rate, training, dice)

    @torch.no_grad()
    def advance(self, weights: Weights, steps: int) -> None:
        self.restore(weights)
        self._clock.steps += steps

    # evaluation and scoring

    def evaluate(self) -> float:
        return self._course.selected(
            *answers(self._model, self._feed, self._course.validation, "select")
        )

    def loss(self) -> float:
        outputs, targets = answers(
            self._model, self._feed, self._course.validation, "select"
        )
        return float(self._course.loss(outputs, targets, 0.0))

    def test(self) -> dict[str, float]:
        """The task's figures on the test split. To be read once, after every choice is made."""
        return dict(
            self._course.metric(
                *answers(self._model, self._feed, self._course.test, "test")
            )
        )

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
        in_scope = {name: self._parameters[name] for name in self.scope}
        return optim.second_moments(self._optimizer, in_scope) or self._completed

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

    def _save(self, place: str) -> None:
        if self._bookmark:
            self._bookmark.save(place, *self._state())

    def snapshot(self, *, carry: bool) -> Snapshot:
        """All that a look-ahead depends on but the course; with *carry* the optimiser's memory too."""
        tensors, facts = self._state()
        left_out = ("aside/",) if carry else ("aside/", "optimizer/")
        needed = {
            name: tensor
            for name, tensor in tensors.items()
            if not name.startswith(left_out)
        }

        where = {
            "aside": 0,
            "horizon": self._horizon,
            "seed": self._seed,
            "regime": self._regime,
        }
        return needed, {**facts, **where, "of": self._course.mark, "token": uuid4().hex}

    def adopt(self, snapshot: Snapshot) -> None:
        """Stand where the learner stood that *snapshot* is of."""
        tensors, facts = snapshot
        self._clock = Clock(**facts["clock"])
        self._meter.load(facts["meter"])

        memory = {}
        for key, tensor in inside("optimizer", tensors).items():
            name = key.partition("/")[2]
            memory[key] = self._layout.placed(name, tensor)
        optim.remember(self._optimizer, self._parameters, memory)

        self.apply_mask(self._mask_from(tensors, "mask"))
        self._aside = tuple(
            self._mask_from(tensors, f"aside/{i}") for i in range(facts["aside"])
        )
        self.restore(inside("weights", tensors))

    def _state(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Weights, masks and moments, the live tensors; and where the learner stands."""
        tensors = under(
            "weights", {name: tensor.detach() for name, tensor in self._tensors.items()}
        )
        tensors |= under("mask", self._layout.saved(self._mask))
        for number, mask in enumerate(self._aside):
            tensors |= under(f"aside/{number}", self._layout.saved(mask))
        tensors |= under("optimizer", optim.moments(self._optimizer, self._parameters))

        return tensors, {
            "clock": asdict(self._clock),
            "meter": self._meter.dump(),
            "aside": len(self._aside),
        }

    def _mask_from(self, tensors: Mapping[str, Tensor], room: str) -> Mask:
        return self._layout.loaded(self._course.scope, inside(room, tensors))
