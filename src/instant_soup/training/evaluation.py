"""Evaluation: what a model answers to a whole split, and what that is worth."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ..core.budget import Purpose
from .course import Examples
from .feed import Feed
from .order import chunks, in_order

BATCH = 256


@dataclass(frozen=True)
class Evaluation:
    """Judges a model in evaluation mode, each example charged before it is used.

    Attributes:
        feed: the model, the splits to judge it by, and their charge.
    """

    feed: Feed

    def selected(self) -> float:
        """The figure that selection goes by, on the validation split; higher is better."""
        course = self.feed.course
        return course.selected(*self._answers(course.validation, "select"))

    def loss(self) -> float:
        """The mean loss on the validation split."""
        course = self.feed.course
        outputs, targets = self._answers(course.validation, "select")
        return float(course.loss(outputs, targets, 0.0))

    def test(self) -> dict[str, float]:
        """The task's figures on the test split."""
        course = self.feed.course
        return dict(course.metric(*self._answers(course.test, "test")))

    @torch.inference_mode()
    def _answers(self, examples: Examples, purpose: Purpose) -> tuple[Tensor, Tensor]:
        """Outputs and targets of all *examples*, on the CPU. Ranks share the batches."""
        model = self.feed.model.wrapped
        model.eval()
        layout = self.feed.layout
        all_batches = in_order(len(examples), BATCH, examples.lengths)
        outputs = []
        targets = []

        # one batch a rank at a time; every rank charges for all of them, as one process alone would
        for batches in chunks(all_batches, layout.team.size):
            for indices in batches:
                batch = self.feed.charged(purpose, examples, indices, 1)
                self.feed.tell(purpose)
            if layout.team.size > 1:
                batch = examples.batch(layout.own(batches))

            output, target = self.feed.course.predict(model, self.feed.placed(batch))
            # metrics are computed in float32, whatever the model computed in
            outputs.append(layout.pooled(output.float(), len(batches)))
            targets.append(layout.pooled(target, len(batches)))

        return torch.cat(outputs), torch.cat(targets)
