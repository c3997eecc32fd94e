"""CourseTask: a course and a regime under one name, as methods and the lab see it."""

from __future__ import annotations

from dataclasses import dataclass

from ..core.budget import Meter
from ..core.task import Bookmark, Shelf
from ..training.examples import Course
from ..training.learner import ModuleLearner
from ..training.regime import Regime


@dataclass(frozen=True)
class CourseTask:
    """A data set, a pre-trained model and a way to train one on the other.

    Attributes:
        course: model, splits, loss and metric.
        regime: hyper-parameters of one full fine-tune.
        seed: of the run: order of examples, dropout, look-aheads, random scores.
        bookmark: where learners save their place; None to keep none.
        shelf: where whole trainings are kept, so that none is done twice; None to keep none.
    """

    course: Course
    regime: Regime
    seed: int = 0
    bookmark: Bookmark | None = None
    shelf: Shelf | None = None

    @property
    def name(self) -> str:
        return self.course.name

    @property
    def horizon(self) -> int:
        return self.regime.horizon(len(self.course.train))

    def learner(self, meter: Meter, *, horizon: int | None = None) -> ModuleLearner:
        """A new learner at the pre-trained weights, with a line of *horizon* steps (T if None)."""
        return ModuleLearner(
            self.course,
            self.regime,
            meter,
            seed=self.seed,
            horizon=horizon,
            bookmark=self.bookmark,
            shelf=self.shelf,
        )
