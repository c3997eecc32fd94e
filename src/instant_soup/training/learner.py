"""Learner: a model in training, always masked, always metered.

The one implementation of core's `Learner`, over any nn.Module. It owns the masks, by parameter
name: no hooks on modules, no second parameter per weight. A look-ahead trains on a copy of the
weights that is swapped in under the same module and dropped again, so it costs one copy and
leaves the parent's tensors untouched to the bit. The file is long because one object must own all of
what has to change together: weights, mask, optimiser, clock and place.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, nullcontext
from copy import deepcopy
from dataclasses import asdict, dataclass, field
from math import ceil
from typing import Any
from uuid import uuid4

import torch
from accelerate.utils import send_to_device
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.optim import AdamW

from ..core.budget import Cost, Meter, Purpose
from ..core.errors import ScopeError, TrainingError
from ..core.mask import Mask
from ..core.ranks.agreement import check_agreement
from ..core.scope import Scope
from ..core.task import Base, Bookmark, Brief, Item, Sample, Seen, Shelf, Training
from ..core.weights import Weights, digest
from ..engine.workers import Workers
from . import optim, sensitivity
from .course import Course, Examples
from .device import accelerator
from .inputs import PASSES, inputs_of
from .layout import Layout, local
from .leaning import leaning
from .loop import step
from .order import Order, chunks, in_order
from .regime import Regime
from .sample import balanced
from .seeds import borrowed, stream

EVALUATION_BATCH = 256
Snapshot = tuple[Mapping[str, Tensor], Mapping[str, Any]]
"""Where a learner stands: tensors, and plain data."""


@dataclass
class _Clock:
    """Where a learner stands. What a look-ahead advances is a copy of it."""

    steps: int = 0  # on the learning-rate line
    batches: int = 0  # in the order of examples
    round: int = 0
    leg: int = 0
    notes: dict[str, list[Any]] = field(default_factory=dict)


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
        self._course, self._regime, self._meter, self._seed = course, regime, meter, seed
        self._horizon = regime.horizon(len(course.train)) if horizon is None else horizon
        self._accelerator = accelerator(regime.precision)
        model = deepcopy(course.model)
        self._plain_forward = model.forward  # Accelerate puts autocast around it
        self._layout = Layout(model, self._accelerator)
        self._model, self._module = self._layout.model, self._layout.module
        self._scope = course.scope.cut(self._layout.shards)
        self._tensors = _tensors(self._module)
        self._parameters = {name: p for name, p in self._module.named_parameters() if p.requires_grad}
        self._mask = Mask.dense(self._scope)
        self._keep: dict[str, Tensor] = {}
        self._optimizer = self._fresh_optimizer(Training())
        self._line = _line_of(regime, self._horizon)
        self._order = self._ordered(Training(seed=self.seed("order")))
        self._clock = _Clock()
        self._completed: dict[str, Tensor] = {}  # second moments of the last whole training
        self._aside: tuple[Mask, ...] = ()
        self._shelf = None if self._layout.cut else shelf  # it holds whole tensors
        self._crew, self._free = crew, free
        self._bookmark = bookmark
        self._leg_saved = bookmark.load("leg") if bookmark else None

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
        return {name: part(name, tensor.detach()) for name, tensor in _tensors(self._course.model).items()}

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
        whole = {name: self._layout.shards.whole(name, part) for name, part in self.view().items()}
        return {name: tensor for name, tensor in whole.items() if tensor is not None}

    @torch.no_grad()
    def restore(self, weights: Weights) -> None:
        here = self.view()
        for name, tensor in weights.items():
            if name not in here:
                raise ScopeError(
                    f"weights hold {name!r} of shape {tuple(tensor.shape)}, and the model has nothing there"
                )
            here[name].copy_(self._layout.part(name, tensor, here[name]))
        self._zero_pruned()

    def apply_mask(self, mask: Mask) -> None:
        if mask.scope != self.scope:
            raise ScopeError(f"the mask is for {mask.scope}, and this model has {self.scope}")
        self._mask = mask = self._layout.mask(mask)
        if not self._layout.cut:  # else no two ranks hold the same part of it
            check_agreement(mask, self._layout.team)
        self._keep = {
            name: mask[name].to(local(self._parameters[name]))
            for name, kept in mask.kept_by_name.items()
            if kept < mask.scope.numel(name)
        }
        self._zero_pruned()

    @torch.no_grad()
    def _zero_pruned(self) -> None:
        for name, keep in self._keep.items():
            parameter = self._parameters[name]
            local(parameter).masked_fill_(keep == 0, 0.0)  # not a product: that could leave -0.0 or NaN
            optim.forget(self._optimizer, parameter, keep)
            if name in self._completed:
                self._completed[name] = self._completed[name].masked_fill(keep == 0, 0.0)

    # training

    def train(self, steps: int, purpose: Purpose = "train") -> None:
        left = self._horizon - self._clock.steps
        if not 0 <= steps <= left:
            raise TrainingError(
                f"asked to train {steps} steps with {left} of {self._horizon} left; train longer or take fewer"
            )
        self._leg(self._clock.steps + steps, purpose, Training(), self._order, ("dropout",))

    def complete(self, training: Training | None = None, *, at: int = 0) -> None:
        how = training or Training()
        key = self._key(training, at) if self._shelf else ""  # it reads all weights
        self._optimizer = self._fresh_optimizer(how)
        self._clock.steps = self._clock.batches = at
        with self._shelf.claim(key) if self._shelf else nullcontext():
            if self._shelf and (shelved := self._shelf.get(key)):
                self._take(*shelved)
            else:
                self._make(key, how, training is not None)

    def _take(self, tensors: Mapping[str, Tensor], facts: Mapping[str, Any]) -> None:
        """Stand at the end of a training that was on the shelf."""
        self._meter.charge("train", Cost(**facts["cost"]), reused=facts["reused"], seconds=facts["seconds"])
        self._meter.tell("train", sparsity=self._mask.sparsity)
        self._clock.leg, self._clock.steps = self._clock.leg + 1, self._horizon
        self.restore(_room(tensors, "weights"))
        self._completed = {
            name: moment.to(self._parameters[name].device) for name, moment in _room(tensors, "second moments").items()
        }

    def _make(self, key: str, how: Training, varied: bool) -> None:
        """Train to the end, and shelve the outcome."""
        before, since = self._meter.bill.get("train", Cost()), self._meter.seconds.get("train", 0.0)
        order, dice = (self._ordered(how), ("dropout", how.seed)) if varied else (self._order, ("dropout",))
        self._leg(self._horizon, "train", how, order, dice)

        self._completed = dict(self.second_moments())
        self._optimizer = self._fresh_optimizer(how)  # as it is for who takes the outcome from the shelf

        if self._shelf is not None:
            outcome = _under("weights", self.view()) | _under("second moments", self._completed)
            cost, seconds = self._meter.bill["train"] - before, self._meter.seconds["train"] - since
            self._shelf.put(key, outcome, {"cost": asdict(cost), "seconds": seconds})

    def _leg(self, end: int, purpose: Purpose, how: Training, order: Order, dice: tuple[str | int, ...]) -> None:
        self._clock.leg += 1
        self._completed = {}
        self._return_to_leg()
        while self._clock.steps < end:
            rate = how.rate * self._line.at(self._clock.steps)
            self._step(order.at(self._clock.batches), purpose, rate, how, (*dice, self._clock.batches))
            self._clock.steps += 1
            self._clock.batches += 1
            if self._bookmark and self._bookmark.due and self._clock.steps < end:
                self._save("leg")

    def _key(self, training: Training | None, at: int) -> str:
        """What a whole training depends on, in one hash."""
        here = self.view()
        facts = {
            "course": self._course.name,
            "regime": self._regime.model_dump(mode="json"),
            "seed": self._seed,
            "training": asdict(training) if training else None,
            "line": [at, self._horizon],
            "mask": self._mask.digest,
            "weights": digest(here, sorted(here)),
            "outcome": ["weights", "second moments"],
        }
        return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()

    def _fresh_optimizer(self, how: Training) -> AdamW:
        decay = self._regime.weight_decay if how.weight_decay is None else how.weight_decay
        return optim.adamw(self._parameters.values(), decay)

    def look_ahead(self, briefs: Sequence[Brief], look: Callable[[ModuleLearner], Seen]) -> Iterator[Seen]:
        if self._crew is not None:
            yield from self._sent(self._crew, briefs, look)
            return
        for brief in briefs:
            with self._fork(brief):
                how, order = brief.training, self._ordered(brief.training)
                rate = how.rate * self._line.at(self._clock.steps)
                for position in range(brief.steps):
                    warm = min(1.0, (position + 1) / brief.warmup) if brief.warmup else 1.0
                    dice = ("look-ahead dropout", how.seed, position)
                    self._step(order.at(position), "look-ahead", warm * rate, how, dice)
                seen = look(self)
            yield seen

    def _sent(self, crew: Workers, briefs: Sequence[Brief], look: Callable[[ModuleLearner], Seen]) -> Iterator[Seen]:
        """The same by a crew. Each is charged here as if it were done here, once, whoever does it how often."""
        names = [f"look-ahead {number} of {len(briefs)}, {brief}," for number, brief in enumerate(briefs, 1)]
        here = self.snapshot(carry=any(brief.carry_optimizer for brief in briefs))
        with closing(crew.each(here, [(brief, look) for brief in briefs], names)) as answers:
            for brief in briefs:
                order, train = self._ordered(brief.training), self._course.train
                for indices in map(order.at, range(brief.steps)):
                    self._charged("look-ahead", train, indices, 3, steps=1)
                seen, loss = next(answers)
                self._meter.tell("look-ahead", loss=loss, sparsity=self._mask.sparsity)
                yield seen

    def snapshot(self, *, carry: bool) -> Snapshot:
        """All that a look-ahead depends on but the course; with *carry* the optimiser's memory too."""
        tensors, facts = self._state()
        left_out = ("aside/",) if carry else ("aside/", "optimizer/")
        needed = {name: tensor for name, tensor in tensors.items() if not name.startswith(left_out)}
        where = {"aside": 0, "horizon": self._horizon, "seed": self._seed, "regime": self._regime}
        return needed, {**facts, **where, "of": self._course.mark, "token": uuid4().hex}

    def adopt(self, snapshot: Snapshot) -> None:
        """Stand where the learner stood that *snapshot* is of."""
        tensors, facts = snapshot
        self._clock = _Clock(**facts["clock"])
        self._meter.load(facts["meter"])
        memory = {key: self._layout.placed(key.partition("/")[2], t) for key, t in _room(tensors, "optimizer").items()}
        optim.remember(self._optimizer, self._parameters, memory)
        self.apply_mask(self._mask_from(tensors, "mask"))
        self._aside = tuple(self._mask_from(tensors, f"aside/{i}") for i in range(facts["aside"]))
        self.restore(_room(tensors, "weights"))

    @torch.no_grad()
    def advance(self, weights: Weights, steps: int) -> None:
        self.restore(weights)
        self._clock.steps += steps

    @contextmanager
    def _fork(self, brief: Brief) -> Iterator[None]:
        """Swap in a copy of the weights and another optimiser; swap both out again at the end."""
        mine = self._swapped()
        optimizer, clock, bookmark = self._optimizer, self._clock, self._bookmark
        self._optimizer = self._fresh_optimizer(brief.training)
        if brief.carry_optimizer:
            optim.remember(self._optimizer, self._parameters, optim.moments(optimizer, self._parameters))
        self._clock, self._bookmark = deepcopy(clock), None
        try:
            yield
        finally:
            self._swap_back(mine)
            self._optimizer, self._clock, self._bookmark = optimizer, clock, bookmark

    def _swapped(self) -> Weights:
        """Put a copy of the weights in place of them, and return the originals.

        FSDP2 holds on to the memory of what it has cut, so there the originals stay in place and the copy is returned.
        """
        if self._layout.cut:
            return self.weights()
        mine = {name: tensor.data for name, tensor in self._tensors.items()}
        for tensor in self._tensors.values():
            tensor.data = tensor.data.clone()
        return mine

    @torch.no_grad()
    def _swap_back(self, mine: Weights) -> None:
        """Undo `_swapped`."""
        if self._layout.cut:
            for name, here in self.view().items():
                here.copy_(mine[name])
            return
        for name, tensor in self._tensors.items():
            tensor.data = mine[name]

    def _step(
        self, indices: list[int], purpose: Purpose, rate: float, how: Training, dice: tuple[str | int, ...]
    ) -> None:
        batch = self._charged(purpose, self._course.train, indices, 3, steps=1)
        for group in self._optimizer.param_groups:
            group["lr"] = rate
        with borrowed():
            rank = self._layout.team.rank
            torch.manual_seed(self.seed(*dice, "rank", rank) if rank else self.seed(*dice))
            self._model.train()
            loss = step(
                self._accelerator,
                self._model,
                self._optimizer,
                self._parameters,
                self._keep,
                self._micro(batch, indices),
                self._course.batch_loss,
                how.label_smoothing,
                self._regime.clip,
                self._layout.team,
            )
        self._meter.tell(purpose, loss=loss, sparsity=self._mask.sparsity)

    def _micro(self, batch: Any, indices: list[int]) -> list[tuple[Any, float]]:
        """This rank's examples of the batch in parts, each with its share of all of the batch's examples."""
        size = ceil(len(indices) / self._regime.accumulation)
        if size == len(indices) and self._layout.team.size == 1:
            return [(self._placed(batch), 1.0)]
        parts = [indices[start : start + size] for start in range(0, len(indices), size)]
        mine = [self._layout.mine(part) for part in parts]
        # every rank goes through the model as often, if need be with an example that does not count
        taken = [self._course.train.batch(some or part[:1]) for some, part in zip(mine, parts, strict=True)]
        return [(self._placed(one), len(some) / len(indices)) for one, some in zip(taken, mine, strict=True)]

    def _sight(self, examples: Examples, indices: list[int]) -> list[int]:
        """Which of some examples to charge by. Of several ranks none needs all: the longest costs as each does."""
        if self._layout.team.size == 1:
            return indices
        return [max(indices, key=examples.lengths.__getitem__) if examples.lengths else indices[0]]

    def _placed(self, batch: Any) -> Any:
        return send_to_device(batch, self._accelerator.device)

    def _ordered(self, how: Training) -> Order:
        train = self._course.train
        lean = leaning(how.lean, train.targets, train.lengths, how.seed) if how.lean != "none" else None
        least = 2 if any(isinstance(part, _BatchNorm) for part in self._course.model.modules()) else 1
        return Order(len(train), self._regime.batch, how.seed, train.lengths, how.subset, how.portion, lean, least)

    def _charged(self, purpose: Purpose, examples: Examples, indices: list[int], ways: int, *, steps: int = 0) -> Any:
        """Charge *ways* passes an example, 1 forwards, 3 with the way back; the batch, if this rank is alone."""
        n, seen = len(indices), self._sight(examples, indices)
        batch = examples.batch(seen)
        if self._free:
            return batch
        forward = self._course.forward_cost.of(batch, examples, seen) // len(seen) * n
        self._meter.charge(purpose, Cost(steps, n, ways * n, ways * forward))
        return batch

    # evaluation

    def evaluate(self) -> float:
        return self._course.selected(*self._answers(self._course.validation, "select"))

    def loss(self) -> float:
        return float(self._course.loss(*self._answers(self._course.validation, "select"), 0.0))

    def test(self) -> dict[str, float]:
        """The task's figures on the test split. To be read once, after every choice is made."""
        return dict(self._course.metric(*self._answers(self._course.test, "test")))

    @torch.inference_mode()
    def _answers(self, examples: Examples, purpose: Purpose) -> tuple[Tensor, Tensor]:
        """Outputs and targets of a whole split, on the CPU."""
        self._model.eval()
        outputs, targets = [], []
        batches = in_order(len(examples), EVALUATION_BATCH, examples.lengths)
        for some in chunks(batches, self._layout.team.size):
            for indices in some:
                batch = self._charged(purpose, examples, indices, 1)
                self._meter.tell(purpose, sparsity=self._mask.sparsity)
            if self._layout.team.size > 1:
                batch = examples.batch(self._layout.one(some))
            output, target = self._course.predict(self._model, self._placed(batch))
            outputs.append(self._layout.of_all(output.float(), len(some)))
            targets.append(self._layout.of_all(target, len(some)))
        return torch.cat(outputs), torch.cat(targets)

    # scoring

    def gradient(self, sample: Sample) -> Weights:
        self._layout.check_float32(self._accelerator.mixed_precision)
        slope = sensitivity.gathered_gradient if self._layout.cut else sensitivity.gradient
        with sensitivity.exact(self._module, self._plain_forward):
            parts = self._parts(sample, sensitivity.GRADIENT)
            return self._layout.added(slope(self._sample_loss(), self._parameters, parts))

    def curvature(self, sample: Sample, temperature: float = 1.0) -> Weights:
        targets = self._course.train.targets
        if temperature != 1 and targets is not None and targets.is_floating_point():
            raise TrainingError(
                f"temperature is {temperature:g}, and the label is a score, which has none; set it to 1"
            )
        self._layout.check_whole("a product with the Hessian")
        parameters, loss_of = {name: self._parameters[name] for name in self.scope}, self._sample_loss(temperature)
        with sensitivity.exact(self._module, self._plain_forward):
            parts = self._parts(sample, sensitivity.GRADIENT)
            slope = self._layout.added(sensitivity.gradient(loss_of, parameters, parts))
            parts = self._parts(sample, sensitivity.CURVATURE)
            return self._layout.added(sensitivity.curvature(loss_of, parameters, slope, parts))

    def second_moments(self) -> Weights:
        in_scope = {name: self._parameters[name] for name in self.scope}
        return optim.second_moments(self._optimizer, in_scope) or self._completed

    def _sample_loss(self, temperature: float = 1.0) -> sensitivity.LossOf:
        return lambda batch: self._course.batch_loss(self._module, batch, 0.0, temperature)

    def _parts(self, sample: Sample, ways: int) -> Iterator[sensitivity.Part]:
        """This rank's share of the sample in micro-batches, each charged before it is used."""
        train = sample.split == "train"
        examples = self._course.train if train else self._course.validation
        purpose: Purpose = "score" if train else "select"
        indices = balanced(examples.targets, len(examples), sample.per_class, sample.seed)
        for part in chunks(indices, ceil(self._regime.batch / self._regime.accumulation)):
            batch = self._charged(purpose, examples, part, ways)
            if (mine := self._layout.mine(part)) != part:
                batch = examples.batch(mine or part[:1])  # as in a step, every rank goes through the model as often
            yield self._placed(batch), len(mine) / len(indices)
            self._meter.tell(purpose, sparsity=self._mask.sparsity)

    def inputs(
        self, examples: int, seed: int, *, second_moment: bool = False, subset: tuple[int, int] = (0, 1)
    ) -> Iterator[Weights]:
        self._layout.check_whole("what goes into matrices")
        train, ways = self._course.train, iter((PASSES, 1))
        order = torch.randperm(len(train), generator=torch.Generator().manual_seed(seed))
        index, count = subset
        chosen = sorted(order[:examples].tolist()[index::count])
        if not chosen:
            raise TrainingError(
                f"{len(train):,} training examples do not make {count} subsets to calibrate on; set subsets lower"
            )

        def parts() -> Iterator[Any]:
            passes = next(ways)
            for part in chunks(chosen, ceil(self._regime.batch / self._regime.accumulation)):
                yield self._placed(self._charged("score", train, part, passes))
                self._meter.tell("score", sparsity=self._mask.sparsity)

        def forward(batch: Any) -> object:
            with sensitivity.exact(self._module, self._plain_forward):
                return self._course.predict(self._module, batch)

        self._module.eval()
        yield from inputs_of(self._module, self._scope, parts, forward, second_moment=second_moment)

    # going on after a kill

    def rounds(self, items: Iterable[Item]) -> Iterator[Item]:
        saved = self._bookmark.load("round") if self._bookmark else None
        if saved:
            self.adopt(saved)
        done = self._clock.round
        for index, item in enumerate(items):
            if index >= done:
                yield item
                self._clock.round, self._clock.leg = index + 1, 0
                self._save("round")

    def _return_to_leg(self) -> None:
        """Take over the state saved in the middle of this leg, if there is one."""
        if self._leg_saved is None:
            return
        tensors, facts = self._leg_saved
        here, there = (self._clock.round, self._clock.leg), (facts["clock"]["round"], facts["clock"]["leg"])
        if here >= there:
            self._leg_saved = None
        if here == there:
            self.adopt((tensors, facts))

    def _save(self, place: str) -> None:
        if self._bookmark:
            self._bookmark.save(place, *self._state())

    def _state(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Weights, masks and moments, the live tensors; and where the learner stands."""
        tensors = {f"weights/{name}": tensor.detach() for name, tensor in self._tensors.items()}
        tensors |= _under("mask", self._layout.saved(self._mask))
        for i, mask in enumerate(self._aside):
            tensors |= _under(f"aside/{i}", self._layout.saved(mask))
        tensors |= {f"optimizer/{name}": t for name, t in optim.moments(self._optimizer, self._parameters).items()}
        return tensors, {"clock": asdict(self._clock), "meter": self._meter.dump(), "aside": len(self._aside)}

    def _mask_from(self, tensors: Mapping[str, Tensor], room: str) -> Mask:
        return self._layout.loaded(self._course.scope, _room(tensors, room))


def _line_of(regime: Regime, horizon: int) -> optim.RateLine:
    """The learning-rate line of *horizon* steps."""
    return optim.RateLine(regime.rate, horizon, round(regime.warmup * horizon), regime.flat_steps(horizon))


def _tensors(module: nn.Module) -> dict[str, Tensor]:
    """Parameters and the buffers that a checkpoint holds, each once."""
    kept = module.state_dict().keys()
    return {**dict(module.named_parameters()), **{name: b for name, b in module.named_buffers() if name in kept}}


def _under(room: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {f"{room}/{name}": tensor for name, tensor in tensors.items()}


def _room(tensors: Mapping[str, Tensor], room: str) -> dict[str, Tensor]:
    return {name.removeprefix(f"{room}/"): tensor for name, tensor in tensors.items() if name.startswith(f"{room}/")}
