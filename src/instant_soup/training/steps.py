"""Steps: one optimiser step as a learner takes it: charged before, with dice of its own, and told of afterwards."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from ..core.budget import Purpose
from ..core.task import Brief, Variation
from .feed import Feed
from .seeds import borrowed, stream


@dataclass(frozen=True)
class Steps:
    """Trains a model on a feed, step by step.

    Attributes:
        feed: the model, what it is trained on, and who is charged.
        seed: of the run; the dice of each step follow from it and from where the step is.
    """

    feed: Feed
    seed: int

    def take(
        self,
        indices: list[int],
        purpose: Purpose,
        rate: float,
        variation: Variation,
        dice: tuple[str | int, ...],
    ) -> None:
        """Take one step.

        Args:
            indices: the training examples of the batch.
            rate: the learning rate.
            variation: how the loss differs from that of the main line.
            dice: what tells the random numbers of this step from those of others.
        """
        train = self.feed.course.train
        batch = self.feed.charged(purpose, train, indices, 3, steps=1)

        # rank 0 draws what a process alone would draw
        rank = self.feed.layout.team.rank
        if rank:
            dice = (*dice, "rank", rank)

        # dropout draws from torch's global stream, which belongs to whoever called
        with borrowed():
            torch.manual_seed(stream(self.seed, *dice))
            parts = self.feed.micro(batch, indices)
            loss = self.feed.model.step(parts, rate, variation)
        self.feed.tell(purpose, loss)

    def look_ahead(self, brief: Brief, rate: float) -> None:
        """Train as *brief* says, at a *rate* that no line lowers."""
        variation = brief.variation
        order = self.feed.order(variation)

        for position in range(brief.steps):
            warm = min(1.0, (position + 1) / brief.warmup) if brief.warmup else 1.0
            dice = ("look-ahead dropout", variation.seed, position)
            self.take(order.at(position), "look-ahead", warm * rate, variation, dice)
