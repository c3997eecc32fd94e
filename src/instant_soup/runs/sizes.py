"""Sizes: how large a task is, which is all that its cost depends on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

from ..core.budget import Cost
from ..data.text import TextSpec
from ..recipes.recipe import Recipe
from ..recipes.settings import DataSettings
from ..store.record import Record
from ..tasks import TASKS, CourseTask
from ..training.regime import Regime
from ..training.sample import TENTHS, groups


@dataclass(frozen=True)
class Sizes:
    """How much there is to learn.

    Attributes:
        horizon: T in steps.
        batch: examples per step.
        train, validation, test: examples in each split.
        groups: classes, or ten for a label that is a score.
    """

    name: str
    horizon: int
    batch: int
    train: int
    validation: int
    test: int
    groups: int

    @classmethod
    def of(cls, task: CourseTask) -> Self:
        """The sizes of a task that is loaded."""
        course = task.course
        train, validation, test = (
            len(split) for split in (course.train, course.validation, course.test)
        )
        batch, kinds = task.regime.batch, groups(course.train.targets)
        return cls(task.name, task.horizon, batch, train, validation, test, kinds)

    @classmethod
    def known(cls, recipe: Recipe) -> Self | None:
        """The sizes of a benchmark of the hub; None where they are not known or nothing is left to train on."""
        spec = TASKS.get(recipe.task.name)
        if spec is None or spec.sizes is None or recipe.data.folder is not None:
            return None
        train, validation = _split(spec.sizes[0], recipe.data)
        if not train:
            return None  # whoever loads it is told what is wrong
        classes = (
            len(spec.labels) if isinstance(spec, TextSpec) else spec.classes
        ) or TENTHS
        regime: Regime = recipe.training

        return cls(
            recipe.task.name,
            regime.horizon(train),
            regime.batch,
            train,
            validation,
            spec.sizes[1],
            classes,
        )

    @classmethod
    def recorded(cls, record: Record, recipe: Recipe) -> Self:
        """The sizes of a task on which *recipe* was run already. Its classes are not in *record*: ten are assumed."""
        examples = record.examples
        return cls(
            name=recipe.task.name,
            horizon=record.cost.full_fine_tune.steps,
            batch=recipe.training.batch,
            train=examples.train,
            validation=examples.validation,
            test=examples.test,
            groups=TENTHS,
        )

    @property
    def epoch(self) -> int:
        """Steps of one pass over the training split."""
        return -(-self.train // self.batch)

    @property
    def full(self) -> Cost:
        """T as a cost: one full fine-tune, validation left out."""
        whole, rest = divmod(self.horizon, self.epoch)
        examples = whole * self.train + min(rest * self.batch, self.train)
        return Cost(self.horizon, examples, 3 * examples)


def _split(rows: int, data: DataSettings) -> tuple[int, int]:
    used = min(rows, data.limit or rows)
    validation = max(1, round(data.validation * used))  # as data/source.py cuts it
    return used - validation, validation
