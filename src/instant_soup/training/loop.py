"""Loop: one optimiser step under a mask."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from math import inf, isfinite

import torch
from accelerate import Accelerator
from torch import Tensor, nn
from torch.distributed.tensor import DTensor
from torch.optim import AdamW

from ..core.errors import TrainingError
from ..core.ranks.team import ALONE, Team
from .course import Batch
from .layout import local


def step(
    accelerator: Accelerator,
    model: nn.Module,
    optimizer: AdamW,
    parameters: Mapping[str, nn.Parameter],
    keep: Mapping[str, Tensor],
    micro: Sequence[tuple[Batch, float]],
    loss_of: Callable[[nn.Module, Batch, float], Tensor],
    label_smoothing: float,
    clip: float,
    team: Team = ALONE,
) -> float:
    """Take one step over *micro*-batches, each with its share of the whole batch; return the loss.

    Where several ranks take the step together, each has its own examples of each micro-batch, and the mean of the
    ranks' gradients is that of the whole batch.

    The gradients of pruned weights are zeroed before they are clipped and before AdamW sees them.
    With them, its moments stay zero at pruned weights, and so does every update it makes there.

    Args:
        parameters: the trained parameters by name.
        clip: the largest norm that the gradient may have; 0 for any.
        keep: ones and zeros of the parameter's shape and dtype, for each parameter with a pruned weight.

    Raises:
        TrainingError: the loss or the gradient is not finite; nothing has been changed then.
    """
    total = 0.0
    for batch, share in micro:
        with torch.enable_grad():
            loss = loss_of(model, batch, label_smoothing) * share
            total += float(team.added(loss.detach()))
            if not isfinite(total):
                optimizer.zero_grad(set_to_none=True)
                raise TrainingError(
                    f"the loss is {total}; lower the learning rate, or set precision to float32"
                )
            # what wraps the model takes the mean over ranks
            accelerator.backward(loss * team.size)

    for name, bits in keep.items():
        gradient = parameters[name].grad
        if gradient is not None:
            # a product on purpose: NaN at a pruned weight stays NaN, and the norm below refuses it
            local(gradient).mul_(bits)

    # times one where there is nothing to clip
    norm = accelerator.clip_grad_norm_(parameters.values(), clip or inf)
    length = float(norm.full_tensor() if isinstance(norm, DTensor) else norm)
    if not isfinite(length):
        optimizer.zero_grad(set_to_none=True)
        raise TrainingError(
            f"the gradient's norm is {length}; lower the learning rate, or set precision to float32"
        )

    optimizer.step()
    optimizer.zero_grad(set_to_none=True)
    return total
