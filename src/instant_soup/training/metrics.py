"""Metrics: the figures that GLUE and the vision tasks report, between -1 and 1."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial

import torch
from torch import Tensor
from torchmetrics.functional import f1_score, matthews_corrcoef, pearson_corrcoef

from ..core.table import Table


def accuracy(outputs: Tensor, targets: Tensor) -> float:
    """Share of right answers. *outputs*: logits [n, classes]; *targets*: int64 [n]."""
    return float((outputs.argmax(1) == targets).double().mean())


def f1(outputs: Tensor, targets: Tensor) -> float:
    """F1 of class 1 among two. *outputs*: logits [n, 2]; *targets*: int64 [n]."""
    return float(f1_score(outputs.argmax(1), targets, task="binary"))


def matthews(outputs: Tensor, targets: Tensor) -> float:
    """Matthews correlation of two classes. *outputs*: logits [n, 2]; *targets*: int64 [n].

    0 where one class alone is predicted or present, as in GLUE; torchmetrics gives a small number
    of either sign there.
    """
    guesses = outputs.argmax(1)
    if _constant(guesses) or _constant(targets):
        return 0.0
    return float(matthews_corrcoef(guesses, targets, task="binary"))


def pearson(outputs: Tensor, targets: Tensor) -> float:
    """Pearson correlation. *outputs*: [n, 1] or [n]; *targets*: [n]. 0 where either is constant or not finite."""
    outputs = outputs.reshape(-1)
    if _constant(outputs) or _constant(targets) or not bool(outputs.isfinite().all()):
        return 0.0
    return float(pearson_corrcoef(outputs.double(), targets.double()))


def spearman(outputs: Tensor, targets: Tensor) -> float:
    """Spearman rank correlation, ties at their mean rank. As `pearson` otherwise.

    torchmetrics' own is off in the sixth digit on small splits and ranks NaN.
    """
    if not bool(outputs.isfinite().all()):
        return 0.0
    return pearson(_ranks(outputs.reshape(-1)), _ranks(targets))


def _ranks(values: Tensor) -> Tensor:
    """The rank of each value, from 1; equal values share the mean of theirs."""
    _, place, ties = torch.unique(values, return_inverse=True, return_counts=True)
    ranks: Tensor = (ties.cumsum(0) - (ties - 1) / 2)[place]
    return ranks


def _constant(values: Tensor) -> bool:
    return bool((values == values[0]).all())


METRICS: Mapping[str, Callable[[Tensor, Tensor], float]] = Table(
    "metric",
    {
        "accuracy": accuracy,
        "f1": f1,
        "matthews": matthews,
        "pearson": pearson,
        "spearman": spearman,
    },
)


def figures(
    names: Sequence[str], order: Sequence[int] = ()
) -> Callable[[Tensor, Tensor], dict[str, float]]:
    """A metric that reports *names*, in order.

    Args:
        order: for each class as the data counts them, its number in outputs and targets, where these count otherwise:
            F1 is that of the data's class 1.
    """
    return partial(_figures, tuple(names), order=tuple(order))


def _figures(
    names: tuple[str, ...],
    outputs: Tensor,
    targets: Tensor,
    *,
    order: tuple[int, ...] = (),
) -> dict[str, float]:
    if order:
        columns = torch.tensor(order, device=outputs.device)
        outputs = outputs[:, columns]
        # the data's number of each class, by its number in the head
        targets = columns.argsort()[targets]
    return {name: METRICS[name](outputs, targets) for name in names}
