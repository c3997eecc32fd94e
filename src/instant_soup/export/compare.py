"""Compare: what was exported must do what the model does."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from .errors import ExportError
from .portable import Portable

Runner = Callable[[Mapping[str, Tensor]], Tensor]
"""From inputs by name to logits."""


SHAPES = ((1, 8), (1, 31), (2, 17), (5, 64))
"""Batch sizes and lengths that outputs are compared at; images have no length."""

TOLERANCE = 1e-4


def runner_of(model: Any) -> Runner:
    """What runs a *model* of torch that gives ``logits``."""

    @torch.inference_mode()
    def run(inputs: Mapping[str, Tensor]) -> Tensor:
        logits: Tensor = model(**inputs).logits
        return logits

    return run


def largest_difference(portable: Portable, run: Runner, what: str) -> float:
    """The largest difference between the outputs of *run* and those of the model, over several batches.

    Raises ExportError, naming it, where it is more than `TOLERANCE` of the largest output, or of 1 if that is more.
    """
    worst = 0.0
    for seed, (batch, length) in enumerate(SHAPES):
        inputs = portable.inputs(batch, min(length, portable.longest), seed)
        expected, found = portable.logits(inputs), run(inputs)
        if found.shape != expected.shape:
            raise ExportError(f"{what} gives outputs of shape {tuple(found.shape)}, the model {tuple(expected.shape)}")
        difference, size = float((found - expected).abs().max()), float(expected.abs().max())
        if not difference <= TOLERANCE * max(1.0, size):  # NaN is not
            raise ExportError(
                f"outputs of {what} differ from the model's by up to {difference:.3g} at batch {batch}, where the "
                f"largest output is {size:.3g}; nothing was written"
            )
        worst = max(worst, difference)
    return worst
