"""Place: where a learner stands, as tensors and plain data, and how a killed run finds back there."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Self

from torch import Tensor

from ..core.mask import Mask
from ..core.scope import Scope
from ..core.task import Bookmark
from .layout import Layout

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


@dataclass(frozen=True)
class Place:
    """Everything that changes as a learner goes on.

    Attributes:
        clock: how far it is.
        bill: what the meter has counted so far, as plain data.
        weights: parameters and buffers, the live tensors.
        mask: what is kept.
        aside: masks that a method holds on to.
        memory: of the optimiser, the live tensors.
        tail: sums over the snapshots at the end of a line so far, and how many those are.
    """

    clock: Clock
    bill: Mapping[str, Any]
    weights: Mapping[str, Tensor]
    mask: Mask
    aside: tuple[Mask, ...]
    memory: Mapping[str, Tensor]
    tail: tuple[Mapping[str, Tensor], int] = ({}, 0)

    def for_look_aheads(self, *, carry: bool) -> Place:
        """The part of the place that look-aheads depend on; with *carry* the optimiser's memory too."""
        memory = self.memory if carry else {}
        return replace(self, aside=(), memory=memory, tail=({}, 0))

    def packed(self, layout: Layout) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """The place as a bookmark saves it and a worker is sent it."""
        tensors = under("weights", self.weights)
        tensors |= under("mask", layout.saved(self.mask))
        for number, mask in enumerate(self.aside):
            tensors |= under(f"aside/{number}", layout.saved(mask))
        tensors |= under("optimizer", self.memory)
        sums, snapshots = self.tail
        tensors |= under("tail", sums)

        facts = {
            "clock": asdict(self.clock),
            "meter": self.bill,
            "aside": len(self.aside),
            "tail": snapshots,
        }
        return tensors, facts

    @classmethod
    def unpacked(cls, snapshot: Snapshot, layout: Layout, scope: Scope) -> Self:
        """The place that *snapshot* is of, on any number of ranks; *scope* is that of the whole model."""
        tensors, facts = snapshot

        memory = {}
        for key, tensor in inside("optimizer", tensors).items():
            name = key.partition("/")[2]
            memory[key] = layout.placed(name, tensor)

        sums = {
            name: layout.placed(name, tensor)
            for name, tensor in inside("tail", tensors).items()
        }

        return cls(
            clock=Clock(**facts["clock"]),
            bill=facts["meter"],
            weights=inside("weights", tensors),
            mask=layout.loaded(scope, inside("mask", tensors)),
            aside=tuple(
                layout.loaded(scope, inside(f"aside/{number}", tensors))
                for number in range(facts["aside"])
            ),
            memory=memory,
            # bookmarks of version 0.1 know of no tail
            tail=(sums, facts.get("tail", 0)),
        )


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
            # no later leg is that one, and its tensors are as large as the model
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
