"""Doctor: what is damaged in a store, and putting it aside so that it is made again.

Nothing is ever deleted: what is damaged, and what was made from it, goes to ``DIR/quarantine``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path

from ..core.content import short
from ..core.errors import StoreError
from ..core.files import HALF, half_written, is_abandoned
from . import checks, index
from .cell import Cell
from .locks import Locks
from .quarantine import Quarantine
from .store import ROOMS, Store

HALF_WRITTEN = "half-written: its writer was killed"

_AFTER = {
    "recipe.toml": (),
    "contents.json": (
        "draw", "draw.json", "ticket.safetensors", "train", "train.json", "model.safetensors",
    ),
    "draw.json": ("ticket.safetensors", "train.json", "model.safetensors", "record.json"),
    "ticket.safetensors": ("draw.json", "train.json", "model.safetensors", "record.json"),
    "train.json": ("model.safetensors", "record.json"),
    "model.safetensors": ("train.json", "record.json"),
    "record.json": (),
}  # fmt: skip
"""What was made from each file of a cell, and has to be made again with it."""

_NEEDS = {
    "contents.json": ("draw", "ticket.safetensors", "train", "model.safetensors"),
    "draw.json": ("ticket.safetensors",),
    "train.json": ("model.safetensors",),
}
"""What of an unfinished cell cannot be gone on from without each of these files."""


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

    quarantine = Quarantine(store.folder) if mend else None
    findings = list(_put_aside(_links(store), store.folder, quarantine))
    if findings and not mend:
        # nothing is looked at through a link
        return Health(0, 0, 0, 0, tuple(findings))

    busy = 0
    for cell in [*store.cells(), *store.unfinished_transfers()]:
        with _attempt(cell, mend=mend) as free:
            if free:
                findings += _put_aside(_cell(cell), cell.folder, quarantine)
            else:
                busy += 1

    shelved = store.shelved()
    for path in shelved:
        findings += _shelved(path, quarantine)

    transfers = store.transfer_records()
    for path in transfers:
        findings += _put_aside(_transfer(path), store.folder, quarantine)
    findings += _put_aside(_litter(store), store.folder, quarantine)

    # last, because a record that has just been put aside is no longer where the index knows it
    known = {finding.path for finding in findings}
    findings += [finding for finding in _lost(store) if finding.path not in known]
    if mend:
        index.rebuild(store)

    cells = store.cells()
    return Health(
        cells=len(cells),
        finished=sum(cell.record.exists() for cell in cells),
        shelved=len(shelved),
        busy=busy,
        findings=tuple(findings),
        transfers=len(transfers),
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
            if HALF.fullmatch(path.name) and is_abandoned(path):
                yield Finding(path, HALF_WRITTEN)


def _cell(cell: Cell) -> Iterator[Finding]:
    """What is wrong with the files of one cell."""
    checked: dict[str, Callable[[Path], str | None]] = {
        "recipe.toml": lambda path: checks.recipe(path, cell),
        "contents.json": checks.contents,
        "draw.json": checks.bill,
        "train.json": checks.bill,
        "failed.json": checks.plain,
        "ticket.safetensors": checks.ticket,
        "model.safetensors": checks.weights,
        "record.json": lambda path: checks.run_record(path, cell),
    }
    for name, check in checked.items():
        path = cell.folder / name
        # what is no file is not opened: reading a pipe would wait for ever
        damage = checks.irregular(path) or (check(path) if path.exists() else None)
        if damage:
            yield Finding(path, damage)

    yield from _orphans(cell)

    # bookmarks, each in the folder of its stage
    for path in sorted(cell.folder.glob("*/*.safetensors")):
        damage = checks.irregular(path) or checks.weights(path)
        if damage:
            yield Finding(path, damage)

    for path in cell.litter():
        yield Finding(path, HALF_WRITTEN)
    for folder in sorted(cell.folder.glob("*/")):
        for path in sorted(folder.glob(".*")):
            if HALF.fullmatch(path.name):
                yield Finding(path, HALF_WRITTEN)


def _orphans(cell: Cell) -> Iterator[Finding]:
    """What lies in an unfinished cell and cannot be gone on from, for another file is gone."""
    # a record holds what the others said, and those of old versions had no others
    if cell.record.exists():
        return

    for name, dependants in _NEEDS.items():
        if (cell.folder / name).exists():
            continue
        for dependant in dependants:
            path = cell.folder / dependant
            if path.exists():
                yield Finding(path, f"cannot be used, for {name} is gone")


def _transfer(path: Path) -> Iterator[Finding]:
    """What is wrong with the record of a transfer, or with one that is half-written beside it."""
    damage = checks.transfer_record(path)
    if damage:
        yield Finding(path, damage)
    for half in half_written(path):
        yield Finding(half, HALF_WRITTEN)


def _shelved(path: Path, quarantine: Quarantine | None) -> list[Finding]:
    """What is wrong with a whole training, unless somebody is at it."""
    if quarantine is None:
        damage = checks.irregular(path) or checks.weights(path)
        return [Finding(path, damage)] if damage else []

    # held while it is read and moved, or it could be made again in between
    with Locks(path.parent).attempt(path.stem) as free:
        damage = (checks.irregular(path) or checks.weights(path)) if free else None
        if not damage:
            return []
        return _put_aside([Finding(path, damage)], path.parent, quarantine)


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

        # a record that cannot be read has been found already
        with suppress(StoreError):
            if (cell.load_record().checksum or None) != entry["checksum"]:
                yield Finding(
                    cell.record,
                    f"is another record of {label} than the one that was written first",
                )


def _put_aside(
    findings: Iterable[Finding], folder: Path, quarantine: Quarantine | None
) -> list[Finding]:
    """*findings*, each put aside with what was made from it, if things are put aside at all."""
    if quarantine is None:
        return list(findings)

    moved = []
    # as each is found: what was made from a damaged file is gone before it would be looked at itself
    for finding in findings:
        goal = quarantine.take(finding.path)
        if finding.path.parent == folder:
            for name in _made_from(finding.path):
                quarantine.take(folder / name)
        moved.append(replace(finding, aside=goal))
    return moved


def _made_from(path: Path) -> Iterable[str]:
    """The names of what has to be made again with the file of a cell at *path*."""
    # a record that is whole says itself which contents it is of
    if path.name == "contents.json" and path.with_name("record.json").exists():
        return ()
    return _AFTER.get(path.name, ())
