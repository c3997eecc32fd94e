"""Tensors in a file, with a checksum of all that it holds, which is checked when it is read."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from ..core.content import content_key
from ..core.errors import StoreError
from ..core.tensor_files import read_tensors, write_tensors
from ..core.weights import digest

_SEALS = ("digest", "checksum")


def write_checked(
    path: Path, tensors: Mapping[str, Tensor], facts: Mapping[str, Any]
) -> None:
    """Write *tensors* and *facts*, in one piece or not at all. Raises StoreError."""
    solid = {name: tensor.detach().cpu() for name, tensor in tensors.items()}
    noted = {**facts, "digest": digest(solid, sorted(solid))}
    write_tensors(path, solid, {**noted, "checksum": content_key(noted)})


def read_checked(path: Path, what: str) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Read what `write_checked` wrote, or an earlier version, which noted no checksum.

    Raises StoreError when *path* holds no *what*, or another one than was written.
    """
    tensors, noted = read_tensors(path, StoreError, what)
    if not _intact(tensors, noted):
        raise StoreError(
            f"{path} does not match its checksum, so this {what} was damaged or edited; "
            f"`instant-soup doctor` with the store's folder puts it aside, and the same command makes it again"
        )
    return tensors, {name: fact for name, fact in noted.items() if name not in _SEALS}


def _intact(tensors: Mapping[str, Tensor], noted: Mapping[str, Any]) -> bool:
    if not isinstance(noted, dict):
        return False
    if "checksum" in noted:
        facts = {name: fact for name, fact in noted.items() if name != "checksum"}
        if noted["checksum"] != content_key(facts):
            return False
    return "digest" not in noted or noted["digest"] == digest(tensors, sorted(tensors))
