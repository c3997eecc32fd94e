"""Plan: what a recipe costs at most, before it is paid.

The method runs for real, on a stand-in that charges everything. So a plan is right for any method
that sees the world through `Learner` alone.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from ..core.budget import Cost, Meter, Purpose
from ..methods import Method
from ..recipes.recipe import Recipe
from ..tasks import CourseTask
from .environment import peaks
from .sizes import Sizes
from .stand_in import StandInTask, pattern_of
from .windows import language_sizes

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
        remarks: what of it is not known, or only at most, in sentences.
    """

    draw: Mapping[Purpose, Cost]
    train: Mapping[Purpose, Cost]
    full: Cost
    timing: Timing | None = None
    remarks: tuple[str, ...] = ()

    @property
    def total(self) -> Cost:
        """The whole cost, the test reading included."""
        costs = [*self.draw.values(), *self.train.values()]
        return sum(costs, Cost())

    @property
    def ratio(self) -> float:
        """The whole cost as a multiple of T, the test reading left out."""
        passes = self.total.passes - self.train["test"].passes
        return passes / self.full.passes


def rehearse(recipe: Recipe, sizes: Sizes) -> tuple[Meter, Meter]:
    """The bills of drawing and of fine-tuning, without doing either."""
    method: Method = recipe.make_method()
    draw = Meter()
    train = Meter()
    budget = max(1, round(recipe.budget * sizes.horizon))

    # a method that trains its tickets to the end does so within the budget of the fine-tune
    drawn_in = replace(sizes, horizon=budget) if method.trains else sizes
    pattern = pattern_of(recipe)
    method.draw(StandInTask(drawn_in, pattern=pattern), recipe.sparsity, draw)

    learner = StandInTask(sizes).learner(train)
    if recipe.budget and (not method.trains or recipe.control):
        learner.train(budget)
    learner.evaluate()
    test = Cost(examples=sizes.test, passes=sizes.test)
    train.charge("test", test)
    return draw, train


def plan(recipe: Recipe, sizes: Sizes, task: CourseTask | None = None) -> Plan:
    """What *recipe* will cost; with the *task* loaded, also in time and memory on this machine."""
    untimed = _untimed(recipe, sizes)
    if task is None:
        return untimed
    return replace(untimed, timing=_timing(untimed, task, Pace.of(task)))


class Planner:
    """Plans of many recipes: a task is loaded only where it has to be, and once; it is timed once, if at all.

    Args:
        build: loads the task of a recipe.
        timed: whether time and memory are measured.
    """

    def __init__(self, build: Callable[[Recipe], CourseTask], *, timed: bool) -> None:
        self._build = build
        self._timed = timed
        self._setting = ""
        self._task: CourseTask | None = None
        self._sizes: dict[str, Sizes] = {}
        self._paces: dict[str, Pace] = {}
        self._plans: dict[str, Plan] = {}

    @property
    def task(self) -> CourseTask | None:
        """The task that was loaded last; None where none had to be."""
        return self._task

    def plan(self, recipe: Recipe) -> Plan:
        """What *recipe* will cost. Its seed changes nothing of that."""
        key = recipe.cost_key
        if key not in self._plans:
            self._plans[key] = self._new_plan(recipe)
        return self._plans[key]

    def _new_plan(self, recipe: Recipe) -> Plan:
        untimed = _untimed(recipe, self._sizes_of(recipe))
        if not self._timed:
            return untimed

        task = self._task_of(recipe)
        # a step takes as long whatever the method, so each task is timed once
        if recipe.setting not in self._paces:
            self._paces[recipe.setting] = Pace.of(task)
        timing = _timing(untimed, task, self._paces[recipe.setting])
        return replace(untimed, timing=timing)

    def _sizes_of(self, recipe: Recipe) -> Sizes:
        if recipe.setting not in self._sizes:
            self._sizes[recipe.setting] = self._new_sizes(recipe)
        return self._sizes[recipe.setting]

    def _new_sizes(self, recipe: Recipe) -> Sizes:
        # what is timed has to be loaded anyway, and a loaded task says its sizes itself
        if self._timed:
            return Sizes.of(self._task_of(recipe))
        if recipe.task.language:
            return language_sizes(recipe)
        return Sizes.known(recipe) or Sizes.of(self._task_of(recipe))

    def _task_of(self, recipe: Recipe) -> CourseTask:
        if self._task is None or self._setting != recipe.setting:
            # let go before the next is loaded, so that there is one in memory at a time
            self._task = None
            self._task = self._build(recipe)
            self._setting = recipe.setting
        return self._task


def _untimed(recipe: Recipe, sizes: Sizes) -> Plan:
    draw, train = rehearse(recipe, sizes)
    return Plan(draw.bill, train.bill, sizes.full, remarks=sizes.remarks)


@dataclass(frozen=True)
class Pace:
    """How fast this machine trains a task.

    Attributes:
        step: seconds of one training step.
        flops: of one pass.
        peak: bytes of memory that this process had at most meanwhile.
    """

    step: float
    flops: int
    peak: int

    @classmethod
    def of(cls, task: CourseTask) -> Pace:
        """Time a few steps of *task*."""
        meter = Meter()
        # long enough for all steps that are taken, also where T is shorter
        horizon = max(task.horizon, 2 * TIMED)
        learner = task.learner(meter, horizon=horizon)
        # the first steps are slower: memory is new and shapes have not been counted
        learner.train(TIMED)
        start = time.perf_counter()
        learner.train(TIMED)
        step = (time.perf_counter() - start) / TIMED

        flops = round(meter.spent.flops / meter.spent.passes)
        return cls(step, flops, peaks()["process"])


def _timing(untimed: Plan, task: CourseTask, pace: Pace) -> Timing:
    # a training example costs about three forward passes
    forward = pace.step / task.regime.batch / 3
    seconds = 0.0
    for bill in (untimed.draw, untimed.train):
        for cost in bill.values():
            seconds += cost.steps * pace.step if cost.steps else cost.passes * forward

    return Timing(
        flops=pace.flops * untimed.total.passes,
        seconds=seconds,
        step=pace.step,
        tensors=tensors_of(task),
        peak=pace.peak,
    )


def tensors_of(task: CourseTask) -> int:
    """Bytes of all tensors that a run holds at a time, activations left out."""
    weights = 0
    trained = 0
    for parameter in task.course.model.parameters():
        size = parameter.numel() * parameter.element_size()
        weights += size
        if parameter.requires_grad:
            trained += size
    # what is averaged at the end of the line is as large as the weights
    averaged = weights if task.regime.tail else 0
    return tensors(weights, trained, 4 * task.course.scope.size) + averaged


def tensors(weights: int, trained: int, masks: int) -> int:
    """The same from the bytes of all weights, of those that are trained, and of masks as the optimiser reads them."""
    # the pristine copy, the weights and a look-ahead's copy; gradients; two moments, twice
    return 3 * weights + trained + 4 * trained + masks
