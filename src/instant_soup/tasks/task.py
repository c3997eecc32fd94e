"""CourseTask: a course and a regime under one name, as methods and runs see them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial

from ..core.budget import Meter
from ..core.task import Bookmark, Shelf
from ..engine import Engine, hiring
from ..engine.worker import Make
from ..engine.workers import Workers
from ..training.course import Course
from ..training.learner import ModuleLearner
from ..training.regime import Regime
from ..training.scout import Scout

SHOWN = 10  # classes that are named before the rest is left out


@dataclass(frozen=True)
class CourseTask:
    """A data set, a pre-trained model, and how the model is trained on the data.

    Attributes:
        course: model, splits, loss and metric.
        regime: hyper-parameters of one full fine-tune.
        seed: of the run: order of examples, dropout, look-aheads, random scores.
        bookmark: where learners save their place; None to keep none.
        shelf: where complete trainings are kept, so that none is done twice; None to keep none.
        workers: those that carry out the look-aheads of its learners; the learners themselves do if None.
        remark: what more there is to say of what was read, such as what is cut off of texts; empty if nothing.
    """

    course: Course
    regime: Regime
    seed: int = 0
    bookmark: Bookmark | None = None
    shelf: Shelf | None = None
    workers: Workers | None = None
    remark: str = ""

    def __repr__(self) -> str:
        # not what a dataclass would print: every layer of the model, several screens long
        return f"CourseTask({self.name!r}, model={self.course.base.name!r}, {self._holdings})"

    @property
    def content(self) -> str:
        """How many examples there are of what, in words, and the remark on them."""
        return f"{self._holdings}; {self.remark}" if self.remark else self._holdings

    @property
    def _holdings(self) -> str:
        course = self.course
        sizes = (
            f"{len(course.train):,} examples to train on, {len(course.validation):,} to choose by, "
            f"{len(course.test):,} to test on"
        )
        if not course.classes:
            return sizes

        names = ", ".join(course.classes[:SHOWN])
        more = ", ..." if len(course.classes) > SHOWN else ""
        return f"{sizes}, {len(course.classes)} classes: {names}{more}"

    @property
    def name(self) -> str:
        """The name of the course."""
        return self.course.name

    @property
    def horizon(self) -> int:
        """T, the steps of one full fine-tune."""
        return self.regime.horizon(len(self.course.train))

    def learner(self, meter: Meter, *, horizon: int | None = None) -> ModuleLearner:
        """A new learner at the pre-trained weights, whose learning-rate line has *horizon* steps (T if None)."""
        return ModuleLearner(
            self.course,
            self.regime,
            meter,
            seed=self.seed,
            horizon=horizon,
            bookmark=self.bookmark,
            shelf=self.shelf,
            workers=self.workers,
        )

    def stretched(self, budget: float) -> CourseTask:
        """This task with a T that is *budget* times as long."""
        if budget == 1:
            return self

        # a budget given in epochs is stretched in steps, which need not be whole epochs
        steps = max(1, round(budget * self.horizon))
        return replace(self, regime=self.regime.model_copy(update={"steps": steps}))

    @contextmanager
    def on(
        self,
        engine: Engine,
        *,
        workers: int | None = None,
        address: str = "auto",
        scout: Make | None = None,
    ) -> Iterator[CourseTask]:
        """This task with its look-aheads carried out by workers, for as long as the block takes.

            with task.on("processes", workers=4) as shared:
                ticket = soup.InstantSoup().draw(shared, sparsity=0.5)

        The ticket is the one that this process alone would draw: to the bit, where the hardware is alike.

        Args:
            engine: ``"here"``, ``"processes"`` of this machine, or ``"ray"``.
            workers: how many; as many as there is room for if None.
            address: of the Ray cluster: ``"auto"`` for the one that this machine is part of, ``"local"`` to start one.
            scout: makes what a worker keeps. By default this task is sent to all of them, so it has to pickle.

        Raises:
            UnknownName: there is no such engine.
            EngineError: Ray is not installed or there is no cluster; the task cannot be sent.
        """
        hire = hiring(
            engine, scout or partial(Scout, self.course), workers=workers, address=address
        )
        # the engine "here" hires nobody: look-aheads stay in this process
        if hire is None:
            yield self
            return

        with hire() as hired:
            yield replace(self, workers=hired)
