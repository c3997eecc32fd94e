"""Trainings: whole trainings in a folder, by what they depend on, so that none is done twice."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from ..core.files import forget, half_written
from ..core.ranks.team import ALONE, Team
from .locks import Locks
from .tensors import read_checked, write_checked

_NAME = 32  # digits of a key that name a training


@dataclass(frozen=True)
class FolderShelf:
    """A folder of trained weights, that a team takes from together. Its first rank claims and puts.

    Attributes:
        folder: made when something is first put there.
        owner: key of the recipe that puts and gets; what another put counts as reused.
        contents: digest of the data and the model at hand; a training of others is not taken. None where not known.
    """

    folder: Path
    owner: str
    team: Team = ALONE
    contents: str | None = None

    @contextmanager
    def claim(self, key: str) -> Iterator[None]:
        """Be the only one who looks for *key* and makes it; whoever else wants it waits for that."""
        with ExitStack() as stack:
            if self.team.rank == 0:
                stack.enter_context(Locks(self.folder).hold(key[:_NAME]))
                # of a process that was killed, for nobody else works on it
                forget(half_written(self._path(key)))
            yield

    def put(
        self, key: str, tensors: Mapping[str, Tensor], facts: Mapping[str, Any]
    ) -> None:
        """Keep *tensors* under *key*, in one piece or not at all. Raises StoreError."""
        if self.team.rank == 0:
            write_checked(
                self._path(key),
                tensors,
                {**facts, "owner": self.owner, "contents": self.contents},
            )
        self.team.told(None)

    def get(self, key: str) -> tuple[Mapping[str, Tensor], Mapping[str, Any]] | None:
        """What is kept under *key*, if anything. Raises StoreError when it is damaged."""
        training = self._read(key) if self.team.rank == 0 else None
        if not self.team.told(training is not None):
            return None
        return training or self._read(key)

    def _read(self, key: str) -> tuple[Mapping[str, Tensor], Mapping[str, Any]] | None:
        if not self._path(key).exists():
            return None

        tensors, facts = read_checked(self._path(key), "shelved training")
        made_with = facts.pop("contents", None)
        if self.contents and made_with and made_with != self.contents:
            return None  # of the same names, but the data or the model has changed since
        return tensors, {**facts, "reused": facts["owner"] != self.owner}

    def _path(self, key: str) -> Path:
        return self.folder / f"{key[:_NAME]}.safetensors"
