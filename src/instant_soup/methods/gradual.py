"""Progressive magnitude pruning inside one fine-tune (Zhu and Gupta, 2017; Jaiswal et al., 2023).

for each round: train theta, prune the smallest |theta| up to the round's sparsity
train the survivors for what is left of T, same optimiser and schedule
"""

from __future__ import annotations

from dataclasses import dataclass

from ..core.budget import Meter
from ..core.errors import KnobError, unknown
from ..core.prune import Across, prune
from ..core.schedule import SCHEDULES
from ..core.score import magnitude
from ..core.task import Task
from ..core.ticket import Ticket
from .method import describe


@dataclass(frozen=True)
class Gradual:
    """Prune a little, train a little, all inside one fine-tune.

    Knobs:
        rounds: how many cuts.
        mask_share: the share of T in which the cuts are made, evenly spaced; the rest of T
            trains the final mask.
        schedule: how sparsity grows: ``"linear"`` (the ISP authors' scripts), ``"cubic"``
            (Zhu and Gupta), ``"geometric"``.
        across: one cut across the ``"model"``, or the same share of each ``"layer"``.
    """

    rounds: int = 10
    mask_share: float = 0.5
    schedule: str = "linear"
    across: Across = "model"

    def __post_init__(self) -> None:
        if self.schedule not in SCHEDULES:
            raise unknown("schedule", self.schedule, SCHEDULES)
        if self.rounds < 1:
            raise KnobError(f"rounds is {self.rounds}; expected 1 or more")
        if not 0 <= self.mask_share <= 1:
            raise KnobError(f"mask_share is {self.mask_share}; expected a share of T between 0 and 1")

    @property
    def name(self) -> str:
        return "gradual"

    @property
    def trains(self) -> bool:
        return True

    def draw(self, task: Task, sparsity: float, meter: Meter | None = None) -> Ticket:
        """Draw a ticket while training; it comes back trained."""
        learner = task.learner(meter or Meter())
        targets = SCHEDULES[self.schedule](sparsity, self.rounds)
        ends = [round(self.mask_share * learner.horizon * r / self.rounds) for r in range(1, self.rounds + 1)]
        for target, end in learner.rounds(zip(targets, ends, strict=True)):
            learner.train(end - learner.steps_taken)
            learner.apply_mask(prune(magnitude(learner), learner.mask, target, across=self.across))
        learner.train(learner.horizon - learner.steps_taken)
        return Ticket.drawn(learner, describe(self), ready=True)
