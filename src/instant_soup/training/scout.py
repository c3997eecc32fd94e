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
        # what the learner was made with, and which snapshot it stands at
        self._made_with: tuple[object, ...] = ()
        self._token = ""
        self._loss = 0.0

    def __call__(
        self, snapshot: Snapshot, errand: tuple[Brief, Look]
    ) -> tuple[Any, float]:
        """What the look sees at the end of the look-ahead, and the loss there.

        Raises EngineError when the snapshot is of another course than this scout's.
        """
        brief, look = errand
        (seen,) = self._learner_at(snapshot).look_ahead([brief], look)
        return seen, self._loss

    def _learner_at(self, snapshot: Snapshot) -> ModuleLearner:
        """A learner that stands where *snapshot* says."""
        facts = snapshot[1]
        if facts["of"] != self._course.mark:
            ours = _described(self._course.mark)
            theirs = _described(facts["of"])
            raise EngineError(
                f"a worker has {ours}, and what was sent to it is of {theirs}; "
                f"put the same checkpoint and the same data in the same place on all machines"
            )

        wanted = (facts["horizon"], facts["seed"], facts["regime"])
        learner = self._learner
        if learner is None or self._made_with != wanted:
            # let go of before the next is made, so that there is one in memory
            learner = self._learner = None
            learner = self._new_learner(*wanted)
            self._learner = learner
            self._made_with = wanted
            self._token = ""

        # else it stands there still: a look-ahead leaves no trace
        if self._token != facts["token"]:
            learner.adopt(snapshot)
            self._token = facts["token"]
        return learner

    def _new_learner(self, horizon: int, seed: int, regime: Regime) -> ModuleLearner:
        meter = Meter(watch=self._hear)
        return ModuleLearner(
            self._course, regime, meter, seed=seed, horizon=horizon, free=True
        )

    def _hear(self, pulse: Pulse) -> None:
        self._loss = pulse.loss or 0.0


def _described(mark: tuple[str, str, int]) -> str:
    name, digest, examples = mark
    return f"{name!r} with weights {digest[:12]} and {examples:,} examples"
