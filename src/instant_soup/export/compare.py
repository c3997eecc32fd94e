"""Compare: checks that an export gives the outputs of the model."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from ..core.rounding import rounding_of
from .errors import ExportError
from .portable import Portable

Runner = Callable[[Mapping[str, Tensor]], Tensor]
"""From inputs by name to logits."""


SHAPES = ((1, 8), (1, 31), (2, 17), (5, 64))
"""Batch sizes and lengths at which outputs are compared; images have no length."""

LEAST = 1e-4
"""The difference that is allowed in any case, as a share of the largest output, or of 1 if that is more."""


def runner_of(model: Any) -> Runner:
    """The function that runs a *model* of torch that gives ``logits``."""

    @torch.inference_mode()
    def run(inputs: Mapping[str, Tensor]) -> Tensor:
        logits: Tensor = model(**inputs).logits
        return logits

    return run


def largest_difference(portable: Portable, run: Runner, what: str) -> float:
    """The largest difference between the outputs of *run* and those of the model, over several batches.

    Args:
        what: what errors call the export.

    Raises:
        ExportError: a difference is more than `allowed`, or outputs have another shape.
    """
    worst = 0.0
    # several shapes: a graph may be traced for one, and padding matters only where lengths differ
    for seed, (batch, length) in enumerate(SHAPES):
        inputs = portable.inputs(batch, min(length, portable.longest), seed)
        expected = portable.logits(inputs)
        outputs = run(inputs)

        if outputs.shape != expected.shape:
            raise ExportError(
                f"{what} gives outputs of shape {tuple(outputs.shape)}, the model {tuple(expected.shape)}"
            )

        difference = float((outputs - expected).abs().max())
        # not "greater than", which is false of NaN
        if not difference <= allowed(portable, expected):
            raise ExportError(
                f"outputs of {what} differ from the model's by up to {difference:.3g} at batch {batch}, where the "
                f"largest output is {float(expected.abs().max()):.3g}; nothing was written"
            )
        worst = max(worst, difference)

    return worst


def allowed(portable: Portable, expected: Tensor) -> float:
    """How far outputs may lie from the *expected* ones: as far as rounding explains, and `LEAST` in any case."""
    size = max(1.0, float(expected.abs().max()))
    return max(LEAST * size, rounding_of(portable.model, expected))
