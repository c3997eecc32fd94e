"""Assembly: puts a loaded model and the splits that it is to learn from together as a task."""

from __future__ import annotations

import warnings
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from torch import nn

from ..core.scope import Scope
from ..core.task import Base
from ..data.source import Splits
from ..models.heads import knows, others_known
from ..training.course import Course, Examples, Loss, Metric, Predict
from ..training.regime import Regime
from .task import CourseTask


class PreTrained(Protocol):
    """A model at its pre-trained weights, whatever kind it is."""

    @property
    def model(self) -> nn.Module:
        """The network, with its head."""

    @property
    def scope(self) -> Scope:
        """The parameters that may be pruned."""

    @property
    def base(self) -> Base:
        """The model's name, and the hash of its weights."""

    @property
    def fresh(self) -> frozenset[str]:
        """The parameters that are not pre-trained."""


@dataclass(frozen=True)
class Encoded:
    """The splits as a model reads them: to train on, to choose by, and to report on."""

    train: Examples
    validation: Examples
    test: Examples


@dataclass(frozen=True)
class Judging:
    """How a model predicts, and how its predictions are judged; see `Course`."""

    predict: Predict
    loss: Loss
    metric: Metric
    lower_is_better: bool = False
    logits: bool = True


def warn_of_seen_rows(
    base: Base, model: nn.Module, classes: Sequence[str], rows: Splits
) -> None:
    """Warn where the *model* called *base* may have learned from the very rows that are kept to report on.

    It may where it comes with a head for the same *classes*, and the data has no test split of its own.
    """
    if rows.test_is_cut and knows(model, classes):
        warnings.warn(
            f"model {base.name!r} knows the classes of this data already, and the data has no test split of its own: "
            f"if the model was fine-tuned on these rows, it has seen those that are kept to test on, and figures are "
            f"too good; give train and test apart",
            stacklevel=3,
        )


def warn_of_other_classes(
    base: Base, model: nn.Module, fresh: Collection[str], classes: Sequence[str]
) -> None:
    """Warn where the head of *model*, called *base*, is kept and was trained for other classes than *classes*.

    Args:
        fresh: the parameters that are not pre-trained, such as those of a new head.
    """
    others = others_known(model, classes)
    if others and not fresh:
        warnings.warn(
            f"the head of model {base.name!r} tells {', '.join(others[:10])} apart, and the data has as many classes "
            f"of other names, {', '.join(classes[:10])}: it is kept, each output for the class in its place",
            stacklevel=3,
        )


def assemble(
    name: str,
    loaded: PreTrained,
    splits: Encoded,
    judging: Judging,
    *,
    regime: Regime | None,
    seed: int,
    classes: tuple[str, ...] = (),
    facts: Mapping[str, Any] | None = None,
    remark: str = "",
) -> CourseTask:
    """Put the task called *name* together.

    Args:
        loaded: the model that learns.
        splits: what it learns from, as it reads it.
        judging: how it predicts, and how its predictions are judged.
        regime: how to train; the defaults of `Regime` if None.
        seed: of the run.
        classes: their names, in the order of their numbers; empty where there are no classes.
        facts: how the test split is judged, for the record of a run.
        remark: what more there is to say of what was read.
    """
    course = Course(
        name=name,
        model=loaded.model,
        scope=loaded.scope,
        base=loaded.base,
        fresh=loaded.fresh,
        train=splits.train,
        validation=splits.validation,
        test=splits.test,
        predict=judging.predict,
        loss=judging.loss,
        metric=judging.metric,
        lower_is_better=judging.lower_is_better,
        logits=judging.logits,
        facts=facts or {},
        classes=classes,
    )

    return CourseTask(course, regime or Regime(), seed, remark=remark)
