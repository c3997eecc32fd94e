"""Finish: what follows once a method that trains has its mask. It decides more than how the mask was made."""

from __future__ import annotations

from typing import Any, Literal

from ..core.errors import unknown
from ..core.task import Learner
from ..core.ticket import Ticket

Finish = Literal["continue", "restart", "rewind"]
FINISHES: tuple[Finish, ...] = ("continue", "restart", "rewind")


def check_finish(finish: str) -> None:
    """Refuse a finish that does not exist. Raises UnknownName."""
    if finish not in FINISHES:
        raise unknown("finish", str(finish), FINISHES)


def finished(learner: Learner, finish: Finish, method: dict[str, Any]) -> Ticket:
    """The ticket of a *learner* that stands under its final mask.

    Args:
        finish: ``"continue"`` trains on with the same optimiser and schedule to the end of the line, and the ticket
            comes back trained; ``"restart"`` leaves the weights where they are, for a fresh optimiser and schedule
            over T; ``"rewind"`` puts the pre-trained weights back, for a fresh T.
        method: what the ticket says that it was drawn by.
    """
    if finish == "continue":
        learner.train(learner.horizon - learner.steps_taken)
        return Ticket.drawn(learner, method, ready=True)

    # without a start of its own a ticket starts where the learner stands
    start = learner.origin if finish == "rewind" else None
    return Ticket.drawn(learner, method, start=start)
