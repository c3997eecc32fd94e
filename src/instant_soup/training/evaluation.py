"""Evaluation: what a model answers to a whole split."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ..core.budget import Purpose
from .course import Examples
from .feed import Feed
from .order import chunks, in_order

BATCH = 256


@torch.inference_mode()
def answers(
    model: nn.Module, feed: Feed, examples: Examples, purpose: Purpose
) -> tuple[Tensor, Tensor]:
    """Outputs and targets of all *examples*, on the CPU, in evaluation mode. Ranks share the batches."""
    model.eval()
    layout = feed.layout
    outputs, targets = [], []

    for batches in chunks(
        in_order(len(examples), BATCH, examples.lengths), layout.team.size
    ):
        for indices in batches:
            batch = feed.charged(purpose, examples, indices, 1)
            feed.tell(purpose)
        if layout.team.size > 1:
            batch = examples.batch(layout.own(batches))

        output, target = feed.course.predict(model, feed.placed(batch))
        outputs.append(layout.pooled(output.float(), len(batches)))
        targets.append(layout.pooled(target, len(batches)))

    return torch.cat(outputs), torch.cat(targets)
