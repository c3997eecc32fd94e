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
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from ..core.budget import Meter
from ..core.errors import KnobError
from ..core.kinds import checked_knobs
from ..core.mask import Mask
from ..core.pattern import UNSTRUCTURED, Pattern, check_pattern, stepped
from ..core.prune import Across, prune
from ..core.schedule import Share, steps_to
from ..core.score import POWER, saliency
from ..core.task import Learner, Task
from ..core.ticket import Ticket
from ..core.weights import Elementwise, Lazy, Weights, lerp
from .lottery import begun, check_rounds, rewound
from .method import describe

COEFFICIENTS = (0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95)


@checked_knobs
@dataclass(frozen=True)
class LotteryPools:
    """Mix the trained ticket of IMP with the levels around it, where validation says that helps.

    Knobs:
        coefficients: shares of the pool so far that are tried against each level; (0.5,) is the
            authors' "average".
        beyond: levels sparser than the target that join the pool; each costs one more T.
        rewind, compression, share, rounds, score, rewind_head, across, pattern: of the IMP below, see ``lth-rewind``.
    """

    coefficients: tuple[float, ...] = COEFFICIENTS
    beyond: int = 0
    rewind: float = 0.0
    compression: float = 0.1
    share: Share = "linear"
    rounds: int | None = None
    score: str = "magnitude"
    rewind_head: bool = False
    across: Across = "model"
    pattern: str = UNSTRUCTURED

    def __post_init__(self) -> None:
        if not self.coefficients or not all(0 < a < 1 for a in self.coefficients):
            raise KnobError(
                f"coefficients are {self.coefficients}; expected one or more between 0 and 1"
            )

        if self.beyond < 0:
            raise KnobError(f"beyond is {self.beyond}; expected 0 or more levels")
        if self.beyond and Pattern.named(self.pattern) is not None:
            raise KnobError(
                f"beyond is {self.beyond}, and nothing lies beyond pattern {self.pattern!r}; set it to 0"
            )

        check_rounds(self.rewind, self.compression, self.share, self.rounds, self.score)

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
        check_pattern(self.pattern, sparsity, learner.scope)
        targets = stepped(self._targets(sparsity), self.pattern)
        start, at = begun(learner, self.rewind)
        score = saliency(self.score)

        place = len(targets) - self.beyond
        pool: list[Level] = []
        # one training more than there are targets: the sparsest level is trained too, and then not cut
        for number, target in enumerate((*targets, None)):
            if number == place:
                # the head too: this level is the ticket of IMP, fine-tuned as that would be
                learner.restore(start)

            learner.complete(at=at)
            pool.append(self._level(learner))
            if target is not None:
                scores = score(learner)
                mask = prune(
                    scores, learner.mask, target, across=self.across, pattern=self.pattern
                )
                learner.apply_mask(mask)
                rewound(learner, start, rewind_head=self.rewind_head)

        # mixed at the end, because levels on both sides of the ticket join in
        best = self._mixed(learner, pool, place, sparsity)
        learner.apply_mask(best.mask)
        learner.restore(best.weights)
        return Ticket.drawn(learner, describe(self), ready=True)

    def _level(self, learner: Learner) -> Level:
        """Where *learner* stands. Second moments are as large as the model, and held only where they are needed."""
        moments = dict(learner.second_moments()) if self.score == "curved" else {}
        return Level(learner.mask, learner.weights(), moments)

    def _targets(self, sparsity: float) -> tuple[float, ...]:
        targets = list(steps_to(sparsity, self.compression, self.share, self.rounds))
        for _ in range(self.beyond):
            last = targets[-1]
            left = 1.0 if self.share == "linear" else 1 - last
            targets.append(last + self.compression * left)

        if targets[-1] >= 1 - 1e-9:
            raise KnobError(
                f"beyond is {self.beyond}, whose last level would prune {targets[-1]:.0%}; lower beyond or compression"
            )
        return tuple(targets)

    def _mixed(
        self, learner: Learner, pool: Sequence[Level], place: int, sparsity: float
    ) -> Level:
        """Interpolate outward from the ticket at *place*."""
        best = pool[place]
        learner.apply_mask(best.mask)
        learner.restore(best.weights)
        bar = learner.evaluate()

        for number in _outward(len(pool), place):
            better = None
            for coefficient in self.coefficients:
                candidate = self._candidate(
                    learner, pool[number], best, coefficient, sparsity
                )
                learner.apply_mask(candidate.mask)
                learner.restore(candidate.weights)
                value = learner.evaluate()
                if value > bar:
                    bar = value
                    # what the learner holds is masked, which the mixture is not
                    masked = replace(candidate, weights=learner.weights())
                    better = (coefficient, masked)

            taken = better[0] if better else None
            learner.note(
                "pool", {"level": number, "coefficient": taken, "validation": bar}
            )
            if better:
                best = better[1]

        return best

    def _candidate(
        self,
        learner: Learner,
        level: Level,
        best: Level,
        coefficient: float,
        sparsity: float,
    ) -> Level:
        """*best* interpolated with *level* and cut, by the score whose curvature is interpolated likewise."""
        weights = lerp(level.weights, best.weights, coefficient)
        moments = lerp(level.moments, best.moments, coefficient)
        in_scope = {name: weights[name] for name in learner.scope}
        magnitudes = Elementwise(in_scope, torch.abs)

        def curved(name: str) -> Tensor:
            return magnitudes[name].float() * moments[name].pow(POWER)

        by_magnitude = self.score == "magnitude"
        scores = magnitudes if by_magnitude else Lazy(learner.scope, curved)
        # from a dense mask: the mixture may keep what either of the two has pruned
        dense = Mask.dense(learner.scope)
        mask = prune(scores, dense, sparsity, across=self.across, pattern=self.pattern)
        return Level(mask, weights, moments)


@dataclass(frozen=True)
class Level:
    """A trained level of IMP, or a mixture of some: its mask, its weights, their second moments."""

    mask: Mask
    weights: Weights
    moments: Weights


def _outward(levels: int, place: int) -> list[int]:
    """The levels beside *place*, the nearest first."""
    others = [number for number in range(levels) if number != place]
    return sorted(others, key=lambda number: (abs(number - place), number))
