"""Dense: the reference that every ticket is compared with."""

from __future__ import annotations

from dataclasses import dataclass

from ..core.budget import Meter
from ..core.errors import SparsityError
from ..core.kinds import checked_knobs
from ..core.task import Task
from ..core.ticket import Ticket
from .method import describe


@checked_knobs
@dataclass(frozen=True)
class Dense:
    """Prune nothing: one ordinary fine-tune, the reference."""

    @property
    def name(self) -> str:
        return "dense"

    @property
    def trains(self) -> bool:
        return False

    def draw(
        self, task: Task, sparsity: float = 0.0, meter: Meter | None = None
    ) -> Ticket:
        """The ticket that keeps every weight. Raises SparsityError when *sparsity* is not 0."""
        if sparsity:
            raise SparsityError(
                f"sparsity is {sparsity} and method 'dense' prunes nothing; set sparsity to 0"
            )
        return Ticket.drawn(task.learner(meter or Meter()), describe(self))
