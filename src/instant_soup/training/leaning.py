"""Leaning: subsets of the training examples that differ from the whole in what they have more of.

Half of the examples at random are, to a look-ahead of a few steps, the same as all of them. Subsets with other
shares of the classes, or with longer or shorter texts, are not.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from ..core.errors import TrainingError, unknown
from .sample import TENTHS
from .seeds import stream

STEEPEST = 1.5
"""How far the logarithm of an example's weight may change with one standard deviation of length."""


def leaning(
    kind: str, targets: Tensor | None, lengths: Sequence[int] | None, seed: int
) -> Tensor:
    """The logarithm of how much rather each example is taken into a subset, float [examples].

    Args:
        kind: ``"classes"`` draws a weight for each class from an exponential distribution, so that the shares of
            classes are spread evenly over all that are possible; scores are cut into tenths first. ``"lengths"``
            draws how strongly longer examples are preferred, or shorter ones.
        targets: classes int64 [examples], scores float [examples], or None where they are not known.
        lengths: of the examples, or None where all are alike.
        seed: what the weights are drawn from.

    Raises:
        TrainingError: the examples have no classes, or no lengths, to differ in.
        UnknownName: there is no such *kind*.
    """
    dice = torch.Generator().manual_seed(stream(seed, "leaning", kind))
    if kind == "classes":
        return _by_class(targets, dice)
    if kind == "lengths":
        return _by_length(lengths, dice)

    raise unknown("subsets", kind, ("random", "disjoint", "classes", "lengths"))


def _by_class(targets: Tensor | None, dice: torch.Generator) -> Tensor:
    if targets is None:
        raise TrainingError(
            "subsets are by 'classes', and this task's labels cannot be read; set subsets to 'random'"
        )

    if targets.is_floating_point():
        rank = targets.argsort(stable=True).argsort(stable=True)
        groups = rank * TENTHS // len(targets)
    else:
        groups = torch.unique(targets, return_inverse=True)[1]

    weights = torch.empty(int(groups.max()) + 1).exponential_(generator=dice)
    return weights.log()[groups]


def _by_length(lengths: Sequence[int] | None, dice: torch.Generator) -> Tensor:
    if lengths is None or len(set(lengths)) < 2:
        raise TrainingError(
            "subsets are by 'lengths', and all examples are equally long; set subsets to 'random'"
        )

    sizes = torch.tensor(lengths, dtype=torch.float32)
    steepness = STEEPEST * (2 * torch.rand((), generator=dice) - 1)
    return steepness * (sizes - sizes.mean()) / sizes.std()
