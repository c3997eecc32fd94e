"""Index: which runs a store has finished, with the checksum of each record; so that a loss is seen.

It is never needed: all that it says stands in the records, and `rebuild` makes it again.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from ..core.errors import StoreError
from .plain import Kinds, of_kinds, read_json, write_json
from .record import Record, read_run
from .store import Store

SCHEMA = 1


def read(store: Store) -> Mapping[str, Mapping[str, Any]]:
    """What is known by key; nothing where there is no index. Raises StoreError when it is damaged."""
    path = store.index
    if not path.exists():
        return {}

    facts = read_json(path)
    if facts.get("schema") != SCHEMA or not _whole(facts.get("runs")):
        raise StoreError(
            f"{path} is no index of schema {SCHEMA}; `instant-soup doctor {store.folder}` makes a new one"
        )
    runs: Mapping[str, Mapping[str, Any]] = facts["runs"]
    return runs


def _whole(runs: object) -> bool:
    """Whether every entry is as `entry` makes it."""
    kinds: Kinds = {
        "task": str,
        "method": str,
        "sparsity": (int, float),
        "seed": int,
        "checksum": (str, type(None)),
    }

    if not isinstance(runs, dict):
        return False
    return all(of_kinds(noted, kinds) for noted in runs.values())


def add(store: Store, record: Record) -> None:
    """Note one finished run. Raises StoreError when it cannot be written."""
    with store.locks.hold("index"):
        try:
            known = dict(read(store))
        except StoreError:
            # a hint at best: doctor finds what is wrong with it, a run does not fail for it
            known = {}
        known[record.key] = entry(record)
        write_json(store.index, {"schema": SCHEMA, "runs": known})


def rebuild(store: Store) -> int:
    """Make the index again from the records that can be read; how many there are. Raises StoreError."""
    with store.locks.hold("index"):
        entries = {}
        for cell in store.cells():
            if cell.record.exists():
                # a damaged record is named by doctor, and goes by itself
                with suppress(StoreError):
                    record = read_run(cell.record)
                    entries[record.key] = entry(record)

        write_json(store.index, {"schema": SCHEMA, "runs": entries})
    return len(entries)


def entry(record: Record) -> dict[str, Any]:
    """What the index says of a record."""
    recipe = record.recipe
    return {
        "task": recipe.task.name,
        "method": recipe.method.name,
        "sparsity": recipe.sparsity,
        "seed": recipe.seed,
        "checksum": record.checksum or None,
    }
