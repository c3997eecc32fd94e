"""Sample: a few examples, of each class as many, to score weights by."""

from __future__ import annotations

import torch
from torch import Tensor

from ..core.errors import KnobError

TENTHS = 10  # a score has no classes, so its sorted values are cut into ten


def groups(targets: Tensor | None) -> int:
    """How many groups examples are drawn from: the classes that occur, or ten."""
    if targets is None or targets.is_floating_point():
        return TENTHS
    return len(torch.unique(targets))


def balanced(targets: Tensor | None, size: int, per_class: int, seed: int) -> list[int]:
    """Indices of *per_class* examples of each group, or of all that a group has.

    Args:
        targets: int64 [size] classes, float [size] scores, or None where they are not known.

    Raises:
        KnobError: *per_class* is below 1.
    """
    if per_class < 1:
        raise KnobError(
            f"per_class is {per_class}; expected 1 or more examples of each class"
        )
    dice = torch.Generator().manual_seed(seed)
    order = torch.randperm(size, generator=dice)
    if targets is None:
        return sorted(order[: per_class * TENTHS].tolist())

    if targets.is_floating_point():
        tenths = targets.argsort(stable=True).tensor_split(TENTHS)
        members = [part[torch.randperm(len(part), generator=dice)] for part in tenths]
    else:
        members = [order[targets[order] == label] for label in torch.unique(targets)]

    return sorted(int(index) for part in members for index in part[:per_class])
