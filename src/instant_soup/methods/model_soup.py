"""Model soups (Wortsman et al., ICML 2022): average models fine-tuned with different hyper-parameters.

    theta_1 .. theta_K <- fine-tunes of theta_0, each for T steps with a protocol of its own
    soup <- uniform mean | greedy choice | learned shares, by the validation split

Dense as in the paper, or under one mask that all ingredients share, the magnitude mask of theta_0.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ..core.budget import Meter
from ..core.errors import KnobError, unknown
from ..core.kinds import checked_knobs
from ..core.pattern import UNSTRUCTURED, check_pattern
from ..core.prune import Across, prune, survivors
from ..core.score import magnitude
from ..core.task import Learner, Task
from ..core.ticket import Ticket
from ..core.weights import Weights
from ..soup.average import AVERAGES, Soup, barrier
from ..soup.denoiser import Protocols, briefs
from .method import describe

PROTOCOLS = Protocols(rate=(0.3, 3.0), label_smoothing=(0.0, 0.1), subset=(1.0, 1.0))


@checked_knobs
@dataclass(frozen=True)
class ModelSoup:
    """Fine-tune several times and average what comes out, dense or under one mask.

    Knobs:
        average: ``"uniform"``, ``"greedy"`` or ``"learned"``.
        ingredients: K, fine-tunes of T each; the ISP paper has 8. All are held in memory.
        protocols: what the ingredients' trainings vary in.
        across: of the shared mask: one cut across the ``"model"``, or the same share of each ``"layer"`` or ``"row"``.
        pattern: ``"unstructured"``, or ``"N:M"`` to keep N of every M neighbouring inputs, such as ``"2:4"``.
    """

    average: str = "greedy"
    ingredients: int = 8
    protocols: Protocols = PROTOCOLS
    across: Across = "model"
    pattern: str = UNSTRUCTURED

    def __post_init__(self) -> None:
        if self.average not in AVERAGES:
            raise unknown("average", self.average, AVERAGES)
        if self.ingredients < 2:
            raise KnobError(f"ingredients is {self.ingredients}; expected 2 or more")

    @property
    def name(self) -> str:
        return "model-soup"

    @property
    def trains(self) -> bool:
        return True

    def draw(self, task: Task, sparsity: float, meter: Meter | None = None) -> Ticket:
        """Draw a trained ticket at the cost of K fine-tunes. With *sparsity* 0 nothing is pruned."""
        learner = task.learner(meter or Meter())
        survivors(sparsity, learner.scope.size)
        check_pattern(self.pattern, sparsity, learner.scope)
        scores = magnitude(learner)
        mask = prune(
            scores, learner.mask, sparsity, across=self.across, pattern=self.pattern
        )
        learner.apply_mask(mask)

        bowls = []
        values = []
        seed = learner.seed("ingredients")
        for brief in briefs(self.ingredients, learner.horizon, self.protocols, seed):
            # all from the pre-trained weights, or they would not lie in one basin
            learner.restore(learner.origin)
            learner.complete(brief.variation)
            bowls.append(learner.weights())
            values.append(learner.evaluate())

        soup = AVERAGES[self.average](learner, bowls, values)
        self._report(learner, bowls, values, soup)
        learner.restore(soup.weights)

        return Ticket.drawn(learner, describe(self), ready=True)

    def _report(
        self,
        learner: Learner,
        bowls: Sequence[Weights],
        values: Sequence[float],
        soup: Soup,
    ) -> None:
        """Note of each ingredient whether it was taken, and how high the loss rises on the way to it."""
        first, *others = soup.taken
        barriers = {i: barrier(learner, bowls[first], bowls[i]) for i in others}

        for i, value in enumerate(values):
            facts = {
                "validation": value,
                "taken": i in soup.taken,
                "barrier": barriers.get(i),
            }
            learner.note("ingredients", facts)
