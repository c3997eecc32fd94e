"""Early-Bird tickets (You et al., ICLR 2020), with unstructured masks.

    repeat: train theta for a fraction of an epoch
            m <- magnitude mask of theta at the target sparsity, not applied
            push m into a queue of l masks
    until the newest mask is within epsilon of each of the others

The original prunes channels by BatchNorm scales, which transformers do not have; EarlyBERT prunes
heads and neurons, which cannot reach the sparsities compared here. So the masks are magnitude masks
at the target, as the ISP paper's comparison must have had them (it does not say).
"""

from __future__ import annotations

from dataclasses import dataclass

from ..core.budget import Meter
from ..core.errors import KnobError
from ..core.kinds import checked_knobs
from ..core.pattern import UNSTRUCTURED, check_pattern
from ..core.prune import Across, prune, survivors
from ..core.score import saliency
from ..core.task import Task
from ..core.ticket import Ticket
from .finish import Finish, check_finish, finished
from .method import describe


@checked_knobs
@dataclass(frozen=True)
class EarlyBird:
    """Train densely until the mask stops changing, then take it.

    Knobs:
        check: epochs between two looks at the mask, such as 0.1.
        queue: l, masks that must agree, the newest included (the authors have 5).
        epsilon: the largest distance to count as agreement: the share of weights on which two
            masks differ, over the largest share on which two masks of this sparsity can.
        mask_share: the share of T by which a mask is taken, whether they agree or not.
        finish: ``"continue"`` with the same optimiser and schedule for the rest of T;
            ``"restart"`` both over a fresh T; ``"rewind"`` to the pre-trained weights and a fresh T.
        score: what the masks go by: ``"magnitude"``, or ``"curved"``, which weighs magnitudes by the optimiser's memory
            of their gradients.
        across: one cut across the ``"model"``, or the same share of each ``"layer"`` or ``"row"``.
        pattern: ``"unstructured"``, or ``"N:M"`` to keep N of every M neighbouring inputs, such as ``"2:4"``.
    """

    check: float = 0.1
    queue: int = 5
    epsilon: float = 0.1
    mask_share: float = 0.5
    finish: Finish = "rewind"
    score: str = "magnitude"
    across: Across = "model"
    pattern: str = UNSTRUCTURED

    def __post_init__(self) -> None:
        if not self.check > 0:
            raise KnobError(
                f"check is {self.check}; expected a part of an epoch above 0, such as 0.1"
            )

        if self.queue < 2:
            raise KnobError(
                f"queue is {self.queue}; expected 2 masks or more, the newest and what it is compared with"
            )

        if not 0 <= self.epsilon <= 1:
            raise KnobError(
                f"epsilon is {self.epsilon}; expected a distance between 0 and 1, such as 0.1"
            )

        if not 0 < self.mask_share <= 1:
            raise KnobError(
                f"mask_share is {self.mask_share}; expected a share of T above 0 and up to 1"
            )

        saliency(self.score)  # raises where there is none of that name
        check_finish(self.finish)

    @property
    def name(self) -> str:
        return "early-bird"

    @property
    def trains(self) -> bool:
        return self.finish == "continue"

    def draw(self, task: Task, sparsity: float, meter: Meter | None = None) -> Ticket:
        """Draw a ticket. It comes back trained if *finish* is ``"continue"``.

        Its notes hold the distances at each check, and whether the masks agreed in the end.
        """
        learner = task.learner(meter or Meter())
        check_pattern(self.pattern, sparsity, learner.scope)
        score = saliency(self.score)

        # two masks of this sparsity differ most where what one keeps the other prunes, as far as there is room
        size = learner.scope.size
        keep = survivors(sparsity, size)
        farthest = 2 * min(keep, size - keep) / size or 1.0

        interval = max(1, round(self.check * learner.epoch))

        if interval > learner.horizon:
            raise KnobError(
                f"check is {self.check} epochs, or {interval} steps, and the budget T has {learner.horizon}; lower it"
            )

        agreed = False
        checks = max(1, int(self.mask_share * learner.horizon / interval))
        for _ in learner.rounds(range(checks)):
            learner.train(interval)
            scores = score(learner)
            newest = prune(
                scores, learner.mask, sparsity, across=self.across, pattern=self.pattern
            )

            # each against the newest: masks that drift slowly are all close to the one before
            distances = [newest.distance(older) / farthest for older in learner.aside]
            learner.note("distances", distances)
            learner.set_aside([*learner.aside, newest][1 - self.queue :])

            full = len(distances) == self.queue - 1
            agreed = full and max(distances) <= self.epsilon
            if agreed:
                break

        learner.note("agreed", agreed)
        learner.apply_mask(learner.aside[-1])
        return finished(learner, self.finish, describe(self))
