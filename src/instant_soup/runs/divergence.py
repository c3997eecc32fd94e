"""Divergence: weights that are not finite, refused before anything is made of them."""

from __future__ import annotations

import torch

from ..core.errors import TrainingError
from ..core.weights import Weights


def refuse_divergence(weights: Weights) -> None:
    """Raise TrainingError where a weight is not finite, before anything is made of it."""
    for name, tensor in weights.items():
        if tensor.is_floating_point() and not bool(torch.isfinite(tensor).all()):
            raise TrainingError(
                f"{name} has weights that are not finite: training has diverged; lower the learning rate, "
                f"or set precision to float32"
            )
