"""Index: which runs a store has finished, with the checksum of each record; so that a loss is seen.

It is never needed: all that it says stands in the records, and `rebuild` makes it again.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..core.errors import StoreError
from .plain import read_json, write_json
from .store import Store

SCHEMA = 1


def read(store: Store) -> Mapping[str, Mapping[str, Any]]:
    """What is known by key; nothing where there is no index. Raises StoreError when it is damaged."""
    path = store.index
    if not path.exists():
        return {}
    found = read_json(path)
    if found.get("schema") != SCHEMA or not isinstance(found.get("runs"), dict):
        raise StoreError(f"{path} is no index of schema {SCHEMA}; `instant-soup doctor {store.folder}` makes a new one")
    runs: Mapping[str, Mapping[str, Any]] = found["runs"]
    return runs


def add(store: Store, record: Mapping[str, Any]) -> None:
    """Note one finished run. Raises StoreError when it cannot be written."""
    with store.locks.hold("index"):
        try:
            known = dict(read(store))
        except StoreError:
            known = {}  # a hint at best: doctor finds what is wrong with it, a run does not fail for it
        known[record["key"]] = entry(record)
        write_json(store.index, {"schema": SCHEMA, "runs": known})


def rebuild(store: Store) -> int:
    """Make the index again from the records; how many there are. Raises StoreError when one cannot be read."""
    with store.locks.hold("index"):
        records = [read_json(cell.record) for cell in store.cells() if cell.record.exists()]
        write_json(store.index, {"schema": SCHEMA, "runs": {record["key"]: entry(record) for record in records}})
    return len(records)


def entry(record: Mapping[str, Any]) -> dict[str, Any]:
    """What the index says of a record."""
    recipe = record["recipe"]
    return {
        "task": recipe["task"]["name"],
        "method": recipe["method"]["name"],
        "sparsity": recipe["sparsity"],
        "seed": recipe["seed"],
        "checksum": record.get("checksum"),
    }
