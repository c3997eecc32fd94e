"""Checks: what is wrong with one file of a store, in a sentence; None where nothing is."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

from ..core.errors import SoupError, StoreError
from ..core.tensor_files import read_tensors
from ..core.ticket import Ticket
from ..recipes import toml
from ..recipes.recipe import Recipe
from .cell import Cell
from .plain import as_json, intact, of_kinds, read_json
from .record import read_bill, read_run, read_transfer
from .tensors import read_checked


def irregular(path: Path) -> str | None:
    """Whether something stands at *path* that is no file, and would be waited for or followed where it is read."""
    if path.is_symlink():
        return "is a symbolic link; it was not followed"
    if path.exists() and not path.is_file():
        return "is no regular file"
    return None


def plain(path: Path) -> str | None:
    """Whether JSON is to the byte what was written."""
    try:
        text = path.read_bytes().decode()
        facts = json.loads(text)
    except (OSError, ValueError, RecursionError) as reason:
        return f"cannot be read ({reason})"

    if not isinstance(facts, dict) or as_json(facts) != text:
        return "is not as it was written"
    if not intact(facts):
        return "does not match its checksum"
    return None


def contents(path: Path) -> str | None:
    """Whether JSON says which files a run was begun with."""
    damage = plain(path)
    if damage:
        return damage
    if not of_kinds(read_json(path), {"digests": dict, "files": dict}):
        return "does not say what the run was begun with"
    return None


def bill(path: Path) -> str | None:
    """Whether JSON is the bill of a stage."""
    return plain(path) or _refusal(lambda: read_bill(path))


def recipe(path: Path, cell: Cell) -> str | None:
    """Whether TOML is the recipe that the folder of *cell* is named for."""
    try:
        read = Recipe.parse(toml.read(path), str(path))
    except SoupError as reason:
        return f"is no recipe ({reason})"

    if not read.key.startswith(cell.key):
        return "is another recipe than this folder's"
    return None


def run_record(path: Path, cell: Cell) -> str | None:
    """Whether JSON is the record of the run of *cell*, and of the ticket that lies beside it."""
    damage = plain(path) or _refusal(lambda: read_run(path))
    if damage:
        return damage

    record = read_run(path)
    if not record.key.startswith(cell.key):
        return "is another run's record"

    # a damaged ticket is said of the ticket, not of the record
    readable = cell.ticket.exists() and not ticket(cell.ticket)
    if readable and cell.load_ticket().digest != record.ticket.digest:
        return "is of another ticket than the one beside it"
    return None


def transfer_record(path: Path) -> str | None:
    """Whether JSON is the record of the transfer that the file is named for."""
    damage = plain(path) or _refusal(lambda: read_transfer(path))
    if damage:
        return damage
    if not read_transfer(path).key.startswith(path.stem):
        return "is another transfer's record"
    return None


def ticket(path: Path) -> str | None:
    """Whether a ticket is whole."""
    return _refusal(lambda: Ticket.load(path))


def weights(path: Path) -> str | None:
    """Whether tensors are the ones that were written."""
    # first without their checksum, which a file that is cut off does not even have
    unreadable = _refusal(lambda: read_tensors(path, StoreError, "file of tensors"))
    if unreadable:
        return unreadable
    if _refusal(lambda: read_checked(path, "file of tensors")):
        return "does not match its checksum"
    return None


def _refusal(read: Callable[[], object]) -> str | None:
    try:
        read()
    except SoupError as reason:
        return f"cannot be read ({reason})"
    return None
