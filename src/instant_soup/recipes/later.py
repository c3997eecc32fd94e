"""Later: what recipes learned to say after the first keys were given out.

A field or a knob that was added later is in no key while it has its default, so that a recipe that does not set it
keeps the key under which its records stand.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

LATER: Mapping[str, Mapping[str, Any]] = MappingProxyType(
    {
        "method": {"pattern": "unstructured", "subsets": 1},
        "data": {"test": None, "window": None, "windows": None},
    }
)
"""Table of a recipe -> its later fields and their defaults."""


def settled(fields: Mapping[str, Any]) -> dict[str, Any]:
    """*fields* of a recipe without those later ones that have their defaults."""
    return {name: _without(value, LATER[name]) if name in LATER else value for name, value in fields.items()}


def _without(table: Mapping[str, Any], later: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in table.items() if name not in later or value != later[name]}
