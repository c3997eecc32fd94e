"""Doctor: what is damaged in a store, and putting it aside so that it is made again.

Nothing is ever deleted: what is damaged, and what was made from it, goes to ``DIR/quarantine``.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from ..core.content import short
from ..core.errors import SoupError, StoreError
from ..core.files import half_written, read_tensors
from ..core.ticket import Ticket
from ..recipes import toml
from ..recipes.recipe import Recipe
from . import index
from .cell import Cell, unlinked
from .locks import Locks
from .plain import as_json, intact, read_json
from .record import read_run, read_transfer
from .store import ROOMS, Store
from .tensors import read_checked

# as files and exports are named until they are whole
_HALF = re.compile(r"\..+\.[0-9a-f]{32}", re.DOTALL)
_OLD = 600  # seconds after which nobody writes to a half-written file any more

_AFTER = {
    "recipe.toml": (),
    "contents.json": (),
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
    records that are whole. Without, nothing is written, and the folder need not be writable.

    Raises StoreError when there is no such folder.
    """
    if not store.folder.is_dir():
        raise StoreError(
            f"no folder at {store.folder}; give the folder that runs are kept in"
        )

    aside = _Aside(store.folder) if mend else None
    findings = [_moved(finding, store.folder, aside) for finding in _links(store)]
    if findings and not mend:
        return Health(0, 0, 0, 0, tuple(findings))  # nothing is looked at through a link

    busy = 0
    for cell in [*store.cells(), *store.unfinished_transfers()]:
        with _attempt(cell, mend=mend) as free:
            if free:
                findings += [
                    _moved(finding, cell.folder, aside) for finding in _cell(cell)
                ]
            else:
                busy += 1

    shelved = store.shelved()
    for path in shelved:
        findings += _shelved(path, aside)

    transfers = store.transfer_records()
    for path in transfers:
        findings += [_moved(finding, store.folder, aside) for finding in _transfer(path)]

    findings += [_moved(finding, store.folder, aside) for finding in _litter(store)]
    known = {finding.path for finding in findings}
    findings += [finding for finding in _lost(store) if finding.path not in known]

    if mend:
        index.rebuild(store)
    cells = store.cells()
    finished = sum(cell.record.exists() for cell in cells)
    return Health(
        len(cells), finished, len(shelved), busy, tuple(findings), len(transfers)
    )


@contextmanager
def _attempt(cell: Cell, *, mend: bool) -> Iterator[bool]:
    """Hold *cell* if it is to be mended, else look only; yields whether nobody else is at it."""
    if mend:
        with cell.attempt() as free:
            yield free
        return

    try:
        busy = cell.busy
    except StoreError:
        busy = False  # a store that cannot be written is not worked on
    yield not busy


def _links(store: Store) -> Iterator[Finding]:
    for path in store.links():
        yield Finding(
            path,
            "is a symbolic link where a folder of the store's own should be; it was not followed",
        )


def _litter(store: Store) -> Iterator[Finding]:
    """What killed writers left beside what they were writing, outside of cells. What is new may still be written."""
    for folder in (store.folder, *(store.folder / name for name in ROOMS)):
        for path in sorted(folder.glob(".*")):
            if _HALF.fullmatch(path.name) and time.time() - path.lstat().st_mtime > _OLD:
                yield Finding(path, "half-written: its writer was killed")


def _cell(cell: Cell) -> Iterator[Finding]:
    """What is wrong with the files of one cell."""
    checks: dict[str, Callable[[Path], str | None]] = {
        "recipe.toml": lambda path: _recipe(path, cell),
        "contents.json": _plain,
        "draw.json": _bill,
        "train.json": _bill,
        "failed.json": _plain,
        "ticket.safetensors": _ticket,
        "model.safetensors": _weights,
        "record.json": lambda path: _plain(path) or _record(path, cell),
    }
    for name, check in checks.items():
        path = cell.folder / name
        what = _irregular(path) or (check(path) if path.exists() else None)
        if what:
            yield Finding(path, what)

    for path in sorted(cell.folder.glob("*/*.safetensors")):
        what = _irregular(path) or _weights(path)
        if what:
            yield Finding(path, what)

    for path in cell.litter():
        yield Finding(path, "half-written: its writer was killed")
    for folder in sorted(cell.folder.glob("*/")):
        for path in sorted(folder.glob(".*")):
            if _HALF.fullmatch(path.name):
                yield Finding(path, "half-written: its writer was killed")


