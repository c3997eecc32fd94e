"""Status: how far the sweeps of a store are."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from ..core.errors import SoupError, StoreError
from ..recipes.grid import Wanted
from ..recipes.recipe import Recipe
from ..runs.plan import rehearse
from ..runs.sizes import Sizes
from ..store.plain import of_kinds
from ..store.record import read_run
from ..store.store import Store
from .progress import KINDS, Progress
from .sweep import State, Sweep


@dataclass(frozen=True)
class Row:
    """One run of a sweep.

    Attributes:
        note: where it stands, why it failed or what it waits for.
        share: how much of it is done, 0 to 1.
        left: passes still to come, where that can be said.
        seconds: since the attempt that runs began.
        host: where it runs.
    """

    name: str
    label: str
    state: State
    note: str = ""
    share: float = 0.0
    left: int | None = None
    seconds: float | None = None
    host: str = ""


@dataclass(frozen=True)
class Standing:
    """All runs of one or more sweeps.

    Attributes:
        left: seconds until all is done if as many work on as do now, where that can be said.
    """

    rows: tuple[Row, ...]
    left: float | None

    @property
    def counts(self) -> Mapping[State, int]:
        """How many runs are in which state."""
        return Counter(row.state for row in self.rows)

    def having(self, state: State) -> tuple[Row, ...]:
        """The rows in this state."""
        return tuple(row for row in self.rows if row.state == state)


def sweeps(store: Store) -> tuple[Sweep, ...]:
    """Every sweep that was begun in *store*. Raises StoreError when there is none, or one is damaged."""
    if not store.folder.is_dir():
        raise StoreError(
            f"no folder at {store.folder}; give the folder that runs are kept in"
        )

    begun = tuple(Sweep.begun(place, store) for place in store.sweeps())
    if not begun:
        count = sum(cell.record.exists() for cell in store.cells())
        raise StoreError(
            f"no sweep was begun in {store.folder}, which holds {count} finished runs; begin one"
        )
    return begun


class Board:
    """Where sweeps stand, looked at again and again: what is done stays done and is read once."""

    def __init__(self, sweeps: Iterable[Sweep]) -> None:
        self._wanted = {
            wanted.key: (sweep, wanted) for sweep in sweeps for wanted in sweep.wanted
        }
        self._done: dict[str, Row] = {}
        self._expected: dict[str, int] = {}
        self._sizes: dict[str, Sizes] = {}
        # of all that is done, for the time that a pass takes
        self._seconds = 0.0
        self._passes = 0.0

    def look(self) -> Standing:
        """Where all runs stand now; what several sweeps ask for counts once."""
        states = {key: self._state(key) for key in self._wanted if key not in self._done}
        rows = tuple(
            self._done.get(key) or self._row(key, states[key]) for key in self._wanted
        )
        return Standing(rows, self._left(rows))

    def _state(self, key: str) -> State | StoreError:
        """How far a run is; what is wrong with its record, where that is damaged. One that is done is noted."""
        sweep, wanted = self._wanted[key]
        try:
            state = sweep.state(wanted)
            if state == "done":
                self._done[key] = self._finished(sweep, wanted)
        except StoreError as reason:
            return reason
        return state

    def _finished(self, sweep: Sweep, wanted: Wanted) -> Row:
        known = sweep.ready(wanted) or wanted
        record = read_run(sweep.store.cell(known.recipe).record)
        self._sizes[_setting(known.recipe)] = Sizes.recorded(record, known.recipe)

        bill = record.cost
        passes = 0
        for stage in bill.stages.values():
            passes += sum(work.passes for work in stage.values())

        # what was reused took this run no time
        self._passes += passes - bill.reused.passes
        self._seconds += record.seconds.total
        note = f"{record.metric} {record.figure:.4f}, {bill.multiple_of_T:.2f} T"
        return _titled(known, "done", note, share=1.0, left=0)

    def _row(self, key: str, state: State | StoreError) -> Row:
        sweep, wanted = self._wanted[key]
        if isinstance(state, StoreError):
            return _titled(wanted, "failed", str(state))

        known = sweep.ready(wanted) or wanted
        if state == "failed":
            return _titled(known, state, sweep.failure(wanted))

        expected = self._passes_of(wanted)
        if state == "waits" and wanted.like:
            return _titled(known, state, f"for {wanted.like.label}", left=expected)

        row = _titled(known, state, left=expected)
        if state == "running":
            return _running(row, Progress.of(sweep.store, known.recipe).read())
        return row

    def _passes_of(self, wanted: Wanted) -> int | None:
        """Passes that a run takes in all, as soon as a run on its task has said how large that is."""
        key = wanted.key
        if key in self._expected:
            return self._expected[key]

        sizes = self._sizes.get(_setting(wanted.recipe)) or Sizes.known(wanted.recipe)
        if sizes is None:
            return None

        try:
            # as long as what it follows, if it follows one
            draw, train = rehearse(wanted.like or wanted.recipe, sizes)
            self._expected[key] = draw.spent.passes + train.spent.passes
        except SoupError:
            # it cannot be done: whoever takes it notes why, and the others go on
            self._expected[key] = 0

        return self._expected[key]

    def _left(self, rows: tuple[Row, ...]) -> float | None:
        """Seconds until all is done, by what passes took so far; None where that cannot be said."""
        waiting = [row.left for row in rows if row.state not in ("done", "failed")]
        if not waiting:
            return 0.0

        known = [left for left in waiting if left is not None]
        if not self._passes or len(known) < len(waiting):
            return None

        hands = max(1, sum(row.state == "running" for row in rows))
        return sum(known) * self._seconds / self._passes / hands


def _titled(
    wanted: Wanted,
    state: State,
    note: str = "",
    *,
    share: float = 0.0,
    left: int | None = None,
) -> Row:
    label = wanted.recipe.label
    return Row(wanted.name or label, label, state, note, share, left)


def _running(row: Row, facts: Mapping[str, Any]) -> Row:
    # it has just begun, or just ended; or the note is none that a run would write
    if not of_kinds(facts, KINDS):
        return row

    passes = facts["passes"]
    expected = facts["expected"]
    note = facts["stage"]
    if isinstance(facts.get("loss"), float):
        note += f", loss {facts['loss']:.3f}"

    return replace(
        row,
        note=note,
        share=min(1.0, passes / expected) if expected else 1.0,
        left=max(0, expected - passes),
        seconds=time.time() - facts["since"],
        host=facts["host"],
    )


def _setting(recipe: Recipe) -> str:
    """What sizes depend on."""
    fields = recipe.asked()
    return json.dumps({part: fields[part] for part in ("task", "data", "training")})
