"""Cell: the folder of one run, and the team of ranks that works there.

The first rank writes, and all agree on what there is. They share the folder, as
processes of one machine do, or machines that mount one file system.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ..core.errors import RankError, SoupError, StoreError
from ..core.files import forget, left_behind, write_text
from ..core.ranks.team import ALONE, Team
from ..core.ticket import Ticket
from ..core.weights import Weights
from ..recipes.recipe import Recipe
from ..training import ranks
from .bookmark import EVERY, FolderBookmark
from .locks import Locks
from .plain import read_sealed, write_sealed
from .record import Record, read_bill, read_run
from .tensors import read_checked, write_checked

FILES = (
    "recipe.toml",
    "contents.json",
    "draw.json",
    "ticket.safetensors",
    "train.json",
    "model.safetensors",
    "record.json",
    "failed.json",
)
"""What a cell may hold, in the order in which it comes to be."""

POLL = 1.0  # seconds between two looks at a lock that another run holds


@dataclass(frozen=True)
class Cell:
    """The folder of one run.

    Attributes:
        folder: made when something is first put there. Its name ends with the short key of what it holds.
        save_every: seconds of work after which a run saves its place in the middle of a leg.
        team: the ranks that work here together.
    """

    folder: Path
    save_every: float = EVERY
    team: Team = ALONE

    # what lies where

    @property
    def key(self) -> str:
        """The short key of what is kept here."""
        return self.folder.name.rpartition("_")[2]

    @property
    def description(self) -> Path:
        """What was asked for, defaults spelled out."""
        return self.folder / "recipe.toml"

    @property
    def ticket(self) -> Path:
        """What was drawn."""
        return self.folder / "ticket.safetensors"

    @property
    def model(self) -> Path:
        """The fine-tuned weights."""
        return self.folder / "model.safetensors"

    @property
    def record(self) -> Path:
        """What came of it."""
        return self.folder / "record.json"

    @property
    def failure(self) -> Path:
        """Why it could not be done, if it could not."""
        return self.folder / "failed.json"

    @property
    def contents(self) -> Path:
        """Which data and which model it was made with."""
        return self.folder / "contents.json"

    def bill(self, stage: str) -> Path:
        """What a finished stage cost."""
        return self.folder / f"{stage}.json"

    def bookmark(self, stage: str) -> FolderBookmark:
        """Where a stage keeps its place."""
        return FolderBookmark(self.folder / stage, self.save_every, self.team)

    # who works here

    def of(self, team: Team) -> Cell:
        """The same folder as *team* works in it."""
        return replace(self, team=team)

    @contextmanager
    def hold(self) -> Iterator[None]:
        """Be the only team that works here; wait for whoever does.

        Raises StoreError where the folder cannot be locked, RankError where the other ranks are lost.
        """
        with ranks.lost(), ExitStack() as stack:
            if self.team.size == 1:
                stack.enter_context(self._locks.hold(self.key))
            else:
                # asked again and again, so that the other ranks, who wait for an answer, always get one in time
                while not self._first_rank_holds(stack):
                    time.sleep(POLL)
            yield

    def _first_rank_holds(self, stack: ExitStack) -> bool:
        """Whether the first rank has just got hold of the folder, until *stack* ends."""
        holds = self.team.rank == 0 and stack.enter_context(self.attempt())
        return self.team.told(holds)

    def attempt(self) -> AbstractContextManager[bool]:
        """Be the only process that works here, unless another does; yields whether one is. Raises StoreError."""
        return self._locks.attempt(self.key)

    @property
    def busy(self) -> bool:
        """Whether somebody works here."""
        return self._locks.busy(self.key)

    @property
    def _locks(self) -> Locks:
        return Locks(unlinked(self.folder.parent / "locks"))

    # what the team agrees on

    def has(self, path: Path) -> bool:
        """Whether the first rank finds *path*."""
        return self.team.told(path.exists())

    def write(self, act: Callable[[], object]) -> None:
        """Let the first rank do *act*, and wait for it. What goes wrong there is raised on every rank."""
        sentence = ""
        trouble: SoupError | None = None
        if self.team.rank == 0:
            try:
                act()
            except SoupError as error:
                sentence = str(error)
                trouble = error

        sentence = self.team.told(sentence)
        if sentence:
            raise trouble or RankError(sentence)

    # what is put here, and read back

    def describe(self, recipe: Recipe) -> None:
        """Note what is kept here. Raises StoreError when it cannot be written."""
        write_text(self.description, recipe.toml())

    def keep_ticket(
        self, recipe: Recipe, ticket: Ticket, bill: Mapping[str, Any]
    ) -> None:
        """Put away what was drawn, and what it cost."""
        whole = ticket.whole() or ticket

        def put() -> None:
            self.describe(recipe)
            self.finish("draw", bill)
            # last, for it says that the stage is done
            self.save_ticket(whole)

        self.write(put)

    def keep_model(self, weights: Weights, bill: Mapping[str, Any]) -> None:
        """Put away what was trained, and what that cost."""

        def put() -> None:
            self.finish("train", bill)
            # last, for it says that the stage is done
            self.save_model(weights)

        self.write(put)

    def finish(self, stage: str, facts: Mapping[str, Any]) -> None:
        """Note what a stage cost, with a checksum."""
        write_sealed(self.bill(stage), facts)

    def finished(self, stage: str) -> dict[str, Any]:
        """What `finish` noted. Raises StoreError when it is missing, damaged or edited."""
        return read_sealed(self.bill(stage))

    def load_bill(self, stage: str) -> dict[str, Any]:
        """What a finished stage cost. Raises StoreError where that is missing, damaged, edited or no bill."""
        return read_bill(self.bill(stage))

    def load_record(self) -> Record:
        """What came of the run. Raises StoreError when it is missing, damaged or edited."""
        return read_run(self.record)

    def fail(self, facts: Mapping[str, Any]) -> None:
        """Note why the run could not be done."""
        write_sealed(self.failure, facts)

    def save_ticket(self, ticket: Ticket) -> None:
        ticket.save(self.ticket)

    def load_ticket(self) -> Ticket:
        """What was drawn. Raises TicketError when it is damaged."""
        return Ticket.load(self.ticket)

    def save_model(self, weights: Weights) -> None:
        write_checked(self.model, weights, {"what": "fine-tuned weights"})

    def load_model(self) -> Weights:
        """The fine-tuned weights. Raises StoreError when they are damaged."""
        weights, _ = read_checked(self.model, "checkpoint")
        return weights

    def tidy(self) -> None:
        """Remove the half-written files that a killed run left beside those it was writing. For who holds the cell."""
        forget(self.litter())

    def litter(self) -> list[Path]:
        """What killed processes left half-written here."""
        return left_behind(self.folder, FILES)


def unlinked(folder: Path) -> Path:
    """*folder*, unless it is a symbolic link: what is in it may be removed, and what a link leads to is not ours.

    Raises StoreError where it is one.
    """
    if folder.is_symlink():
        raise StoreError(
            f"{folder} is a symbolic link, and a store empties folders of its own; "
            f"put the folder itself there, or give the folder that the whole store is kept in"
        )
    return folder
