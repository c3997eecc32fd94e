"""Budget: what drawing a ticket costs, charged before the work is done."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from .errors import BudgetSpent, KnobError
from .kinds import checked_class

Purpose = Literal["train", "look-ahead", "score", "select", "test"]


@checked_class
@dataclass(frozen=True)
class Cost:
    """Work done, in units that do not depend on the machine.

    A pass is one example through the model forwards; a backward pass counts as two, so a training example costs
    three. FLOPs count a multiply-add as two operations.
    """

    steps: int = 0
    examples: int = 0
    passes: int = 0
    flops: int = 0

    def __add__(self, other: Cost) -> Cost:
        return Cost(
            self.steps + other.steps,
            self.examples + other.examples,
            self.passes + other.passes,
            self.flops + other.flops,
        )

    def __sub__(self, other: Cost) -> Cost:
        return Cost(
            self.steps - other.steps,
            self.examples - other.examples,
            self.passes - other.passes,
            self.flops - other.flops,
        )

    def ratio(self, full: Cost) -> float:
        """This cost as a multiple of *full*, counted in passes."""
        return self.passes / full.passes


@dataclass(frozen=True)
class Pulse:
    """A piece of work done, as whoever watches a run sees it."""

    purpose: Purpose
    spent: Cost
    loss: float | None = None
    sparsity: float | None = None


@checked_class
@dataclass
class Meter:
    """Adds up the cost of one piece of work, by purpose, and stops it at *limit* passes.

    Attributes:
        limit: passes, at most; None for any number.
        bill: what was charged, by purpose.
        watch: it is told of every piece of work; it sees and cannot change.
        reused: the part of the bill for work that another run had done already.
        reused_seconds: the wall time that this work took then.
    """

    limit: int | None = None
    bill: dict[Purpose, Cost] = field(default_factory=dict)
    watch: Callable[[Pulse], None] | None = field(default=None, repr=False, compare=False)
    reused: Cost = field(default_factory=Cost)
    reused_seconds: float = field(default=0.0, compare=False)
    _spans: dict[Purpose, float] = field(
        default_factory=dict, init=False, repr=False, compare=False
    )
    _running: tuple[Purpose, float] | None = field(
        default=None, init=False, repr=False, compare=False
    )

    @property
    def spent(self) -> Cost:
        """The sum over all purposes."""
        return sum(self.bill.values(), Cost())

    @property
    def seconds(self) -> dict[Purpose, float]:
        """Wall time by purpose: from one charge to the next, all that is done counts as the first one's."""
        running = self._running[0] if self._running else None
        self._mark(running)
        return dict(self._spans)

    def charge(
        self, purpose: Purpose, cost: Cost, *, reused: bool = False, seconds: float = 0.0
    ) -> None:
        """Add *cost* to the bill. Raises BudgetSpent, and adds nothing, past the limit.

        Work that was *reused* takes no time now; *seconds* is what it took when it was done.
        """
        if self.limit is not None:
            left = self.limit - self.spent.passes
            if cost.passes > left:
                raise BudgetSpent(
                    f"{purpose} needs {cost.passes} passes and {left} of {self.limit} are left; "
                    f"raise the limit or ask for less"
                )

        # from here on time counts for this, because what is charged is done next
        self._mark(purpose)
        self.bill[purpose] = self.bill.get(purpose, Cost()) + cost

        if reused:
            self.reused += cost
            self.reused_seconds += seconds

    def _mark(self, purpose: Purpose | None) -> None:
        """Book the time since the last mark, and begin a new span for *purpose*."""
        now = time.monotonic()
        if self._running:
            running, since = self._running
            before = self._spans.get(running, 0.0)
            self._spans[running] = before + now - since
        self._running = (purpose, now) if purpose else None

    def tell(
        self,
        purpose: Purpose,
        *,
        loss: float | None = None,
        sparsity: float | None = None,
    ) -> None:
        """Let whoever watches know that work just charged is done."""
        if self.watch:
            self.watch(Pulse(purpose, self.spent, loss, sparsity))

    def dump(self) -> dict[str, Any]:
        """Bill, what of it was reused, and wall time, as plain data."""
        return {
            "bill": {purpose: asdict(cost) for purpose, cost in self.bill.items()},
            "reused": asdict(self.reused),
            "clock": self.seconds,
            "reused_seconds": self.reused_seconds,
        }

    def load(self, state: Mapping[str, Any]) -> None:
        """Take over what `dump` gave, in place of the present state. Raises KnobError for anything else."""
        lacking = [part for part in self.dump() if part not in state]
        if lacking:
            raise KnobError(
                f"the state of a meter lacks {lacking[0]!r}; give what `dump` gave"
            )

        self.bill = {purpose: Cost(**cost) for purpose, cost in state["bill"].items()}
        self.reused = Cost(**state["reused"])
        self.reused_seconds = state["reused_seconds"]

        self._spans = dict(state["clock"])
        # whatever was going on belongs to a state that is no more
        self._running = None
