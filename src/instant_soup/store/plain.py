"""Plain data in JSON files: written in one piece, with a checksum of itself, and checked when it is read."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..core.errors import StoreError
from ..core.files import write_text
from .record import seal, sealed


def write_json(path: Path, facts: Mapping[str, Any]) -> None:
    """Write plain data, in one piece or not at all. Raises StoreError."""
    write_text(path, as_json(facts))


def write_sealed(path: Path, facts: Mapping[str, Any]) -> None:
    """Write plain data with a checksum of itself. Raises StoreError."""
    write_json(path, seal(facts))


def as_json(facts: Mapping[str, Any]) -> str:
    """Plain data as `write_json` writes it, always the same way."""
    return json.dumps(facts, indent=2, sort_keys=True) + "\n"


def read_json(path: Path) -> dict[str, Any]:
    """Read what `write_json` wrote. Raises StoreError when it is missing or damaged."""
    try:
        facts: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as reason:
        raise StoreError(f"could not read {path} ({reason}); {_remedy(path)}") from reason
    if not isinstance(facts, dict):
        raise StoreError(f"{path} holds {type(facts).__name__} and no table of facts; {_remedy(path)}")
    return facts


def read_sealed(path: Path) -> dict[str, Any]:
    """Read what `write_sealed` wrote. Raises StoreError when it is missing, damaged or edited."""
    facts = read_json(path)
    if not intact(facts):
        raise StoreError(f"{path} does not match its checksum, so it was damaged or edited; {_remedy(path)}")
    return facts


def intact(facts: Mapping[str, Any]) -> bool:
    """Whether *facts* match their checksum, or are of a schema that had none."""
    if "checksum" in facts:
        return sealed(facts)
    schema = facts.get("schema", 3)
    return (isinstance(schema, int) and schema < 3) or facts.keys() == {"bill", "reused", "seconds"}


def _remedy(path: Path) -> str:
    return f"`instant-soup doctor {path.parent.parent}` puts damage aside, and the same command makes it again"
