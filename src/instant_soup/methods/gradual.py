"""Progressive magnitude pruning inside one fine-tune (Zhu and Gupta, 2017; Jaiswal et al., 2023).

for each round: train theta, prune the smallest |theta| up to the round's sparsity
train the survivors for what is left of T, same optimiser and schedule
"""

from __future__ import annotations

from dataclasses import dataclass

from ..core.budget import Meter
from ..core.errors import KnobError, unknown
from ..core.kinds import checked_knobs
from ..core.pattern import UNSTRUCTURED, check_pattern, stepped
from ..core.prune import Across, prune
from ..core.schedule import SCHEDULES
from ..core.score import saliency
from ..core.task import Task
from ..core.ticket import Ticket
from .method import describe


@checked_knobs
@dataclass(frozen=True)
class Gradual:
    """Prune a little, train a little, all inside one fine-tune.

    Knobs:
        rounds: how many cuts.
        mask_share: the share of T by which the last cut is made; the rest of T trains the final mask.
        mask_start: the share of T that passes before cuts begin; from there they are evenly spaced.
        schedule: how sparsity grows: ``"linear"`` (the ISP authors' scripts), ``"cubic"``
            (Zhu and Gupta), ``"geometric"``.
        score: what a cut goes by: ``"magnitude"``, or ``"curved"``, which weighs magnitudes by the optimiser's memory
            of their gradients.
        across: one cut across the ``"model"``, or the same share of each ``"layer"`` or ``"row"``.
        pattern: ``"unstructured"``, or ``"N:M"`` to keep N of every M neighbouring inputs, such as ``"2:4"``.
    """

    rounds: int = 10
    mask_share: float = 0.5
    mask_start: float = 0.0
    schedule: str = "linear"
    score: str = "magnitude"
    across: Across = "model"
    pattern: str = UNSTRUCTURED

    def __post_init__(self) -> None:
        if self.schedule not in SCHEDULES:
            raise unknown("schedule", self.schedule, SCHEDULES)
        saliency(self.score)  # raises where there is none of that name
        if self.rounds < 1:
            raise KnobError(f"rounds is {self.rounds}; expected 1 or more")
        if not 0 <= self.mask_share <= 1:
            raise KnobError(
                f"mask_share is {self.mask_share}; expected a share of T between 0 and 1"
            )

        if not 0 <= self.mask_start <= self.mask_share:
            raise KnobError(
                f"mask_start is {self.mask_start}; expected a share of T between 0 and mask_share, {self.mask_share}"
            )

    @property
    def name(self) -> str:
        return "gradual"

    @property
    def trains(self) -> bool:
        return True

    def draw(self, task: Task, sparsity: float, meter: Meter | None = None) -> Ticket:
        """Draw a ticket while training; it comes back trained."""
        learner = task.learner(meter or Meter())
        score = saliency(self.score)
        check_pattern(self.pattern, sparsity, learner.scope)
        targets = stepped(SCHEDULES[self.schedule](sparsity, self.rounds), self.pattern)

        ends = self._ends(learner.horizon)

        for target, end in learner.rounds(zip(targets, ends, strict=True)):
            learner.train(end - learner.steps_taken)
            scores = score(learner)
            mask = prune(
                scores, learner.mask, target, across=self.across, pattern=self.pattern
            )
            learner.apply_mask(mask)

        # what is left of T trains the final mask
        learner.train(learner.horizon - learner.steps_taken)
        return Ticket.drawn(learner, describe(self), ready=True)

    def _ends(self, horizon: int) -> list[int]:
        """The step at which each cut comes, on a line of *horizon* steps."""
        first = self.mask_start * horizon
        stage = (self.mask_share - self.mask_start) * horizon
        return [
            round(first + stage * number / self.rounds)
            for number in range(1, self.rounds + 1)
        ]
