"""Masked: writes an export as a bitmask file, with its model's description and its provenance."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from . import bitmask
from .card import provenance
from .portable import Portable
from .skeleton import describe


def write(portable: Portable, out: Path) -> dict[str, Any]:
    """Write one safetensors file of bits and survivors (`instant_soup.export.bitmask`)."""
    facts = {"model": describe(portable), "provenance": provenance(portable)}
    # with all names, so that a state dict can be loaded from it
    bitmask.write(out, portable.tensors_by_every_name, portable.ticket.mask, facts)
    return {}
