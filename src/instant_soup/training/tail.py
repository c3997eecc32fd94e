"""Tail: the mean of the weights over the last part of a training, in place of its last weights.

Late weights scatter around the middle of a minimum, and their mean lies nearer to it than any of them does (stochastic
weight averaging, Izmailov et al., 2018, section 3.1). It takes no pass, and memory for one more set of weights.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Self

from torch import Tensor

from .masked import MaskedModel
from .regime import Regime

SNAPSHOTS = 100
"""How many a whole line would have: more of them say little more, and each has to be added up."""


@dataclass
class Tail:
    """Adds up snapshots of a model at the end of its learning-rate line.

    Attributes:
        begins: the step of the line after which snapshots are taken.
        ends: the last step of the line, at which their mean becomes the model's weights.
        every: steps from one snapshot to the next.
        sums: of the snapshots so far, float32, held as the weights are.
        count: how many those are.
    """

    begins: int
    ends: int
    every: int
    sums: dict[str, Tensor] = field(default_factory=dict)
    count: int = 0

    @classmethod
    def of(cls, regime: Regime, horizon: int) -> Self:
        """The tail of a line of *horizon* steps; without one in the *regime*, it never begins."""
        length = round((regime.tail or 0.0) * horizon)
        return cls(horizon - length, horizon, max(1, horizon // SNAPSHOTS))

    def forget(self) -> None:
        """Begin again: what was added up is of another mask or of another training."""
        self.sums = {}
        self.count = 0

    def take_over(self, sums: Mapping[str, Tensor], count: int) -> None:
        """Go on from sums that were saved."""
        self.sums = dict(sums)
        self.count = count

    def after(self, step: int, model: MaskedModel) -> None:
        """Add the weights that *model* has after *step* of the line; at the end have it take over the mean."""
        if step <= self.begins or (self.ends - step) % self.every:
            return

        for name, tensor in model.tensors.items():
            # counters and the like have no mean
            if not tensor.is_floating_point():
                continue
            if name in self.sums:
                self.sums[name].add_(tensor)
            else:
                self.sums[name] = tensor.float().clone()
        self.count += 1

        if step == self.ends:
            model.restore({name: total / self.count for name, total in self.sums.items()})
            self.forget()
