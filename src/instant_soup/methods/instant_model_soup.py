"""Instant Model Soup (Jaiswal et al., ICML 2023, Algorithm 3): denoise the pre-trained weights.

    soup <- theta_0
    repeat K times: prune theta_0 by magnitude to s_k %, train that for C steps on a subset: theta_k
                    soup <- (1 - a) soup + a theta_k, with the a that validates best, 0 allowed
    fine-tune the soup, once

What the paper leaves open is a knob: K, the s_k, the grid of a. It is dense to dense; with a
sparsity, the soup is pruned by its magnitudes before the one fine-tune.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field

from ..core.budget import Meter
from ..core.errors import KnobError
from ..core.kinds import checked_knobs
from ..core.mask import Mask
from ..core.pattern import UNSTRUCTURED, check_pattern, stepped
from ..core.prune import Across, prune, survivors
from ..core.score import magnitude
from ..core.task import Brief, Learner, Task
from ..core.ticket import Ticket
from ..core.weights import Weights, lerp
from ..soup.average import barrier
from ..soup.denoiser import Protocols, Range, briefs
from .method import describe


@checked_knobs
@dataclass(frozen=True)
class InstantModelSoup:
    """Stir short sparse trainings into the pre-trained weights, then fine-tune once.

    Knobs:
        ingredients: K, sparse trainings.
        lookahead_steps: C, steps of each; the paper has about 100.
        sparsities: range (low, high) that the s_k are drawn from.
        grid: steps of the grid of a between 0 and 1; 10 tries 0, 0.1 .. 1.
        protocols: what the trainings vary in.
        across: one cut across the ``"model"``, or the same share of each ``"layer"`` or ``"row"``.
        pattern: ``"unstructured"``, or ``"N:M"`` to keep N of every M neighbouring inputs, such as ``"2:4"``.
    """

    ingredients: int = 4
    lookahead_steps: int = 100
    sparsities: Range = (0.1, 0.5)
    grid: int = 10
    protocols: Protocols = field(default_factory=Protocols)
    across: Across = "model"
    pattern: str = UNSTRUCTURED

    def __post_init__(self) -> None:
        for knob in ("ingredients", "lookahead_steps", "grid"):
            if getattr(self, knob) < 1:
                raise KnobError(f"{knob} is {getattr(self, knob)}; expected 1 or more")

        two = len(self.sparsities) == 2
        if not two or not 0 <= self.sparsities[0] <= self.sparsities[1] < 1:
            raise KnobError(
                f"sparsities is {self.sparsities}; expected (low, high) with 0 <= low <= high < 1"
            )

    @property
    def name(self) -> str:
        return "instant-model-soup"

    @property
    def trains(self) -> bool:
        return False

    def draw(self, task: Task, sparsity: float, meter: Meter | None = None) -> Ticket:
        """Draw a ticket that starts from the soup. With *sparsity* 0 nothing is pruned."""
        learner = task.learner(meter or Meter())
        survivors(sparsity, learner.scope.size)
        check_pattern(self.pattern, sparsity, learner.scope)

        dice = random.Random(learner.seed("soup sparsities"))
        drawn = [dice.uniform(*self.sparsities) for _ in range(self.ingredients)]
        sparsities = stepped(drawn, self.pattern)
        seed = learner.seed("soup")
        looks = briefs(self.ingredients, self.lookahead_steps, self.protocols, seed)

        for sparse, look in learner.rounds(zip(sparsities, looks, strict=True)):
            soup = learner.weights()
            ingredient = self._ingredient(learner, sparse, look)
            learner.restore(self._stirred(learner, soup, ingredient, sparse))

        learner.apply_mask(self._cut(learner, sparsity))
        return Ticket.drawn(learner, describe(self))

    def _ingredient(self, learner: Learner, sparsity: float, look: Brief) -> Weights:
        """The pre-trained weights, pruned to *sparsity* and trained for a moment."""
        learner.restore(learner.origin)
        learner.apply_mask(self._cut(learner, sparsity))
        (trained,) = learner.look_ahead([look], _weights)

        # the soup is dense again, and the next ingredient prunes other weights
        learner.apply_mask(Mask.dense(learner.scope))
        return trained

    def _cut(self, learner: Learner, sparsity: float) -> Mask:
        """The mask of the largest weights of *learner*, which is dense."""
        scores = magnitude(learner)
        return prune(
            scores, learner.mask, sparsity, across=self.across, pattern=self.pattern
        )

    def _stirred(
        self, learner: Learner, soup: Weights, ingredient: Weights, sparsity: float
    ) -> Weights:
        """The mix that validates best; of equals the one nearest to *soup*."""
        learner.restore(soup)
        # the soup as it is comes first, so that an ingredient that helps nothing leaves no trace
        share = 0.0
        best = learner.evaluate()

        for i in range(1, self.grid + 1):
            learner.restore(lerp(soup, ingredient, i / self.grid))
            value = learner.evaluate()
            if value > best:
                share = i / self.grid
                best = value

        facts = {
            "sparsity": sparsity,
            "share": share,
            "validation": best,
            "barrier": barrier(learner, soup, ingredient),
        }
        learner.note("ingredients", facts)
        return lerp(soup, ingredient, share)


def _weights(learner: Learner) -> Weights:
    return learner.weights()
