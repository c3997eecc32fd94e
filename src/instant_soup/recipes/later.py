"""Later: what recipes learned to say after the first keys were given out, and what they said before.

A field or a knob that was added later is in no key while it has its default, so that a recipe that does not set it
keeps the key under which its records stand.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from types import MappingProxyType
from typing import Any

from ..core.errors import unknown

LATER: Mapping[str, Mapping[str, Any]] = MappingProxyType(
    {
        "method": {"pattern": "unstructured", "subsets": 1},
        "data": {"test": None, "window": None, "windows": None},
    }
)
"""Table of a recipe -> its later fields and their defaults."""


def settled(fields: Mapping[str, Any]) -> dict[str, Any]:
    """*fields* of a recipe without those later ones that have their defaults."""
    kept = {}
    for name, value in fields.items():
        kept[name] = _without(value, LATER[name]) if name in LATER else value
    return kept


def _without(table: Mapping[str, Any], later: Mapping[str, Any]) -> dict[str, Any]:
    kept = {}
    for name, value in table.items():
        if name not in later or value != later[name]:
            kept[name] = value
    return kept


def nested(knobs: Mapping[str, Any], usual: Any) -> dict[str, Any]:
    """*knobs* with those of look-ahead protocols in a table of their own, on top of the *usual* protocols.

    Up to schema 3 the ranges of the protocols were knobs of the method itself. Where a recipe has both, what is
    written in the old way was set on top of a recipe that spells out its protocols, and so counts.
    """
    from ..soup.denoiser import RANGES, Protocols

    if usual is None:
        return dict(knobs)

    ranges = {name: knobs[name] for name in RANGES if name in knobs}
    rest = {name: value for name, value in knobs.items() if name not in RANGES}

    protocols = rest.get("protocols", {})
    if isinstance(protocols, Protocols):
        protocols = asdict(protocols)
    # anything else is refused by whoever checks its type
    if isinstance(protocols, Mapping):
        defaults = asdict(usual)
        for name in protocols:
            if name not in defaults:
                raise unknown("protocol", str(name), defaults)
        rest["protocols"] = {**defaults, **protocols, **ranges}
    return rest
