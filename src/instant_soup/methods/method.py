"""Method: a way to draw one ticket, and how tickets say which one it was."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any, Protocol

from ..core.budget import Meter
from ..core.errors import UnknownName, unknown
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
    """A line in the table of methods.

    Attributes:
        make: the class.
        fixed: the knobs that the name fixes.
        presets: knobs that go by one name together.
        dense: whether it has something to do at sparsity 0 too.
        shares: whether fine-tuning its ticket is a training that other recipes start from too, as levels of IMP are.
        about: one sentence, where what the class says of itself fits several names.
    """

    make: type[Any]
    fixed: Mapping[str, Any] = field(default_factory=dict)
    presets: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    dense: bool = False
    shares: bool = False
    about: str = ""

    def __call__(self, *, preset: str | None = None, **knobs: Any) -> Method:
        """The method with these knobs, on top of a preset's. Raises KnobError when one has a value that cannot work."""
        chosen = {**self.fixed, **self.preset(preset), **knobs}
        method: Method = self.make(**chosen)
        return method

    def preset(self, name: str | None) -> dict[str, Any]:
        """The knobs of a preset; none for None. Raises UnknownName."""
        if name is not None and not self.presets:
            raise UnknownName(f"unknown preset {name!r}; this method has none: remove it")
        if name is not None and name not in self.presets:
            raise unknown("preset", name, self.presets)
        return dict(self.presets[name]) if name is not None else {}

    @property
    def knobs(self) -> dict[str, Any]:
        """Names and defaults of the knobs that the name leaves open."""
        method = self()
        left_open = [
            knob.name for knob in fields(self.make) if knob.name not in self.fixed
        ]
        return {name: getattr(method, name) for name in left_open}

    @property
    def summary(self) -> str:
        """One sentence: *about*, or the first of what the class says of itself."""
        return self.about or (self.make.__doc__ or "").split("\n")[0]


def describe(method: Method) -> dict[str, Any]:
    """Name and knobs, as a ticket records them."""
    # through JSON, so that a ticket says the same before it is saved and after
    knobs: dict[str, Any] = json.loads(json.dumps(asdict(method)))  # type: ignore[call-overload]
    return {"name": method.name, **knobs}
