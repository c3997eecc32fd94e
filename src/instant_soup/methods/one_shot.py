"""One-shot pruning: score the pre-trained weights once and cut.

    mask <- keep the best-scored weights of theta_0

Random and magnitude differ in the score alone. The magnitudes are those of the pre-trained
checkpoint, before any training (Chen et al., 2020; Jaiswal et al., 2023, "one-shot").
"""

from __future__ import annotations

from dataclasses import dataclass

from ..core.budget import Meter
from ..core.errors import unknown
from ..core.kinds import checked_knobs
from ..core.pattern import UNSTRUCTURED, Pattern, check_pattern
from ..core.prune import Across, prune
from ..core.score import SCORES
from ..core.task import Task
from ..core.ticket import Ticket
from .method import describe


@checked_knobs
@dataclass(frozen=True)
class OneShot:
    """Score the pre-trained weights once and cut.

    Knobs:
        score: what makes a weight worth keeping, ``"magnitude"`` or ``"random"``.
        across: one cut across the ``"model"``, or the same share of each ``"layer"`` or ``"row"``.
        pattern: ``"unstructured"``, or ``"N:M"`` to keep N of every M neighbouring inputs, such as ``"2:4"``.
    """

    score: str = "magnitude"
    across: Across = "model"
    pattern: str = UNSTRUCTURED

    def __post_init__(self) -> None:
        if self.score not in SCORES:
            raise unknown("score", self.score, SCORES)
        Pattern.named(self.pattern)

    @property
    def name(self) -> str:
        return self.score

    @property
    def trains(self) -> bool:
        return False

    def draw(self, task: Task, sparsity: float, meter: Meter | None = None) -> Ticket:
        """Draw a ticket in a single cut. Raises SparsityError when *sparsity* cannot be reached."""
        check_pattern(self.pattern, sparsity)
        learner = task.learner(meter or Meter())
        scores = SCORES[self.score](learner)

        mask = prune(
            scores, learner.mask, sparsity, across=self.across, pattern=self.pattern
        )
        learner.apply_mask(mask)
        return Ticket.drawn(learner, describe(self))
