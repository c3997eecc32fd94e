"""Module tasks: any nn.Module with a DataLoader, a loss and a metric."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from torch import Tensor, nn
from torch.utils.data import DataLoader

from ..core.errors import KnobError
from ..core.kinds import checked_but
from ..core.scope import Scope
from ..core.task import Base
from ..core.weights import digest
from ..data.loader import LoaderExamples
from ..training.course import Batch, Course, Predict
from ..training.regime import Regime
from .task import CourseTask


@checked_but("train", "validation", "test")
def module(
    name: str,
    model: nn.Module,
    *,
    train: DataLoader[Any],
    validation: DataLoader[Any],
    test: DataLoader[Any],
    loss: Callable[[Tensor, Tensor], Tensor],
    metric: Callable[[Tensor, Tensor], float],
    predict: Predict | None = None,
    keep_dense: Sequence[str] | None = None,
    fresh: Sequence[str] = (),
    regime: Regime | None = None,
    seed: int = 0,
) -> CourseTask:
    """A task of your own. *model* is copied, never changed.

    Args:
        model: at its pre-trained weights.
        train, validation, test: loaders, of which the collate function and the rows that the sampler names
            are used; the batch size is the regime's, and the order follows the seed.
        loss: from outputs [n, ...] and targets [n, ...] to a scalar, the mean over the batch.
        metric: from the outputs and targets of a whole split to one number; higher is better.
        predict: from model and batch to outputs and targets. By default a batch is a pair of
            inputs and targets.
        keep_dense: patterns of names that are not pruned; by default whatever stands outside of numbered blocks,
            or embeddings and heads where there are none, see `Scope.of`.
        fresh: parameters that are not part of the pre-trained model, such as a new head; a ticket
            carries their start.
        regime: how to train; the defaults of `Regime` if None.
        seed: of the run.

    Raises:
        ScopeError: nothing is left to prune.
        DataError: a dataset is empty or cannot be indexed, or a loader asks for what is not done
            here, such as rows drawn by weights or batches of its own making.
    """
    scope = Scope.of(model, keep_dense)
    weights = dict(model.named_parameters())

    course = Course(
        name=name,
        model=model,
        scope=scope,
        base=Base(name, digest(weights, scope)),
        fresh=frozenset(fresh),
        train=LoaderExamples(train, "train"),
        validation=LoaderExamples(validation, "validation"),
        test=LoaderExamples(test, "test"),
        predict=predict or _predict_pair,
        # partials of functions of this module pickle, which workers need; closures would not
        loss=partial(_loss, loss),
        metric=partial(_metric, metric),
    )

    return CourseTask(course, regime or Regime(), seed)


def _loss(
    loss: Callable[[Tensor, Tensor], Tensor],
    outputs: Tensor,
    targets: Tensor,
    label_smoothing: float,
) -> Tensor:
    """The caller's loss, in the form that a course asks for."""
    if label_smoothing:
        raise KnobError(
            f"label_smoothing is {label_smoothing:g}, and a loss of your own has no such knob; set its range to 0"
        )
    return loss(outputs, targets)


def _metric(
    metric: Callable[[Tensor, Tensor], float], outputs: Tensor, targets: Tensor
) -> dict[str, float]:
    """The caller's metric, in the form that a course asks for."""
    return {"metric": float(metric(outputs, targets))}


def _predict_pair(model: nn.Module, batch: Batch) -> tuple[Tensor, Tensor]:
    """The outputs and the targets of a batch that is a pair of inputs and targets."""
    inputs, targets = batch
    return model(inputs), targets