def _irregular(path: Path) -> str | None:
    """Whether something stands at *path* that is no file, and would be waited for or followed where it is read."""
    if path.is_symlink():
        return "is a symbolic link; it was not followed"
    if path.exists() and not path.is_file():
        return "is no regular file"
    return None


def _plain(path: Path) -> str | None:
    """Whether JSON is to the byte what was written."""
    try:
        text = path.read_bytes().decode()
        facts = json.loads(text)
    except (OSError, ValueError, RecursionError) as reason:
        return f"cannot be read ({reason})"
    if not isinstance(facts, dict) or as_json(facts) != text:
        return "is not as it was written"
    return None if intact(facts) else "does not match its checksum"


def _bill(path: Path) -> str | None:
    """Whether JSON is the bill of a stage."""
    what = _plain(path)
    if what:
        return what
    return (
        None if {"bill", "seconds"} <= read_json(path).keys() else "is no bill of a stage"
    )


def _recipe(path: Path, cell: Cell) -> str | None:
    try:
        recipe = Recipe.parse(toml.read(path), str(path))
    except SoupError as reason:
        return f"is no recipe ({reason})"
    return (
        None
        if recipe.key.startswith(cell.key)
        else "is another recipe than this folder's"
    )


def _record(path: Path, cell: Cell) -> str | None:
    refusal = _refused(lambda: read_run(path))
    if refusal:
        return refusal

    record = read_run(path)
    if not record.key.startswith(cell.key):
        return "is another run's record"
    if (
        cell.ticket.exists()
        and not _ticket(cell.ticket)
        and cell.load_ticket().digest != record.ticket.digest
    ):
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


def _weights(path: Path) -> str | None:
    """Whether tensors are the ones that were written."""
    try:
        read_tensors(path, StoreError, "file of tensors")
    except StoreError as reason:
        return f"cannot be read ({reason})"
    return (
        "does not match its checksum"
        if _refused(lambda: read_checked(path, "file of tensors"))
        else None
    )


def _shelved(path: Path, aside: _Aside | None) -> list[Finding]:
    """What is wrong with a whole training, unless somebody is at it."""
    if aside is None:
        what = _irregular(path) or _weights(path)
        return [Finding(path, what)] if what else []

    with Locks(path.parent).attempt(path.stem) as free:
        what = (_irregular(path) or _weights(path)) if free else None
        return [_moved(Finding(path, what), path.parent, aside)] if what else []


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
        yield Finding(store.index, f"{reason}")
        return

    cells = store.by_key()
    for key, entry in known.items():
        cell = cells.get(short(key))
        label = f"{entry['task']} {entry['method']} {entry['sparsity']:.0%} seed {entry['seed']}"
        if cell is None or not cell.record.exists():
            folder = cell.folder if cell else store.folder / short(key)
            yield Finding(folder, f"the record of {label} is gone; a sweep runs it again")
            continue
        with suppress(StoreError):  # then it was found above
            if (cell.load_record().checksum or None) != entry["checksum"]:
                yield Finding(
                    cell.record,
                    f"is another record of {label} than the one that was written first",
                )


def _moved(finding: Finding, folder: Path, aside: _Aside | None) -> Finding:
    """*finding*, put aside with what was made from it, if things are put aside at all."""
    if aside is None:
        return finding

    goal = aside(finding.path)
    if finding.path.parent == folder:
        for name in _AFTER.get(finding.path.name, ()):
            aside(folder / name)
    return Finding(finding.path, finding.what, goal)


class _Aside:
    """Moves files into a quarantine of this very moment, under the path they had."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._folder = unlinked(root / "quarantine") / datetime.now(UTC).strftime(
            "%Y%m%d-%H%M%S-%f"
        )

    def __call__(self, path: Path) -> Path | None:
        """Where *path* is now; None if it went already. Raises StoreError when it cannot be moved."""
        if not path.exists() and not path.is_symlink():
            return None

        goal = self._folder / path.relative_to(self._root)
        try:
            goal.parent.mkdir(parents=True, exist_ok=True)
            path.rename(goal)
        except OSError as reason:
            raise StoreError(
                f"could not move {path} to {goal} ({reason}); make room or change its owner"
            ) from reason
        return goal
