"""Plan: what a recipe costs, before it is paid.

The method runs for real, on a stand-in learner of one small matrix that trains nothing and
charges everything. So a plan is right for any method that sees the world through `Learner` alone.
"""

from __future__ import annotations

import resource
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from ..core.budget import Cost, Meter, Purpose
from ..core.mask import Mask
from ..core.scope import Scope
from ..core.task import Base, Brief, Item, Seen
from ..core.weights import Weights
from ..methods import Method
from ..tasks import CourseTask
from ..training.seeds import stream
from .recipe import Recipe
from .run import full_cost

_SCOPE = Scope({"stand-in": (512, 512)})
TIMED = 6  # steps that are timed, after as many to warm up


class StandIn:
    """A learner that charges and does not train."""

    scope, base, fresh = _SCOPE, Base("stand-in", ""), frozenset[str]()

    def __init__(self, meter: Meter, horizon: int, batch: int, validation: int) -> None:
        self.meter, self.horizon, self.steps_taken = meter, horizon, 0
        self._batch, self._validation = batch, validation
        self.mask = Mask.dense(_SCOPE)
        dice = torch.Generator().manual_seed(0)
        self.origin: Weights = {name: torch.randn(shape, generator=dice) for name, shape in _SCOPE.shapes.items()}
        self.notes: Mapping[str, Sequence[Any]] = {}

    def seed(self, *purpose: str | int) -> int:
        return stream(0, *purpose)

    def view(self) -> Weights:
        return {name: tensor * self.mask[name] for name, tensor in self.origin.items()}

    weights = view

    def restore(self, weights: Weights) -> None:
        del weights  # nothing here learns

    def apply_mask(self, mask: Mask) -> None:
        self.mask = mask

    def train(self, steps: int, purpose: Purpose = "train") -> None:
        self._charge(steps, purpose)
        self.steps_taken += steps

    def look_ahead(self, briefs: Sequence[Brief], look: Callable[[StandIn], Seen]) -> Iterator[Seen]:
        for brief in briefs:
            self._charge(brief.steps, "look-ahead")
            yield look(self)

    def advance(self, weights: Weights, steps: int) -> None:
        del weights
        self.steps_taken += steps

    def evaluate(self) -> float:
        self.meter.charge("select", Cost(examples=self._validation, passes=self._validation))
        return 0.0

    def rounds(self, items: Iterable[Item]) -> Iterator[Item]:
        yield from items

    def note(self, key: str, value: Any) -> None:
        pass

    def _charge(self, steps: int, purpose: Purpose) -> None:
        examples = steps * self._batch
        self.meter.charge(purpose, Cost(steps, examples, 3 * examples))


@dataclass(frozen=True)
class StandInTask:
    """A task of the real one's sizes."""

    name: str
    horizon: int
    batch: int
    validation: int

    def learner(self, meter: Meter) -> StandIn:
        return StandIn(meter, self.horizon, self.batch, self.validation)


@dataclass(frozen=True)
class Plan:
    """What a run will cost.

    Attributes:
        draw, train: the bills, with the reading of the test split as ``"test"``.
        full: one full fine-tune, T.
        flops: of the whole run.
        seconds: estimated wall time on this machine, from a few timed steps.
        tensors: bytes of weights, gradients, optimiser state, masks and one look-ahead's copies.
        peak: bytes of memory that this process had at most during the timed steps.
    """

    draw: Mapping[Purpose, Cost]
    train: Mapping[Purpose, Cost]
    full: Cost
    flops: int
    seconds: float
    tensors: int
    peak: int

    @property
    def ratio(self) -> float:
        """The whole cost as a multiple of T, the test reading left out."""
        return sum(
            (cost for bill in (self.draw, self.train) for purpose, cost in bill.items() if purpose != "test"), Cost()
        ).ratio(self.full)


def rehearse(recipe: Recipe, task: CourseTask) -> tuple[Meter, Meter]:
    """The bills of drawing and of fine-tuning, without doing either."""
    method: Method = recipe.make_method()
    sizes = StandInTask(task.name, task.horizon, task.regime.batch, len(task.course.validation))
    draw, train = Meter(), Meter()
    method.draw(sizes, recipe.sparsity, draw)
    learner = sizes.learner(train)
    if not method.trains:
        learner.train(max(1, round(recipe.budget * task.horizon)))
    learner.evaluate()
    test = len(task.course.test)
    train.charge("test", Cost(examples=test, passes=test))
    return draw, train


def plan(recipe: Recipe, task: CourseTask) -> Plan:
    """What *recipe* will cost on this machine."""
    draw, train = rehearse(recipe, task)
    step, passes, flops = _timed(task)
    forward = passes / 3  # a training example costs about three forward passes
    costs = [*draw.bill.values(), *train.bill.values()]
    steps, examples = sum(cost.steps for cost in costs), sum(cost.examples for cost in costs if not cost.steps)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    total = sum(costs, Cost())
    return Plan(
        draw.bill,
        train.bill,
        full_cost(task),
        flops * total.passes,
        steps * step + examples * forward,
        _tensors(task),
        peak,
    )


def _timed(task: CourseTask) -> tuple[float, float, int]:
    """Seconds per step, seconds per training example and FLOPs per pass."""
    horizon = max(task.horizon, 2 * TIMED)
    learner = task.learner(meter := Meter(), horizon=horizon)
    learner.train(TIMED)
    start = time.perf_counter()
    learner.train(TIMED)
    seconds = time.perf_counter() - start
    return seconds / TIMED, seconds / TIMED / task.regime.batch, round(meter.spent.flops / meter.spent.passes)


def _tensors(task: CourseTask) -> int:
    weights = sum(p.numel() * p.element_size() for p in task.course.model.parameters())
    trained = sum(p.numel() * p.element_size() for p in task.course.model.parameters() if p.requires_grad)
    masks = 4 * task.course.scope.size
    # the pristine copy, the weights and a look-ahead's copy; gradients; two moments, twice
    return 3 * weights + trained + 4 * trained + masks
