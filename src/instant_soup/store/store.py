"""Store: one folder per key; the only thing that touches disk for runs.

DIR/KEY/recipe.toml              what was asked for, defaults spelled out
DIR/KEY/ticket.safetensors       what was drawn
DIR/KEY/model.safetensors        the fine-tuned weights, zeros included
DIR/KEY/record.json              what came of it, and what it cost
DIR/KEY/draw.json, train.json    the bills of finished stages
DIR/KEY/draw/, train/            where an unfinished stage stands
DIR/shelf/TASK/STATE.safetensors whole trainings that several recipes may share, such as the levels of IMP
DIR/transfers/KEY.json           what a ticket reached on another task; a folder KEY beside it until it is done
DIR/locks/                       who works on what; may be removed when nothing runs
DIR/sweeps/                      what sweeps asked for
DIR/index.json                   the checksum of every record; can be rebuilt from the records
DIR/quarantine/                  what `instant-soup doctor` put aside

JSON files carry a checksum of themselves, tickets and weights a digest of their content.
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..core.errors import StoreError
from ..core.files import read_tensors, write_tensors, write_text
from ..core.ticket import Ticket
from ..core.weights import Weights, digest
from ..recipes.recipe import Recipe
from .bookmark import EVERY, FolderBookmark
from .locks import Locks
from .plain import as_json, read_json, seal, write_json
from .trainings import FolderShelf

__all__ = ["ROOMS", "Cell", "Store", "as_json", "read_json", "write_json"]

ROOMS = ("shelf", "locks", "sweeps", "quarantine", "transfers")


@dataclass(frozen=True)
class Cell:
    """The folder of one recipe."""

    folder: Path
    save_every: float = EVERY

    @property
    def ticket(self) -> Path:
        return self.folder / "ticket.safetensors"

    @property
    def model(self) -> Path:
        return self.folder / "model.safetensors"

    @property
    def record(self) -> Path:
        return self.folder / "record.json"

    @property
    def failure(self) -> Path:
        return self.folder / "failed.json"

    def hold(self) -> AbstractContextManager[None]:
        """Be the only one who works here; wait for whoever does. Raises StoreError."""
        return Locks(self.folder.parent / "locks").hold(self.folder.name)

    def attempt(self) -> AbstractContextManager[bool]:
        """Be the only one who works here, unless somebody does; yields whether one is. Raises StoreError."""
        return Locks(self.folder.parent / "locks").attempt(self.folder.name)

    @property
    def busy(self) -> bool:
        """Whether somebody works here."""
        return Locks(self.folder.parent / "locks").busy(self.folder.name)

    def describe(self, recipe: Recipe) -> None:
        """Note what is kept here. Raises StoreError when it cannot be written."""
        write_text(self.folder / "recipe.toml", recipe.toml())

    def bookmark(self, stage: str) -> FolderBookmark:
        """Where a stage keeps its place."""
        return FolderBookmark(self.folder / stage, self.save_every)

    def tidy(self) -> None:
        """Remove the half-written files that a killed run left beside those it was writing. For who holds the cell."""
        for path in self.folder.glob(".*"):
            if path.is_file():
                path.unlink(missing_ok=True)

    def finish(self, stage: str, facts: dict[str, Any]) -> None:
        """Note what a stage cost, with a checksum."""
        write_json(self.folder / f"{stage}.json", seal(facts))

    def finished(self, stage: str) -> dict[str, Any]:
        """What `finish` noted."""
        return read_json(self.folder / f"{stage}.json")

    def save_ticket(self, ticket: Ticket) -> None:
        ticket.save(self.ticket)

    def load_ticket(self) -> Ticket:
        return Ticket.load(self.ticket)

    def save_model(self, weights: Weights) -> None:
        facts = {"what": "fine-tuned weights", "digest": digest(weights, sorted(weights))}
        write_tensors(self.model, weights, facts)

    def load_model(self) -> Weights:
        return read_tensors(self.model, StoreError, "checkpoint")[0]


@dataclass(frozen=True)
class Store:
    """A folder of runs. Any number of processes may work on one.

    Attributes:
        save_every: seconds of work after which a run saves its place in the middle of a leg.
    """

    folder: Path
    save_every: float = EVERY

    def cell(self, recipe: Recipe) -> Cell:
        """Where *recipe* is or will be kept; nothing is written yet."""
        return Cell(self.folder / recipe.key[:16], self.save_every)

    def cells(self) -> list[Cell]:
        """Every cell that is there, in the order of their keys."""
        folders = sorted(path for path in self.folder.glob("*/") if path.name not in ROOMS and path.name[0] != ".")
        return [Cell(folder, self.save_every) for folder in folders]

    @property
    def transfers(self) -> Path:
        """Where the records of transfers are kept, and what is unfinished of them."""
        return self.folder / "transfers"

    def unfinished_transfers(self) -> list[Cell]:
        """Where transfers stand that are not done."""
        folders = sorted(path for path in self.transfers.glob("*/") if path.name != "locks")
        return [Cell(folder, self.save_every) for folder in folders]

    def shelf(self, recipe: Recipe) -> FolderShelf:
        """Where whole trainings on the task of *recipe* are kept, whatever the method."""
        return FolderShelf(self.folder / "shelf" / recipe.task_key[:16], recipe.key)
