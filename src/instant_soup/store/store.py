"""Store: one folder per run; the only thing that knows where on disk something is kept.

DIR/TASK_METHOD_SPARSITY_seedN_KEY/   a cell: one run, by the short key of its recipe; up to version 0.1 just DIR/KEY
    recipe.toml                       what was asked for, defaults spelled out
    contents.json                     digests of the data and the model that it is made with
    ticket.safetensors                what was drawn
    model.safetensors                 the fine-tuned weights, zeros included
    record.json                       what came of it, and what it cost
    draw.json, train.json             the bills of finished stages
    draw/, train/                     where an unfinished stage stands
DIR/shelf/TASK/STATE.safetensors      whole trainings that several recipes may share, such as the levels of IMP
DIR/transfers/KEY.json                what a ticket reached on another task; a cell KEY beside it until it is done
DIR/locks/                            who works on what, and how far it is; may be removed when nothing runs
DIR/sweeps/                           what sweeps asked for
DIR/index.json                        the checksum of every record; can be rebuilt from the records
DIR/digests.json                      digests of data and models that were read; can be made again from them
DIR/quarantine/                       what `instant-soup doctor` put aside

JSON files carry a checksum of themselves, tickets and weights a digest of their content. The folders that the store
makes inside DIR have to be folders: a symbolic link in their place is refused and never followed.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from ..core.content import short
from ..core.errors import KindError
from ..core.kinds import checked_class_but
from ..core.ranks.team import ALONE, Team
from ..recipes.recipe import Recipe
from .bookmark import EVERY
from .cell import Cell, unlinked
from .locks import Locks
from .trainings import FolderShelf

ROOMS = ("shelf", "locks", "sweeps", "quarantine", "transfers")
_CELL = re.compile(r"(.+_)?[0-9a-f]{16}")
_MOST = 40  # characters of a task's name in the name of a folder


@checked_class_but("folder")
@dataclass(frozen=True)
class Store:
    """A folder of runs. Any number of processes may work on one.

    Attributes:
        save_every: seconds of work after which a run saves its place in the middle of a leg.
    """

    folder: Path
    save_every: float = EVERY

    def __post_init__(self) -> None:
        if not isinstance(self.folder, str | Path):
            kind = type(self.folder).__name__
            raise KindError(f"Store: folder is a {kind}; expected a path")
        object.__setattr__(self, "folder", Path(self.folder))

    # runs

    def cell(self, recipe: Recipe, team: Team = ALONE) -> Cell:
        """Where *recipe* is or will be kept; nothing is written yet. Raises StoreError where that is a link."""
        key = short(recipe.key)
        # up to version 0.1 the key alone was the name
        bare = self.folder / key
        folder = bare if bare.exists() else self.folder / f"{_title(recipe)}_{key}"
        return Cell(unlinked(folder), self.save_every, team)

    def cell_of(self, key: str) -> Cell:
        """The cell of the recipe with this *key*, whatever is known of it otherwise."""
        cell = self.by_key().get(short(key))
        return cell or Cell(self.folder / short(key), self.save_every)

    def by_key(self) -> dict[str, Cell]:
        """Every cell that is there, by its short key."""
        return {cell.key: cell for cell in self.cells()}

    def cells(self) -> list[Cell]:
        """Every cell that is there, in the order of their names."""
        return self._cells_in(self.folder)

    def _cells_in(self, folder: Path) -> list[Cell]:
        cells = []
        for path in sorted(folder.glob("*/")):
            of_the_store = path.name in ROOMS or path.name.startswith(".")
            # what a link leads to is not ours: cells are emptied, and moved when they are damaged
            if not of_the_store and not path.is_symlink():
                cells.append(Cell(path, self.save_every))
        return cells

    # what runs share

    def shelf(self, recipe: Recipe, team: Team = ALONE) -> FolderShelf:
        """Where whole trainings on the task of *recipe* are kept, whatever the method."""
        folder = unlinked(self.room("shelf") / short(recipe.task_key))
        return FolderShelf(folder, recipe.key, team)

    def shelved(self) -> list[Path]:
        """Every whole training that is there."""
        return sorted(self.room("shelf").glob("*/*.safetensors"))

    @property
    def locks(self) -> Locks:
        """Who works on what."""
        return Locks(self.room("locks"))

    def progress(self, recipe: Recipe) -> Path:
        """Where a run of *recipe* notes how far it is."""
        return self.room("locks") / f"{short(recipe.key)}.json"

    def progresses(self) -> list[Path]:
        """Every note of how far a run is."""
        return sorted(self.room("locks").glob("*.json"))

    @property
    def index(self) -> Path:
        """What was finished here."""
        return self.folder / "index.json"

    @property
    def digests(self) -> Path:
        """Digests of data and models that were read."""
        return self.folder / "digests.json"

    # transfers

    @property
    def transfers(self) -> Path:
        """Where the records of transfers are kept, and what is unfinished of them."""
        return self.room("transfers")

    def transfer(self, key: str) -> Path:
        """Where the record of the transfer with this *key* is kept."""
        return self.transfers / f"{short(key)}.json"

    def transfer_cell(self, key: str) -> Cell:
        """Where the transfer with this *key* is worked on."""
        return Cell(unlinked(self.transfers / short(key)), self.save_every)

    def transfer_records(self) -> list[Path]:
        """The record of every transfer that is done."""
        return sorted(self.transfers.glob("*.json"))

    def unfinished_transfers(self) -> list[Cell]:
        """Where transfers stand that are not done."""
        return self._cells_in(self.transfers)

    # sweeps

    def sweep(self, key: str) -> Path:
        """Where what the sweep with this *key* asks for is kept."""
        return self.room("sweeps") / f"{short(key)}.json"

    def sweeps(self) -> list[Path]:
        """What every sweep that was begun here asks for."""
        return sorted(self.room("sweeps").glob("*.json"))

    # folders

    def room(self, name: str) -> Path:
        """One of the folders that all runs share. Raises StoreError where it is a link."""
        return unlinked(self.folder / name)

    def links(self) -> list[Path]:
        """Symbolic links that stand where the store has folders of its own."""
        places = [self.folder / name for name in ROOMS]
        places += [path for path in self.folder.glob("*") if _CELL.fullmatch(path.name)]
        for name in ("shelf", "transfers"):
            if not (self.folder / name).is_symlink():
                places += (self.folder / name).glob("*")
        return sorted({path for path in places if path.is_symlink()})


def _title(recipe: Recipe) -> str:
    """What people see of a recipe in the name of its folder: task, method, control, sparsity and seed."""
    task = re.sub(r"[^A-Za-z0-9.]+", "-", recipe.task.name).strip("-.")[:_MOST] or "task"
    method = str(recipe.method["name"])
    control = f"-{recipe.control}" if recipe.control else ""
    return f"{task}_{method}{control}_{recipe.sparsity:g}_seed{recipe.seed}"
