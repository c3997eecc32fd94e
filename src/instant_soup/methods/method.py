"""Method: a way to draw one ticket, and how tickets say which one it was."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any, Protocol

from ..core.budget import Meter
from ..core.task import Task
from ..core.ticket import Ticket


class Method(Protocol):
    """A way to draw one ticket. Implementations are frozen dataclasses whose fields are the knobs."""

    @property
    def name(self) -> str:
        """What recipes and tickets call it."""

    @property
    def trains(self) -> bool:
        """Whether its tickets come back trained, inside the budget T."""

    def draw(self, task: Task, sparsity: float, meter: Meter | None = None) -> Ticket:
        """Draw a ticket of *sparsity* for *task* and charge *meter* for it."""


@dataclass(frozen=True)
class Variant:
    """A line in the table of methods: a class, what the name fixes, and one sentence."""

    make: type[Any]
    fixed: Mapping[str, Any] = field(default_factory=dict)

    def __call__(self, **knobs: Any) -> Method:
        """The method with these knobs. Raises KnobError when one has a value that cannot work."""
        method: Method = self.make(**self.fixed, **knobs)
        return method

    @property
    def knobs(self) -> dict[str, Any]:
        """Names and defaults of the knobs that the name leaves open."""
        whole = self()
        return {knob.name: getattr(whole, knob.name) for knob in fields(self.make) if knob.name not in self.fixed}

    @property
    def summary(self) -> str:
        """The first sentence of what the class says of itself."""
        return (self.make.__doc__ or "").split("\n")[0]


def describe(method: Method) -> dict[str, Any]:
    """Name and knobs, as a ticket records them."""
    knobs: dict[str, Any] = json.loads(json.dumps(asdict(method)))  # type: ignore[call-overload]
    return {"name": method.name, **knobs}
