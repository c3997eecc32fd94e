"""Iterative magnitude pruning: LTH (Frankle and Carbin, 2019) and LTH-Rewind (Frankle et al., 2020).

    train theta_0 for k steps: theta_k                        (k = 0 for LTH)
    for each round: train m * theta_k to the end of the line, fresh optimiser, schedule from step k
                    m <- prune the smallest |theta_T| up to the round's sparsity
                    theta <- theta_k, survivors and all the rest but the head
    the ticket is m and theta_k

Each round costs a whole fine-tune. The rounds of one sweep are levels that lead through every
sparsity on the way; a level that a store holds is not trained again, for whichever ticket.
"""

from __future__ import annotations

from dataclasses import dataclass

from ..core.budget import Meter
from ..core.errors import KnobError
from ..core.kinds import checked_knobs
from ..core.pattern import UNSTRUCTURED, check_pattern, stepped
from ..core.prune import Across, prune
from ..core.schedule import Share, steps_to
from ..core.score import saliency
from ..core.task import Learner, Task
from ..core.ticket import Ticket
from ..core.weights import Weights
from .method import describe


@checked_knobs
@dataclass(frozen=True)
class Lottery:
    """Train to the end, prune a little, rewind, and do it again.

    Knobs:
        rewind: k / T, the share of T that survivors are rewound to; 0 is the pre-trained weights.
        compression: the share that a round prunes; the last round prunes what is missing.
        share: of what that is a share: of all weights (``"linear"``, Chen et al., 2020) or of the
            rest (``"geometric"``, Frankle and Carbin); with *rounds* also ``"cubic"``, much at first and little later.
        rounds: how many rounds, in place of *compression*.
        score: what a cut goes by: ``"magnitude"``, or ``"curved"``, which weighs magnitudes by the optimiser's memory
            of their gradients.
        rewind_head: whether the task's new head is rewound each round too. It is not in Chen et
            al.; the ticket starts from the head that all tickets start from either way.
        across: one cut across the ``"model"``, or the same share of each ``"layer"`` or ``"row"``.
        pattern: ``"unstructured"``, or ``"N:M"`` to keep N of every M neighbouring inputs, such as ``"2:4"``.
    """

    rewind: float = 0.02
    compression: float = 0.1
    share: Share = "linear"
    rounds: int | None = None
    score: str = "magnitude"
    rewind_head: bool = False
    across: Across = "model"
    pattern: str = UNSTRUCTURED

    def __post_init__(self) -> None:
        check_rounds(self.rewind, self.compression, self.share, self.rounds, self.score)

    @property
    def name(self) -> str:
        return "lth-rewind" if self.rewind else "lth"

    @property
    def trains(self) -> bool:
        return False

    def draw(self, task: Task, sparsity: float, meter: Meter | None = None) -> Ticket:
        """Draw a ticket at the cost of a whole fine-tune each round."""
        learner = task.learner(meter or Meter())
        check_pattern(self.pattern, sparsity, learner.scope)
        shares = steps_to(sparsity, self.compression, self.share, self.rounds)
        targets = stepped(shares, self.pattern)
        start, at = begun(learner, self.rewind)
        score = saliency(self.score)

        # no `learner.rounds`: a killed run takes the trainings that are done from the shelf
        for target in targets:
            learner.complete(at=at)
            scores = score(learner)
            mask = prune(
                scores, learner.mask, target, across=self.across, pattern=self.pattern
            )
            learner.apply_mask(mask)
            rewound(learner, start, rewind_head=self.rewind_head)

        return Ticket.drawn(learner, describe(self), start=start)


def check_rounds(
    rewind: float, compression: float, share: str, rounds: int | None, score: str
) -> None:
    """Refuse settings of IMP that cannot work. Raises KnobError or UnknownName."""
    if not 0 <= rewind < 1:
        raise KnobError(
            f"rewind is {rewind}; expected a share of T, 0 <= rewind < 1, such as 0.02"
        )

    saliency(score)
    steps_to(0.5, compression, share, rounds)


def begun(learner: Learner, rewind: float) -> tuple[Weights, int]:
    """What rounds are rewound to: the weights, and the step they were reached at."""
    if not rewind:
        return learner.origin, 0
    learner.train(max(1, round(rewind * learner.horizon)))
    return learner.weights(), learner.steps_taken


def rewound(learner: Learner, start: Weights, *, rewind_head: bool) -> None:
    """Put a *learner* back to *start* under its mask, but for the head unless asked."""
    heads = () if rewind_head else learner.fresh
    rewound_to = {name: part for name, part in start.items() if name not in heads}
    learner.restore(rewound_to)
