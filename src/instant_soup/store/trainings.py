"""Shelf: whole trainings in a folder, by what they depend on, so that none is done twice."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from ..core.errors import StoreError
from ..core.files import half_written, read_tensors, write_tensors
from ..core.weights import digest
from .locks import Locks


@dataclass(frozen=True)
class FolderShelf:
    """A folder of trained weights.

    Attributes:
        folder: made when something is first put there.
        owner: key of the recipe that puts and gets; what another put counts as reused.
    """

    folder: Path
    owner: str

    @contextmanager
    def claim(self, key: str) -> Iterator[None]:
        with Locks(self.folder).hold(key[:32]):
            for path in half_written(self._path(key)):
                path.unlink(missing_ok=True)  # of a process that was killed, for nobody else is here
            yield

    def put(self, key: str, tensors: Mapping[str, Tensor], facts: Mapping[str, Any]) -> None:
        facts = {**facts, "owner": self.owner, "digest": digest(tensors, sorted(tensors))}
        write_tensors(self._path(key), tensors, facts)

    def get(self, key: str) -> tuple[Mapping[str, Tensor], Mapping[str, Any]] | None:
        if not self._path(key).exists():
            return None
        tensors, facts = read_tensors(self._path(key), StoreError, "shelved training")
        return tensors, {**facts, "reused": facts["owner"] != self.owner}

    def _path(self, key: str) -> Path:
        return self.folder / f"{key[:32]}.safetensors"
