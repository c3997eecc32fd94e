"""Every way to draw a ticket, by the name a recipe uses. A new method joins the laws by joining this table."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from .dense import Dense
from .gradual import Gradual
from .instant_soup import InstantSoup
from .method import Method, Variant, describe
from .one_shot import OneShot

METHODS: Mapping[str, Variant] = MappingProxyType(
    {
        "random": Variant(OneShot, {"score": "random"}),
        "magnitude": Variant(OneShot, {"score": "magnitude"}),
        "gradual": Variant(Gradual),
        "instant-soup": Variant(InstantSoup),
    }
)

REFERENCES: Mapping[str, Variant] = MappingProxyType({"dense": Variant(Dense)})
"""What tickets are compared with; it draws none itself."""

__all__ = ["METHODS", "REFERENCES", "Dense", "Gradual", "InstantSoup", "Method", "OneShot", "Variant", "describe"]
