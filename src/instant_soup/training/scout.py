"""Scout: carries out look-aheads of a learner that is elsewhere. What a worker of an engine keeps warm."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..core.budget import Meter, Pulse
from ..core.errors import EngineError
from ..core.task import Brief
from .examples import Course
from .learner import ModuleLearner, Snapshot
from .regime import Regime

Look = Callable[[ModuleLearner], Any]


class Scout:
    """A learner of one's own that goes where another stands and looks ahead from there.

    Args:
        course, regime, seed: those of the learner that sends its look-aheads.
    """

    def __init__(self, course: Course, regime: Regime, seed: int) -> None:
        self._course, self._regime, self._seed = course, regime, seed
        self._learner: ModuleLearner | None = None
        self._token, self._loss = "", 0.0

    def __call__(self, snapshot: Snapshot, errand: tuple[Brief, Look]) -> tuple[Any, float]:
        """What the look sees at the end of the look-ahead, and the loss there.

        Raises EngineError when the snapshot is of another model than this scout's.
        """
        brief, look = errand
        (seen,) = self._there(snapshot).look_ahead([brief], look)
        return seen, self._loss

    def _there(self, snapshot: Snapshot) -> ModuleLearner:
        _, facts = snapshot
        if facts["base"] != self._course.base.digest:
            raise EngineError(
                f"a worker's {self._course.base.name!r} has other weights ({self._course.base.digest[:12]}) than that "
                f"of who sends it ({facts['base'][:12]}); put the same checkpoint in the same place on all machines"
            )
        if self._learner is None or self._learner.horizon != facts["horizon"]:
            self._learner = None  # before the next is made, so that there is one in memory
            self._learner, self._token = self._made(facts["horizon"]), ""
        if self._token != facts["token"]:  # else it stands there still: a look-ahead leaves no trace
            self._learner.adopt(snapshot)
            self._token = facts["token"]
        return self._learner

    def _made(self, horizon: int) -> ModuleLearner:
        meter = Meter(watch=self._hear)
        return ModuleLearner(self._course, self._regime, meter, seed=self._seed, horizon=horizon, free=True)

    def _hear(self, pulse: Pulse) -> None:
        self._loss = pulse.loss or 0.0
