"""Shelf: whole trainings in a folder, by what they depend on, so that none is done twice."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from ..core.errors import StoreError
from ..core.files import read_tensors, write_tensors


@dataclass(frozen=True)
class FolderShelf:
    """A folder of trained weights.

    Attributes:
        folder: made when something is first put there.
        owner: key of the recipe that puts and gets; what another put counts as reused.
    """

    folder: Path
    owner: str

    def put(self, key: str, tensors: Mapping[str, Tensor], facts: Mapping[str, Any]) -> None:
        write_tensors(self._path(key), tensors, {**facts, "owner": self.owner})

    def get(self, key: str) -> tuple[Mapping[str, Tensor], Mapping[str, Any]] | None:
        if not self._path(key).exists():
            return None
        tensors, facts = read_tensors(self._path(key), StoreError, "shelved training")
        return tensors, {**facts, "reused": facts["owner"] != self.owner}

    def _path(self, key: str) -> Path:
        return self.folder / f"{key[:32]}.safetensors"
