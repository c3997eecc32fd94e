"""Plan: what a recipe costs at most, before it is paid.

The method runs for real, on a stand-in that charges everything. So a plan is right for any method
that sees the world through `Learner` alone.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, replace

from ..core.budget import Cost, Meter, Purpose
from ..methods import Method
from ..recipes.recipe import Recipe
from ..tasks import CourseTask
from .environment import peaks
from .sizes import Sizes
from .stand_in import StandInTask

TIMED = 6  # steps that are timed, after as many to warm up


@dataclass(frozen=True)
class Timing:
    """What was measured on this machine with the model itself.

    Attributes:
        flops: of the whole run.
        seconds: estimated wall time, from a few timed steps.
        step: of it, that of one training step.
        tensors: bytes of weights, gradients, optimiser state, masks and one look-ahead's copies.
        peak: bytes of memory that this process had at most during the timed steps.
    """

    flops: int
    seconds: float
    step: float
    tensors: int
    peak: int


@dataclass(frozen=True)
class Plan:
    """What a run will cost.

    Attributes:
        draw, train: the bills, with the reading of the test split as ``"test"``.
        full: one full fine-tune, T.
        timing: time and memory, where the model was there to be measured.
    """

    draw: Mapping[Purpose, Cost]
    train: Mapping[Purpose, Cost]
    full: Cost
    timing: Timing | None = None

    @property
    def total(self) -> Cost:
        """The whole cost, the test reading included."""
        return sum((cost for bill in (self.draw, self.train) for cost in bill.values()), Cost())

    @property
    def ratio(self) -> float:
        """The whole cost as a multiple of T, the test reading left out."""
        return (self.total.passes - self.train["test"].passes) / self.full.passes


def rehearse(recipe: Recipe, sizes: Sizes) -> tuple[Meter, Meter]:
    """The bills of drawing and of fine-tuning, without doing either."""
    method: Method = recipe.make_method()
    draw, train = Meter(), Meter()
    drawn_in = replace(sizes, horizon=max(1, round(recipe.budget * sizes.horizon))) if method.trains else sizes
    method.draw(StandInTask(drawn_in), recipe.sparsity, draw)

    learner = StandInTask(sizes).learner(train)
    if recipe.budget and (not method.trains or recipe.control):
        learner.train(max(1, round(recipe.budget * sizes.horizon)))
    learner.evaluate()
    train.charge("test", Cost(examples=sizes.test, passes=sizes.test))
    return draw, train


def plan(recipe: Recipe, sizes: Sizes, task: CourseTask | None = None) -> Plan:
    """What *recipe* will cost; with the *task* loaded, also in time and memory on this machine."""
    draw, train = rehearse(recipe, sizes)
    found = Plan(draw.bill, train.bill, sizes.full)
    return found if task is None else Plan(draw.bill, train.bill, sizes.full, _timing(found, task))


def _timing(found: Plan, task: CourseTask) -> Timing:
    seconds, flops = _timed(task)
    forward = seconds / task.regime.batch / 3  # a training example costs about three forward passes
    costs = [cost for bill in (found.draw, found.train) for cost in bill.values()]
    return Timing(
        flops * found.total.passes,
        sum(cost.steps * seconds if cost.steps else cost.passes * forward for cost in costs),
        seconds,
        tensors_of(task),
        peaks()["process"],
    )


def _timed(task: CourseTask) -> tuple[float, int]:
    """Seconds per step and FLOPs per pass."""
    learner = task.learner(meter := Meter(), horizon=max(task.horizon, 2 * TIMED))
    learner.train(TIMED)
    start = time.perf_counter()
    learner.train(TIMED)
    return (time.perf_counter() - start) / TIMED, round(meter.spent.flops / meter.spent.passes)


def tensors_of(task: CourseTask) -> int:
    """Bytes of all tensors that a run holds at a time, activations left out."""
    weights = sum(p.numel() * p.element_size() for p in task.course.model.parameters())
    trained = sum(p.numel() * p.element_size() for p in task.course.model.parameters() if p.requires_grad)
    return tensors(weights, trained, 4 * task.course.scope.size)


def tensors(weights: int, trained: int, masks: int) -> int:
    """The same from the bytes of all weights, of those that are trained, and of masks as the optimiser reads them."""
    # the pristine copy, the weights and a look-ahead's copy; gradients; two moments, twice
    return 3 * weights + trained + 4 * trained + masks
