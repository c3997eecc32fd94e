"""Rounding: how far two sums of the same numbers may lie apart, and so two evaluations of one network.

Kernels, processors and shapes of a batch add the same products in different orders. The roundings of a sum are as good
as independent, so their sum grows with the square root of the number of terms (Higham and Mary, A new approach to
probabilistic rounding error analysis, 2019). What lies further apart than that differs for another reason.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

_DEVIATIONS = 4  # of the random walk, so that chance alone does not pass it


def rounding(terms: int, size: float, dtype: torch.dtype = torch.float32) -> float:
    """How far two sums of *terms* numbers may lie apart, in any order, where the numbers reach *size*."""
    return _DEVIATIONS * torch.finfo(dtype).eps * math.sqrt(max(1, terms)) * size


def rounding_of(model: nn.Module, outputs: Tensor) -> float:
    """How far two evaluations of *model* may lie apart, where the largest of its *outputs* is as large as these.

    Every matrix counts with the length of its sums, as if all stood in one row. Inside a model numbers are about 1, for
    layers normalise them, so outputs that are smaller by cancellation count as 1.
    """
    terms = 0
    for part in model.parameters():
        if part.ndim > 1:
            terms += part.numel() // max(1, len(part))
    size = max(1.0, float(outputs.detach().abs().max()))
    return rounding(terms, size, outputs.dtype)
