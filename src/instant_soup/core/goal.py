"""Goal: which task a ticket was drawn on, so that one that comes back trained is judged on no other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from .errors import TicketError
from .ticket import Ticket

_NOTE = "task"
_SHOWN = 5  # classes in a message


@dataclass(frozen=True)
class Goal:
    """What a model is trained for: the name of a task, and of its classes in the order of their numbers."""

    task: str
    classes: tuple[str, ...] = ()

    @classmethod
    def of(cls, ticket: Ticket) -> Goal | None:
        """What *ticket* was drawn for; None in one from before that was noted, or of another tool."""
        # files come from anybody, and their notes are of any kind
        try:
            (noted,) = ticket.notes.get(_NOTE, ())
            return cls(str(noted["task"]), tuple(map(str, noted["classes"])))
        except (KeyError, TypeError, ValueError):
            return None

    def note(self) -> Mapping[str, Sequence[Any]]:
        """It as a ticket keeps it among its notes."""
        return {_NOTE: [asdict(self)]}

    def check(self, ticket: Ticket) -> None:
        """Raise TicketError where *ticket* is trained to the end for another task, whose head knows nothing of this."""
        goal = Goal.of(ticket)
        if ticket.ready and goal is not None and goal != self:
            raise TicketError(
                f"the ticket is trained to the end for {goal}, and this task is {self}, of which it knows nothing; "
                f"fine-tune its mask here with `instant-soup transfer`, or give both the same name and classes if they "
                f"are one task"
            )

    def __str__(self) -> str:
        if not self.classes:
            return repr(self.task)

        more = ", .." if len(self.classes) > _SHOWN else ""
        return f"{self.task!r} ({', '.join(self.classes[:_SHOWN])}{more})"
