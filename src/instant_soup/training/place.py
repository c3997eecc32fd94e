"""Place: where a learner stands, as tensors and plain data, and how a killed run finds back there."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from ..core.task import Bookmark

Snapshot = tuple[Mapping[str, Tensor], Mapping[str, Any]]
"""Where a learner stands: tensors, and plain data."""


@dataclass
class Clock:
    """How far a learner is. What a look-ahead advances is a copy of it.

    Attributes:
        steps: on the learning-rate line.
        batches: in the order of examples.
        round: rounds that are finished.
        leg: legs that were begun in this round.
        notes: what has been noted on the way.
    """

    steps: int = 0
    batches: int = 0
    round: int = 0
    leg: int = 0
    notes: dict[str, list[Any]] = field(default_factory=dict)


class Saved:
    """What a bookmark holds of a run that was killed.

    A method is entered again from the top. Rounds that are done are skipped; legs before the one that was
    interrupted are trained again, and that one goes on from its middle.
    """

    def __init__(self, bookmark: Bookmark | None) -> None:
        self._bookmark = bookmark
        self._leg = bookmark.load("leg") if bookmark else None

    def round(self) -> Snapshot | None:
        """Where the last finished round ended, if there is one."""
        return self._bookmark.load("round") if self._bookmark else None

    def leg(self, clock: Clock) -> Snapshot | None:
        """Where the leg that *clock* begins was interrupted, if that was in this one."""
        if self._leg is None:
            return None

        snapshot = self._leg
        interrupted = snapshot[1]["clock"]
        begun = (clock.round, clock.leg)
        reached = (interrupted["round"], interrupted["leg"])

        if begun >= reached:
            self._leg = None
        return snapshot if begun == reached else None


def under(room: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """*tensors* with names that begin with *room*."""
    return {f"{room}/{name}": tensor for name, tensor in tensors.items()}


def inside(room: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Those of *tensors* whose names begin with *room*, by the rest of their names."""
    prefix = f"{room}/"
    return {
        name.removeprefix(prefix): tensor
        for name, tensor in tensors.items()
        if name.startswith(prefix)
    }
