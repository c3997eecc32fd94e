"""Lottery Pools (Yin et al., AAAI 2023): interpolate the by-products of IMP.

theta_0 .. theta_t <- the trained levels of IMP, up to the target's and, if asked, beyond
best <- theta_t
for theta_i in the other levels, nearest first:
    for a in coefficients:
        candidate <- magnitude-prune(a * best + (1 - a) * theta_i) to the target's sparsity
    best <- the best candidate, if it is better than best on the validation split
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch

from ..core.budget import Meter
from ..core.errors import KnobError
from ..core.mask import Mask
from ..core.prune import Across, prune
from ..core.schedule import steps_to
from ..core.task import Learner, Task
from ..core.ticket import Ticket
from ..core.weights import Elementwise, Weights, lerp
from .lottery import begun, levels
from .method import describe

COEFFICIENTS = (0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95)


@dataclass(frozen=True)
class LotteryPools:
    """Mix the trained ticket of IMP with the levels around it, where validation says that helps.

    Knobs:
        coefficients: shares of the pool so far that are tried against each level; (0.5,) is the
            authors' "average".
        beyond: levels sparser than the target that join the pool; each costs one more T.
        rewind, compression, share, rewind_head, across: of the IMP below, see ``lth-rewind``.
    """

    coefficients: tuple[float, ...] = COEFFICIENTS
    beyond: int = 0
    rewind: float = 0.0
    compression: float = 0.1
    share: Literal["linear", "geometric"] = "linear"
    rewind_head: bool = False
    across: Across = "model"

    def __post_init__(self) -> None:
        if not self.coefficients or not all(0 < a < 1 for a in self.coefficients):
            raise KnobError(f"coefficients are {self.coefficients}; expected one or more between 0 and 1")
        if self.beyond < 0:
            raise KnobError(f"beyond is {self.beyond}; expected 0 or more levels")
        if not 0 <= self.rewind < 1:
            raise KnobError(f"rewind is {self.rewind}; expected a share of T, 0 <= rewind < 1, such as 0.02")
        steps_to(0.5, self.compression, self.share)

    @property
    def name(self) -> str:
        return "lottery-pools"

    @property
    def trains(self) -> bool:
        return True

    def draw(self, task: Task, sparsity: float, meter: Meter | None = None) -> Ticket:
        """Draw a ticket; it comes back trained. All levels of the pool are held in memory.

        Raises KnobError when *beyond* asks for levels that would keep nothing.
        """
        learner = task.learner(meter or Meter())
        targets = self._targets(sparsity)
        start, at = begun(learner, self.rewind)
        pool = []
        for _ in levels(learner, targets, start, at, rewind_head=self.rewind_head, across=self.across):
            pool.append((learner.mask, learner.weights()))
        learner.complete(at=at)
        pool.append((learner.mask, learner.weights()))
        mask, best = self._mixed(learner, pool, len(pool) - 1 - self.beyond, sparsity)
        learner.apply_mask(mask)
        learner.restore(best)
        return Ticket.drawn(learner, describe(self), ready=True)

    def _targets(self, sparsity: float) -> tuple[float, ...]:
        targets = list(steps_to(sparsity, self.compression, self.share))
        for _ in range(self.beyond):
            last = targets[-1]
            targets.append(last + self.compression * (1 if self.share == "linear" else 1 - last))
        if targets[-1] >= 1 - 1e-9:
            raise KnobError(
                f"beyond is {self.beyond}, whose last level would prune {targets[-1]:.0%}; lower beyond or compression"
            )
        return tuple(targets)

    def _mixed(
        self, learner: Learner, pool: Sequence[tuple[Mask, Weights]], place: int, sparsity: float
    ) -> tuple[Mask, Weights]:
        """Interpolate outward from the ticket at *place*."""
        mask, best = pool[place]
        dense = Mask.dense(learner.scope)
        learner.apply_mask(mask)
        learner.restore(best)
        bar = learner.evaluate()
        for i in sorted(set(range(len(pool))) - {place}, key=lambda i: (abs(i - place), i)):
            found = None
            for a in self.coefficients:
                candidate = lerp(pool[i][1], best, a)
                sizes = Elementwise({name: candidate[name] for name in learner.scope}, torch.abs)
                cut = prune(sizes, dense, sparsity, across=self.across)
                learner.apply_mask(cut)
                learner.restore(candidate)
                if (value := learner.evaluate()) > bar:
                    bar, found = value, (a, cut, learner.weights())
            learner.note("pool", {"level": i, "coefficient": found[0] if found else None, "validation": bar})
            if found:
                _, mask, best = found
        return mask, best
