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
        remarks: what is not known of them, or only at most, in sentences.
    """

    name: str
    horizon: int
    batch: int
    train: int
    validation: int
    test: int
    groups: int
    remarks: tuple[str, ...] = ()

    @classmethod
    def of(cls, task: CourseTask) -> Self:
        """The sizes of a task that is loaded."""
        course = task.course
        return cls(
            name=task.name,
            horizon=task.horizon,
            batch=task.regime.batch,
            train=len(course.train),
            validation=len(course.validation),
            test=len(course.test),
            groups=groups(course.train.targets),
        )

    @classmethod
    def known(cls, recipe: Recipe) -> Self | None:
        """The sizes of a benchmark of the hub; None where they are not known or nothing is left to train on."""
        spec = TASKS.get(recipe.task.name)
        if spec is None or spec.sizes is None or recipe.data.folder is not None:
            return None

        rows, test = spec.sizes
        train, validation = split_sizes(rows, recipe.data)
        if not train:
            # whoever loads it is told what is wrong
            return None

        # none where the label is a score
        classes = len(spec.labels) if isinstance(spec, TextSpec) else spec.classes
        regime: Regime = recipe.training
        return cls(
            name=recipe.task.name,
            horizon=regime.horizon(train),
            batch=regime.batch,
            train=train,
            validation=validation,
            test=test,
            groups=classes or TENTHS,
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
        # rounded up: the last batch of an epoch may be smaller
        return -(-self.train // self.batch)

    @property
    def full(self) -> Cost:
        """T as a cost: one full fine-tune, validation left out."""
        epochs, further_steps = divmod(self.horizon, self.epoch)
        examples = epochs * self.train + min(further_steps * self.batch, self.train)
        return Cost(self.horizon, examples, 3 * examples)


def split_sizes(rows: int, data: DataSettings) -> tuple[int, int]:
    """Of so many *rows*, how many are trained on and how many are cut out for selection."""
    used = min(rows, data.limit or rows)
    validation = max(1, round(data.validation * used))  # as data/source.py cuts it
    return used - validation, validation
