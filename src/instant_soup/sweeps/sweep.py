"""Sweep: every run that a file asks for, each once, by any number of processes, whatever happens to them.

A worker takes the first run that is not done, that nobody else is at and whose needs are there, and
does it; then the next. Nothing is handed out: the store says what is done, a lock who is at it. So
a worker that is killed loses what it did since its last save, another takes the run over from
there, and two sweeps of one store share the work.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any, Literal, Self

from ..core.budget import Pulse
from ..core.errors import RecipeError, SoupError, StoreError
from ..recipes.grid import Wanted
from ..recipes.recipe import Recipe
from ..runs.run import build, check, run
from ..store.cell import Cell
from ..store.contents import contents_of
from ..store.plain import Kinds, intact, of_kinds, read_json, read_sealed, write_sealed
from ..store.store import Store
from ..tasks import CourseTask
from .progress import Progress

State = Literal["done", "running", "failed", "begun", "to do", "waits"]
_KINDS: Kinds = {"wanted": list, "source": str, "slim": bool, "since": str}
"""What the note of a sweep says, and of which kind each is."""

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
        keys = "".join(wanted.key for wanted in self.wanted)
        return hashlib.sha256(keys.encode()).hexdigest()

    @property
    def place(self) -> Path:
        """Where the store keeps what this sweep asks for."""
        return self.store.sweep(self.key)

    def begin(self) -> None:
        """Note in the store what is asked for, so that others can say how far it is.

        Raises StoreError where that cannot be written, or where a run was made with other data or another model.
        """
        self._refuse_changes()

        notes = []
        for wanted in self.wanted:
            like = wanted.like and wanted.like.model_dump(mode="json")
            recipe = wanted.recipe.model_dump(mode="json")
            notes.append({"name": wanted.name, "recipe": recipe, "like": like})

        facts = {"source": self.source, "since": self.since, "slim": self.slim}
        write_sealed(self.place, {**facts, "wanted": notes})

    def _refuse_changes(self) -> None:
        """Raise StoreError where the data or the model of a run that is there changed since, as `run` does."""
        for wanted in self.wanted:
            known = self.ready(wanted)
            cell = self.store.cell(known.recipe) if known else None
            if known and cell and cell.contents.exists():
                contents_of(known.recipe, self.store, cell)

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
            _check_kinds(facts, _KINDS)
            wanted = tuple(_as_noted(note) for note in facts["wanted"])
            sweep = cls(wanted, store, facts["source"], facts["slim"], facts["since"])
        except (KeyError, TypeError, RecipeError) as reason:
            raise StoreError(
                f"{place} is no sweep of this version ({reason}); begin it again from its recipe"
            ) from reason

        # last: what does not even have the right fields was made by another version, not edited
        if not intact(facts):
            raise StoreError(
                f"{place} does not match its checksum, so it was edited; begin it again from its recipe"
            )
        return sweep

    # what stands where

    def ready(self, wanted: Wanted) -> Wanted | None:
        """*wanted* with its budget known; None as long as the run that says it is not done."""
        if wanted.like is None:
            return wanted

        cell = self.store.cell(wanted.like)
        if not cell.record.exists():
            return None
        return wanted.with_budget(cell.load_record().cost.as_budget)

    def state(self, wanted: Wanted) -> State:
        """How far a run is."""
        known = self.ready(wanted)
        if known is None:
            doomed = wanted.like and self._failed(self.store.cell(wanted.like))
            return "failed" if doomed else "waits"

        # in this order: a run that is done is done, whatever failed before and whoever looks at it again
        cell = self.store.cell(known.recipe)
        if cell.record.exists():
            return "done"
        if cell.busy:
            return "running"
        if self._failed(cell):
            return "failed"

        return "begun" if cell.folder.exists() else "to do"

    def failure(self, wanted: Wanted) -> str:
        """Why a run failed, in a sentence."""
        known = self.ready(wanted)
        recipe = known.recipe if known else wanted.like
        cell = self.store.cell(recipe or wanted.recipe)
        if not cell.failure.exists():
            return "what it waits for failed"
        return str(_failure_of(cell)["error"])

    def _failed(self, cell: Cell) -> bool:
        """Whether a run failed since this sweep began; what failed earlier is tried again."""
        if not cell.failure.exists():
            return False
        return str(_failure_of(cell)["at"]) >= self.since

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
            left = [
                wanted
                for wanted in self.wanted
                if self.state(wanted) not in ("done", "failed")
            ]
            if not left:
                return

            # nothing taken means that others are at all of it: one of them may die
            if not any(self.take(wanted, loader.load, tell) for wanted in left):
                time.sleep(PATIENCE)

    def take(
        self,
        wanted: Wanted,
        load: Callable[[Recipe], CourseTask] = build,
        tell: Callable[[Wanted, str, Pulse], None] | None = None,
    ) -> bool:
        """Do a run, unless somebody else is at it or it cannot be done yet; whether something was done.

        Raises StoreError when the store cannot be written.
        """
        known = self.ready(wanted)
        if known is None:
            return False

        cell = self.store.cell(known.recipe)
        with cell.attempt() as held:
            # looked at again under the lock: who had it before may have ended in between
            if not held or cell.record.exists() or self._failed(cell):
                return False

            progress = Progress.of(self.store, known.recipe)
            pass_on = partial(tell, known) if tell else None
            try:
                run(
                    known.recipe,
                    self.store,
                    partial(progress.begin, known.recipe, pass_on),
                    load,
                )
            except StoreError:
                raise  # the next run could not be written either
            except Exception as error:
                # one run's failure is no other's: noted, and on to the next
                self.note(cell, _in_words(error))
            else:
                if self.slim:
                    cell.model.unlink(missing_ok=True)
            finally:
                progress.end()

        return True

    def note(self, cell: Cell, error: str) -> None:
        """Note that a run failed. Raises StoreError when that cannot be written."""
        cell.fail({"error": error, "at": datetime.now(UTC).isoformat()})


def _failure_of(cell: Cell) -> Mapping[str, Any]:
    """Why and when a run failed. Raises StoreError where the note of it is damaged, or is none."""
    facts = read_sealed(cell.failure)
    if not of_kinds(facts, {"error": str, "at": str}):
        raise StoreError(
            f"{cell.failure} does not say why a run failed; remove it, and the run is tried again"
        )
    return facts


def _check_kinds(facts: object, kinds: Kinds) -> None:
    """Raise TypeError where *facts* lack one of the names in *kinds*, or have a value of another kind beneath it."""
    if not of_kinds(facts, kinds):
        raise TypeError(f"expected {', '.join(kinds)}")


def _as_noted(note: Mapping[str, Any]) -> Wanted:
    _check_kinds(note, {"name": str, "recipe": dict, "like": (dict, type(None))})
    like = note["like"] and Recipe.parse(note["like"])
    return Wanted(note["name"], Recipe.parse(note["recipe"]), like)


def _in_words(error: Exception) -> str:
    """What went wrong; errors that are not ours do not say of what kind they are."""
    if isinstance(error, SoupError):
        return str(error)
    return f"{type(error).__name__}: {error}"


class _Loader:
    """Keeps the last task, for the next run is often on the same."""

    def __init__(self) -> None:
        self._key = ""
        self._task: CourseTask | None = None

    def load(self, recipe: Recipe) -> CourseTask:
        if self._task is None or self._key != recipe.task_key:
            self._task = None  # before the next is loaded, so that there is one in memory
            self._task = build(recipe)
            self._key = recipe.task_key

        check(recipe, self._task)
        return self._task
