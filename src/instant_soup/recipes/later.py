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

Fields = Mapping[str, Any]

# never to be changed: another default would give recipes that leave the field out another key
LATER: Mapping[str, Fields] = MappingProxyType(
    {
        "method": {
            "pattern": "unstructured",
            "subsets": 1,
            "denoised_from": "last",
        },
        "training": {"tail": None},
        "data": {"test": None, "window": None, "windows": None},
    }
)
"""Table of a recipe -> its later fields and their defaults."""

RANGES = ("rate", "weight_decay", "label_smoothing", "subset")
"""Knobs of methods with look-aheads up to schema 3, since when their protocols are a table of their own."""


def settled(fields: Fields) -> dict[str, Any]:
    """*fields* of a recipe without those later ones that have their defaults."""
    settled_fields = {}
    for name, value in fields.items():
        if name in LATER:
            value = without_defaults(value, LATER[name])
        settled_fields[name] = value
    return settled_fields


def without_defaults(table: Fields, later: Fields) -> dict[str, Any]:
    """*table* without those fields that have the default which *later* gives them."""
    changed = {}
    for name, value in table.items():
        if name not in later or value != later[name]:
            changed[name] = value
    return changed


def nested(knobs: Fields, defaults: Any) -> dict[str, Any]:
    """*knobs* with those of look-ahead protocols in a table of their own, on top of the default protocols.

    Up to schema 3 the ranges of the protocols were knobs of the method itself. Where a recipe has both, what is
    written in the old way was set on top of a recipe that spells out its protocols, and so counts.
    """
    from ..soup.denoiser import Protocols

    if defaults is None:
        return dict(knobs)

    ranges: dict[str, Any] = {}
    rest: dict[str, Any] = {}
    for name, value in knobs.items():
        target = ranges if name in RANGES else rest
        target[name] = value

    protocols = rest.get("protocols", {})
    if isinstance(protocols, Protocols):
        protocols = asdict(protocols)
    # anything else is refused by whoever checks its type
    if isinstance(protocols, Mapping):
        every_default = asdict(defaults)
        for name in protocols:
            if name not in every_default:
                raise unknown("protocol", str(name), every_default)
        rest["protocols"] = {**every_default, **protocols, **ranges}
    return rest
