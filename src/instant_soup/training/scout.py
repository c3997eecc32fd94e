"""Scout: carries out look-aheads of a learner that is elsewhere. What a worker of an engine keeps warm."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..core.budget import Meter, Pulse
from ..core.errors import EngineError
from ..core.task import Brief
from .course import Course
from .learner import ModuleLearner
from .place import Snapshot
from .regime import Regime

Look = Callable[[ModuleLearner], Any]


class Scout:
    """A learner of one's own that goes where another stands and looks ahead from there.

    Args:
        course: that of the learners that send their look-aheads.
    """

    def __init__(self, course: Course) -> None:
        self._course = course
        self._learner: ModuleLearner | None = None
        self._line: tuple[object, ...] = ()
        self._token, self._loss = "", 0.0

    def __call__(
        self, snapshot: Snapshot, errand: tuple[Brief, Look]
    ) -> tuple[Any, float]:
        """What the look sees at the end of the look-ahead, and the loss there.

        Raises EngineError when the snapshot is of another course than this scout's.
        """
        brief, look = errand
        (seen,) = self._there(snapshot).look_ahead([brief], look)
        return seen, self._loss

    def _there(self, snapshot: Snapshot) -> ModuleLearner:
        facts = snapshot[1]
        if facts["of"] != self._course.mark:
            raise EngineError(
                f"a worker has {_said(self._course.mark)}, and what was sent to it is of {_said(facts['of'])}; "
                f"put the same checkpoint and the same data in the same place on all machines"
            )

        line = facts["horizon"], facts["seed"], facts["regime"]
        if self._learner is None or self._line != line:
            # before the next is made, so that there is one in memory
            self._learner = None
            self._learner, self._line, self._token = self._made(*line), line, ""

        # else it stands there still: a look-ahead leaves no trace
        if self._token != facts["token"]:
            self._learner.adopt(snapshot)
            self._token = facts["token"]

        return self._learner

    def _made(self, horizon: int, seed: int, regime: Regime) -> ModuleLearner:
        meter = Meter(watch=self._hear)
        return ModuleLearner(
            self._course, regime, meter, seed=seed, horizon=horizon, free=True
        )

    def _hear(self, pulse: Pulse) -> None:
        self._loss = pulse.loss or 0.0


def _said(mark: tuple[str, str, int]) -> str:
    name, digest, examples = mark
    return f"{name!r} with weights {digest[:12]} and {examples:,} examples"
