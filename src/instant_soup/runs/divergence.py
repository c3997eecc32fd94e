"""Divergence: weights that are not finite, refused before anything is made of them."""

from __future__ import annotations

from ..core.errors import TrainingError
from ..core.weights import Weights, first_not_finite


def refuse_divergence(weights: Weights) -> None:
    """Raise TrainingError where a weight is not finite, before anything is made of it."""
    name = first_not_finite(weights)
    if name is not None:
        raise TrainingError(
            f"{name} has weights that are not finite: training has diverged; lower the learning rate, "
            f"or set precision to float32"
        )
