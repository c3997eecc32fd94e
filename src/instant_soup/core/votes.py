"""Votes: rank weights by how many masks keep them, and among those with as many votes by their score."""

from __future__ import annotations

import torch
from torch import Tensor


def ranked(votes: Tensor, score: Tensor) -> Tensor:
    """A number for each weight that orders by *votes* first and by *score* second: int64, of their shape.

    Args:
        votes: how many masks keep each weight, of any integer dtype.
        score: float32, not below zero and without NaN. The bits of such numbers are ordered as they are.
    """
    above = votes.to(torch.int64, copy=True).bitwise_left_shift_(32)
    return above.add_(score.contiguous().view(torch.int32))
