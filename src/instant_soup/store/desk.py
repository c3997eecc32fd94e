"""Desk: a cell of the store where a team of ranks works. The first rank writes; all agree on what is there.

The ranks share the folder, as processes of one machine do, or machines that mount one file system.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from ..core.errors import RankError, SoupError
from ..core.ranks.team import Team
from ..core.task import Shelf
from ..core.ticket import Ticket
from ..core.weights import Weights
from ..recipes.recipe import Recipe
from ..training import ranks
from .bookmark import FolderBookmark
from .store import Cell

POLL = 1.0  # seconds between two looks at a lock that another run holds


@dataclass(frozen=True)
class Desk:
    """A cell, and the ranks that work there."""

    cell: Cell
    team: Team

    def there(self, path: Path) -> bool:
        """Whether the first rank finds *path*."""
        return self.team.told(path.exists())

    def write(self, act: Callable[[], object]) -> None:
        """Let the first rank do *act*, and wait for it. What goes wrong there is raised on every rank."""
        said, trouble = "", None
        if self.team.rank == 0:
            try:
                act()
            except SoupError as error:
                said, trouble = str(error), error
        said = self.team.told(said)
        if said:
            raise trouble or RankError(said)

    @contextmanager
    def hold(self) -> Iterator[None]:
        """Be the only team that works here; wait for whoever does. Raises RankError where the others are lost."""
        with ranks.lost(), ExitStack() as stack:
            if self.team.size == 1:
                stack.enter_context(self.cell.hold())
            else:
                while not self.team.told(self.team.rank == 0 and stack.enter_context(self.cell.attempt())):
                    time.sleep(POLL)
            yield

    def bookmark(self, stage: str) -> FolderBookmark:
        """Where a stage keeps its place."""
        return FolderBookmark(self.cell.folder / stage, self.cell.save_every, self.team)

    def shelf(self, shelf: Shelf) -> TeamShelf:
        """*shelf* as ranks take from it."""
        return TeamShelf(shelf, self.team)

    def keep_ticket(self, recipe: Recipe, ticket: Ticket, bill: dict[str, Any]) -> None:
        """Put away what was drawn, and what it cost."""
        whole = ticket.whole() or ticket
        self.write(lambda: self._keep_ticket(recipe, whole, bill))

    def _keep_ticket(self, recipe: Recipe, ticket: Ticket, bill: dict[str, Any]) -> None:
        self.cell.describe(recipe)
        self.cell.finish("draw", bill)
        self.cell.save_ticket(ticket)  # last, for it says that the stage is done

    def keep_model(self, weights: Weights, bill: dict[str, Any]) -> None:
        """Put away what was trained, and what that cost."""
        self.write(lambda: self._keep_model(weights, bill))

    def _keep_model(self, weights: Weights, bill: dict[str, Any]) -> None:
        self.cell.finish("train", bill)
        self.cell.save_model(weights)  # last, for it says that the stage is done


@dataclass(frozen=True)
class TeamShelf:
    """A shelf that a team takes from together. Its first rank claims and puts."""

    shelf: Shelf
    team: Team

    @contextmanager
    def claim(self, key: str) -> Iterator[None]:
        with ExitStack() as stack:
            if self.team.rank == 0:
                stack.enter_context(self.shelf.claim(key))
            yield

    def put(self, key: str, tensors: Mapping[str, Tensor], facts: Mapping[str, Any]) -> None:
        if self.team.rank == 0:
            self.shelf.put(key, tensors, facts)
        self.team.told(None)

    def get(self, key: str) -> tuple[Mapping[str, Tensor], Mapping[str, Any]] | None:
        found = self.shelf.get(key) if self.team.rank == 0 else None
        if not self.team.told(found is not None):
            return None
        return found or self.shelf.get(key)
