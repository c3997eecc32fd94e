"""Order: which examples make up which batch. A pure function of a seed and a position."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from math import ceil

import torch
from torch import Tensor

from ..core.task import Item, Portion
from .seeds import stream

# batches that are sorted by length together: few enough that each epoch mixes anew
POOL = 50


@dataclass
class Order:
    """Batches of similar length, shuffled anew each epoch, over a subset fixed by the seed.

    The subset is chosen by index, so examples outside of it are never touched.

    Attributes:
        size: how many examples there are.
        batch: how many make up a batch.
        seed: of the subset and of the order.
        lengths: of each example, where they differ; batches are then of similar length.
        subset: the share of the examples, or of those of *portion*, that is gone through.
        portion: the part of the examples that the subset is taken from; all of them if None.
        lean: float [size], the logarithm of how much rather each example is taken into the subset.
        least: how many examples a model can train on at a time; a smaller last batch joins the one before it.
    """

    size: int
    batch: int
    seed: int
    lengths: Sequence[int] | None = None
    subset: float = 1.0
    portion: Portion | None = None
    lean: Tensor | None = None
    least: int = 1
    _epoch: int = field(default=-1, init=False)
    _batches: list[list[int]] = field(default_factory=list, init=False)

    def at(self, position: int) -> list[int]:
        """The indices of batch number *position*, counted through all epochs."""
        kept = max(1, round(self.subset * len(self._eligible)))
        rest = kept % self.batch
        joined = 0 < rest < self.least and kept > self.batch
        epoch, place = divmod(position, ceil(kept / self.batch) - joined)

        # one epoch is held at a time; any other is worked out anew from the seed
        if epoch != self._epoch:
            self._batches = self._shuffled(epoch, kept)
            self._epoch = epoch
        return self._batches[place]

    def _shuffled(self, epoch: int, kept: int) -> list[list[int]]:
        shuffle = torch.randperm(kept, generator=self._dice("epoch", epoch))
        order: list[int] = self._chosen(kept)[shuffle].tolist()
        if self.lengths is None:
            return self._joined(chunks(order, self.batch))

        batches: list[list[int]] = []
        for pool in chunks(order, POOL * self.batch):
            by_length = sorted(pool, key=self.lengths.__getitem__)
            batches += chunks(by_length, self.batch)
        batches = self._joined(batches)

        # a pool goes from short to long, which training must not
        shuffle = torch.randperm(len(batches), generator=self._dice("batches", epoch))
        return [batches[i] for i in shuffle.tolist()]

    def _joined(self, batches: list[list[int]]) -> list[list[int]]:
        """*batches*, the last of which is with the one before it if it is too small."""
        if len(batches) > 1 and len(batches[-1]) < self.least:
            return [*batches[:-2], batches[-2] + batches[-1]]
        return batches

    @cached_property
    def _eligible(self) -> Tensor:
        """The indices that the subset is taken from."""
        if self.portion is None:
            return torch.arange(self.size)

        # by the portion's own seed, which the others share, so that no two have an example in common
        dice = torch.Generator().manual_seed(self.portion.seed)
        shuffled = torch.randperm(self.size, generator=dice)
        return shuffled[self.portion.index :: self.portion.count]

    def _chosen(self, kept: int) -> Tensor:
        """The *kept* indices of the subset."""
        eligible = self._eligible
        if kept == len(eligible):
            return eligible

        dice = self._dice("subset")
        if self.lean is None:
            shuffle = torch.randperm(len(eligible), generator=dice)
            return eligible[shuffle[:kept]]

        # the largest of log-weights plus Gumbel noise are a draw without replacement by weight
        noise = -torch.empty(len(eligible)).exponential_(generator=dice).log()
        return eligible[(self.lean[eligible] + noise).topk(kept).indices]

    def _dice(self, *purpose: str | int) -> torch.Generator:
        return torch.Generator().manual_seed(stream(self.seed, *purpose))


def in_order(size: int, batch: int, lengths: Sequence[int] | None) -> list[list[int]]:
    """Every example once, in batches of similar length: for evaluation, where order does not matter."""
    indices = list(range(size))
    if lengths is not None:
        indices.sort(key=lengths.__getitem__)
    return chunks(indices, batch)


def chunks(items: list[Item], size: int) -> list[list[Item]]:
    """*items* in parts of *size*, the last one with what is left."""
    return [items[start : start + size] for start in range(0, len(items), size)]
