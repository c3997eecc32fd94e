"""Plain data in JSON files, always written the same way, with a checksum of itself where it matters."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..core.content import content_key
from ..core.errors import StoreError

Kinds = Mapping[str, type | tuple[type, ...]]
"""Of which kind, or kinds, the value of each name is."""


def as_json(facts: Mapping[str, Any]) -> str:
    """Plain data as `write_json` writes it, always the same way."""
    return json.dumps(facts, indent=2, sort_keys=True) + "\n"


def write_json(path: Path, facts: Mapping[str, Any]) -> None:
    """Write plain data, in one piece or not at all. Raises StoreError."""
    # it imports torch, which readers of records do without
    from ..core.files import write_text

    write_text(path, as_json(facts))


def read_json(path: Path) -> dict[str, Any]:
    """Read what `write_json` wrote. Raises StoreError when it is missing, damaged or no table of names."""
    # reading a pipe would wait for ever
    if path.exists() and not path.is_file():
        raise StoreError(
            f"could not read {path} (it is no regular file); "
            f"`instant-soup doctor {path.parent.parent}` puts damage aside"
        )
    try:
        facts = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as reason:
        raise StoreError(
            f"could not read {path} ({reason}); `instant-soup doctor {path.parent.parent}` puts damage aside"
        ) from reason

    if not isinstance(facts, dict):
        raise StoreError(
            f"{path} holds {type(facts).__name__}, not a table of names; "
            f"`instant-soup doctor {path.parent.parent}` puts damage aside"
        )
    return facts


def of_kinds(facts: object, kinds: Kinds) -> bool:
    """Whether *facts* are a table that has each of the names in *kinds*, and a value of the kind beneath it."""
    if not isinstance(facts, dict):
        return False
    return all(name in facts and isinstance(facts[name], kinds[name]) for name in kinds)


def write_sealed(path: Path, facts: Mapping[str, Any]) -> None:
    """Write plain data with a checksum of itself, in one piece or not at all. Raises StoreError."""
    write_json(path, seal(facts))


def read_sealed(path: Path) -> dict[str, Any]:
    """Read what `write_sealed` wrote. Raises StoreError when it is missing, damaged or edited."""
    facts = read_json(path)
    if not intact(facts):
        raise StoreError(
            f"{path} does not match its checksum: it was changed after it was written; "
            f"`instant-soup doctor {path.parent.parent}` puts damage aside, and the same command makes it again"
        )
    return facts


def intact(facts: Mapping[str, Any]) -> bool:
    """Whether *facts* match their checksum, or are of a schema that had none."""
    if "checksum" in facts:
        try:
            return sealed(facts)
        except (ValueError, RecursionError):
            return False

    # records of these schemas, and bills of the same age
    of_old_schema = facts.get("schema") in (1, 2)
    old_bill = facts.keys() == {"bill", "reused", "seconds"}
    return of_old_schema or old_bill


def seal(facts: Mapping[str, Any]) -> dict[str, Any]:
    """*facts* with a checksum of everything else in them."""
    return {**facts, "checksum": _checksum(facts)}


def sealed(facts: Mapping[str, Any]) -> bool:
    """Whether the checksum of *facts* is there and right."""
    return facts.get("checksum") == _checksum(facts)


def _checksum(facts: Mapping[str, Any]) -> str:
    others = {name: value for name, value in facts.items() if name != "checksum"}
    return content_key(others)
