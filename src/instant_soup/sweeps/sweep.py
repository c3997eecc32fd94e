"""Sweep: every run that a file asks for, each once, by any number of processes, whatever happens to them.

A worker takes the first run that is not done, that nobody else is at and whose needs are there, and
does it; then the next. Nothing is handed out: the store says what is done, a lock who is at it. So
a worker that is killed loses what it did since its last save, another takes the run over from
there, and two sweeps of one store share the work.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Literal, Self

from ..core.budget import Pulse
from ..core.errors import RecipeError, SoupError, StoreError
from ..recipes.grid import Wanted
from ..recipes.recipe import Recipe
from ..runs.run import budget_like, build, check, run
from ..store.cell import Cell
from ..store.plain import intact, read_json, read_sealed, write_sealed
from ..store.store import Store
from ..tasks import CourseTask
from .progress import Progress

State = Literal["done", "running", "failed", "begun", "to do", "waits"]
PATIENCE = 1.0  # seconds between looks at what others are at


@dataclass(frozen=True)
class Sweep:
    """A list of runs and the store they go to.

    Attributes:
        wanted: in the order in which they are taken.
        slim: whether fine-tuned weights are removed once their record is there; tickets stay.
        since: when this sweep began; what failed earlier is tried again.
    """

    wanted: tuple[Wanted, ...]
    store: Store
    source: str = ""
    slim: bool = False
    since: str = field(default_factory=lambda: datetime.now(UTC).isoformat())

    @property
    def key(self) -> str:
        """Content key of what is asked for."""
        return hashlib.sha256(
            "".join(one.key for one in self.wanted).encode()
        ).hexdigest()

    @property
    def place(self) -> Path:
        """Where the store keeps what this sweep asks for."""
        return self.store.sweep(self.key)

    def begin(self) -> None:
        """Note in the store what is asked for, so that others can say how far it is. Raises StoreError."""
        wanted = [
            {
                "name": one.name,
                "recipe": one.recipe.model_dump(mode="json"),
                "like": one.like and one.like.model_dump(mode="json"),
            }
            for one in self.wanted
        ]
        write_sealed(
            self.place,
            {
                "source": self.source,
                "since": self.since,
                "slim": self.slim,
                "wanted": wanted,
            },
        )

    def must_have_begun(self) -> None:
        """Raises StoreError unless this very sweep was begun in its store."""
        if not self.place.exists():
            raise StoreError(
                f"this sweep was not begun in {self.store.folder}, so there is nothing to resume; "
                f"check the folder and the recipe, or leave --resume out to begin it"
            )

    @classmethod
    def begun(cls, place: Path, store: Store) -> Self:
        """The sweep that was noted at *place*. Raises StoreError when it is damaged."""
        facts = read_json(place)
        try:
            wanted = tuple(
                Wanted(
                    one["name"],
                    Recipe.parse(one["recipe"]),
                    one["like"] and Recipe.parse(one["like"]),
                )
                for one in facts["wanted"]
            )
            sweep = cls(wanted, store, facts["source"], facts["slim"], facts["since"])
        except (KeyError, TypeError, RecipeError) as reason:
            raise StoreError(
                f"{place} is no sweep of this version ({reason}); begin it again from its recipe"
            ) from reason

        if not intact(facts):
            raise StoreError(
                f"{place} does not match its checksum, so it was edited; begin it again from its recipe"
            )
        return sweep

    # what stands where

    def ready(self, one: Wanted) -> Wanted | None:
        """*one* with its budget known; None as long as the run that says it is not done."""
        if one.like is None:
            return one
        cell = self.store.cell(one.like)
        return (
            one.with_budget(budget_like(cell.load_record()))
            if cell.record.exists()
            else None
        )

    def state(self, one: Wanted) -> State:
        """How far *one* is."""
        if (known := self.ready(one)) is None:
            return (
                "failed"
                if one.like and self._failed(self.store.cell(one.like))
                else "waits"
            )

        cell = self.store.cell(known.recipe)
        if cell.record.exists():
            return "done"
        if cell.busy:
            return "running"
        if self._failed(cell):
            return "failed"

        return "begun" if cell.folder.exists() else "to do"

    def failure(self, one: Wanted) -> str:
        """Why *one* failed, in a sentence."""
        recipe = known.recipe if (known := self.ready(one)) else one.like
        cell = self.store.cell(recipe or one.recipe)
        return (
            str(read_sealed(cell.failure)["error"])
            if cell.failure.exists()
            else "what it waits for failed"
        )

    def _failed(self, cell: Cell) -> bool:
        return (
            cell.failure.exists() and str(read_sealed(cell.failure)["at"]) >= self.since
        )

    def wanted_by(self, short_key: str) -> Recipe | None:
        """The recipe with this short key, if this sweep asks for it."""
        for wanted in self.wanted:
            known = self.ready(wanted)
            if known and known.recipe.short_key == short_key:
                return known.recipe
        return None

    # the work

    def work(self, tell: Callable[[Wanted, str, Pulse], None] | None = None) -> None:
        """Take runs until none is left. Raises StoreError when the store cannot be written."""
        loader = _Loader()
        while True:
            open_ones = [
                one for one in self.wanted if self.state(one) not in ("done", "failed")
            ]
            if not open_ones:
                return
            if not any(self.take(one, loader.load, tell) for one in open_ones):
                time.sleep(PATIENCE)

    def take(
        self,
        one: Wanted,
        load: Callable[[Recipe], CourseTask] = build,
        tell: Callable[[Wanted, str, Pulse], None] | None = None,
    ) -> bool:
        """Do *one*, unless somebody else is at it or it cannot be done yet; whether something was done.

        Raises StoreError when the store cannot be written.
        """
        if (known := self.ready(one)) is None:
            return False
        cell = self.store.cell(known.recipe)

        with cell.attempt() as mine:
            if not mine or cell.record.exists() or self._failed(cell):
                return False
            progress = Progress.of(self.store, known.recipe)
            try:
                begin = partial(
                    progress.begin, known.recipe, partial(tell, known) if tell else None
                )
                run(known.recipe, self.store, begin, load)
            except StoreError:
                raise
            except (
                Exception
            ) as error:  # one run's failure is no other's: noted, and on to the next
                self.note(
                    cell,
                    str(error)
                    if isinstance(error, SoupError)
                    else f"{type(error).__name__}: {error}",
                )
            else:
                if self.slim:
                    cell.model.unlink(missing_ok=True)
            finally:
                progress.end()

        return True

    def note(self, cell: Cell, error: str) -> None:
        """Note that a run failed. Raises StoreError when that cannot be written."""
        cell.fail({"error": error, "at": datetime.now(UTC).isoformat()})


class _Loader:
    """Keeps the last task, for the next run is often on the same."""

    def __init__(self) -> None:
        self._key = ""
        self._task: CourseTask | None = None

    def load(self, recipe: Recipe) -> CourseTask:
        if self._task is None or self._key != recipe.task_key:
            self._task = None  # before the next is loaded, so that there is one in memory
            self._task, self._key = build(recipe), recipe.task_key
        check(recipe, self._task)
        return self._task
