"""Doctor: what is damaged in a store, and putting it aside so that it is made again.

Nothing is ever deleted: what is damaged, and what was made from it, goes to ``DIR/quarantine``.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ..core.errors import SoupError, StoreError
from ..core.files import half_written, read_tensors
from ..core.ticket import Ticket
from ..core.weights import digest
from ..recipes import toml
from ..recipes.recipe import Recipe
from . import index
from .locks import Locks
from .plain import as_json, read_json, sealed
from .record import read_run, read_transfer
from .store import Cell, Store

_AFTER = {
    "recipe.toml": (),
    "draw.json": ("ticket.safetensors", "train.json", "model.safetensors", "record.json"),
    "ticket.safetensors": ("draw.json", "train.json", "model.safetensors", "record.json"),
    "train.json": ("model.safetensors", "record.json"),
    "model.safetensors": ("train.json", "record.json"),
    "record.json": (),
}
"""What was made from each file of a cell, and has to be made again with it."""


@dataclass(frozen=True)
class Finding:
    """Something wrong.

    Attributes:
        path: the damaged file, or the folder of what is missing.
        what: what is wrong with it, in a sentence.
        aside: where it was put; None where nothing was moved.
    """

    path: Path
    what: str
    aside: Path | None = None


@dataclass(frozen=True)
class Health:
    """What a store holds, and what of it is damaged. *busy* cells are being worked on and were not looked at."""

    cells: int
    finished: int
    shelved: int
    busy: int
    findings: tuple[Finding, ...]
    transfers: int = 0


def examine(store: Store, *, mend: bool = True) -> Health:
    """Read everything in *store* and check it against its checksums.

    With *mend*, what is damaged goes to ``DIR/quarantine`` and the index is made again from the
    records that are whole. Raises StoreError when there is no such folder.
    """
    if not store.folder.is_dir():
        raise StoreError(f"no folder at {store.folder}; give the folder that runs are kept in")
    put = _Aside(store.folder) if mend else None
    findings: list[Finding] = []
    cells, busy = [*store.cells(), *store.unfinished_transfers()], 0
    for cell in cells:
        with cell.attempt() as free:
            busy += not free
            if free:
                findings += [_moved(found, cell.folder, put) for found in _cell(cell)]
    shelved = sorted((store.folder / "shelf").glob("*/*.safetensors"))
    for path in shelved:
        with Locks(path.parent).attempt(path.stem) as free:
            if free:
                findings += [_moved(found, path.parent, put) for found in _shelved(path)]
    moved = sorted(store.transfers.glob("*.json"))
    findings += [_moved(found, store.folder, put) for path in moved for found in _transfer(path)]
    known = {finding.path for finding in findings}
    findings += [found for found in _lost(store) if found.path not in known]
    if put:
        index.rebuild(store)
    finished = sum(cell.record.exists() for cell in store.cells())
    return Health(len(store.cells()), finished, len(shelved), busy, tuple(findings), len(moved))


def _cell(cell: Cell) -> Iterator[Finding]:
    """What is wrong with the files of one cell."""
    checks: dict[str, Callable[[Path], str | None]] = {
        "recipe.toml": lambda path: _recipe(path, cell),
        "draw.json": _plain,
        "train.json": _plain,
        "failed.json": _plain,
        "ticket.safetensors": _ticket,
        "model.safetensors": _weights,
        "record.json": lambda path: _plain(path) or _record(path, cell),
    }
    for name, wrong in checks.items():
        path = cell.folder / name
        if path.exists() and (what := wrong(path)):
            yield Finding(path, what)
    for path in sorted((cell.folder).glob("*/*.safetensors")):
        if what := _readable(path):
            yield Finding(path, what)
    for path in sorted(cell.folder.rglob(".*")):
        if path.is_file():
            yield Finding(path, "half-written: its writer was killed")


def _plain(path: Path) -> str | None:
    """Whether JSON is to the byte what was written."""
    try:
        text = path.read_bytes().decode()
        facts = json.loads(text)
    except (OSError, ValueError, RecursionError) as reason:
        return f"cannot be read ({reason})"
    if not isinstance(facts, dict) or as_json(facts) != text:
        return "is not as it was written"
    if "checksum" not in facts and (facts.get("schema") in (1, 2) or facts.keys() == {"bill", "reused", "seconds"}):
        return None  # there was none in schema 1 and 2
    return None if sealed(facts) else "does not match its checksum"


def _recipe(path: Path, cell: Cell) -> str | None:
    try:
        recipe = Recipe.parse(toml.read(path), str(path))
    except SoupError as reason:
        return f"is no recipe ({reason})"
    return None if recipe.key.startswith(cell.folder.name) else "is another recipe than this folder's"


def _record(path: Path, cell: Cell) -> str | None:
    if refusal := _refused(lambda: read_run(path)):
        return refusal
    record = read_run(path)
    if not record.key.startswith(cell.folder.name):
        return "is another run's record"
    if cell.ticket.exists() and not _ticket(cell.ticket):
        drawn = cell.load_ticket()
        if drawn.digest != record.ticket.digest:
            return "is of another ticket than the one beside it"
    return None


def _transfer(path: Path) -> Iterator[Finding]:
    """What is wrong with the record of a transfer, or with one that is half-written beside it."""
    if what := _plain(path):
        yield Finding(path, what)
    elif refusal := _refused(lambda: read_transfer(path)):
        yield Finding(path, refusal)
    elif not read_transfer(path).key.startswith(path.stem):
        yield Finding(path, "is another transfer's record")
    for half in half_written(path):
        yield Finding(half, "half-written: its writer was killed")


def _ticket(path: Path) -> str | None:
    return _refused(lambda: Ticket.load(path))


def _readable(path: Path) -> str | None:
    return _refused(lambda: read_tensors(path, StoreError, "file of tensors"))


def _weights(path: Path) -> str | None:
    """Whether tensors are the ones that were written."""
    if what := _readable(path):
        return what
    tensors, facts = read_tensors(path, StoreError, "file of tensors")
    if (noted := facts.get("digest")) is None:
        return None  # written by a version that noted none
    return None if noted == digest(tensors, sorted(tensors)) else "does not match its checksum"


def _shelved(path: Path) -> Iterator[Finding]:
    if what := _weights(path):
        yield Finding(path, what)


def _refused(read: Callable[[], object]) -> str | None:
    try:
        read()
    except SoupError as reason:
        return f"cannot be read ({reason})"
    return None


def _lost(store: Store) -> Iterator[Finding]:
    """What the index knows of and the folders have lost or changed; a missing index is only made again."""
    try:
        known = index.read(store)
    except StoreError as reason:
        yield Finding(index.place(store), f"{reason}")
        return
    for key, entry in known.items():
        cell = index.cell_of(store, key)
        label = f"{entry['task']} {entry['method']} {entry['sparsity']:.0%} seed {entry['seed']}"
        if not cell.record.exists():
            yield Finding(cell.folder, f"the record of {label} is gone; a sweep runs it again")
            continue
        with suppress(StoreError):  # then it was found above
            if read_json(cell.record).get("checksum") != entry["checksum"]:
                yield Finding(cell.record, f"is another record of {label} than the one that was written first")


def _moved(found: Finding, folder: Path, put: _Aside | None) -> Finding:
    if put is None:
        return found
    aside = put(found.path)
    for name in _AFTER.get(found.path.name, ()) if found.path.parent == folder else ():
        if (folder / name).exists():
            put(folder / name)
    return Finding(found.path, found.what, aside)


class _Aside:
    """Moves files into a quarantine of this very moment, under the path they had."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._folder = root / "quarantine" / datetime.now(UTC).strftime("%Y%m%d-%H%M%S-%f")

    def __call__(self, path: Path) -> Path | None:
        """Where *path* is now; None if it went already. Raises StoreError when it cannot be moved."""
        goal: Any = self._folder / path.relative_to(self._root)
        if not path.exists():
            return None
        try:
            goal.parent.mkdir(parents=True, exist_ok=True)
            path.rename(goal)
        except OSError as reason:
            raise StoreError(f"could not move {path} to {goal} ({reason}); make room or change its owner") from reason
        found: Path = goal
        return found
