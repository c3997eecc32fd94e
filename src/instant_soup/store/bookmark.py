"""Bookmark: a learner's place in a folder, so that a killed run goes on from there.

One file, written by the first rank, or pieces where no rank has the whole model. Either is read by any number of ranks.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor
from torch.distributed.tensor import DTensor

from ..core.errors import StoreError
from ..core.ranks.team import ALONE, Team
from ..training import ranks
from . import sharded
from .tensors import read_checked, write_checked

EVERY = 60.0  # seconds between saves within a leg; a save takes a second or two


class FolderBookmark:
    """Places of one stage in one folder; knows how long the stage has taken over all attempts.

    Args:
        folder: made when first saved to.
        every: seconds of work after which the next save within a leg is due.
        team: the ranks that save and load together.
    """

    def __init__(self, folder: Path, every: float = EVERY, team: Team = ALONE) -> None:
        self._folder = folder
        self._every = every
        self._team = team
        self._began = time.monotonic()
        self._saved = self._began

    @property
    def due(self) -> bool:
        return self._team.told(time.monotonic() - self._saved >= self._every)

    @property
    def seconds(self) -> float:
        """Wall time of the stage so far, earlier attempts up to their last save included."""
        return time.monotonic() - self._began

    def save(
        self, place: str, tensors: Mapping[str, Tensor], facts: Mapping[str, Any]
    ) -> None:
        self._refuse_link()
        facts = {**facts, "seconds": self.seconds}

        # in either form, what was kept in the other goes only once this one is safe
        if any(isinstance(tensor, DTensor) for tensor in tensors.values()):
            sharded.save(self._folder, place, tensors, facts, self._team)
            self._path(place).unlink(missing_ok=True)
        elif self._team.rank == 0:
            write_checked(self._path(place), tensors, facts)
            sharded.remove(self._folder, place)

        self._saved = time.monotonic()

    def load(self, place: str) -> tuple[Mapping[str, Tensor], Mapping[str, Any]] | None:
        self._refuse_link()
        whole = self._team.told(self._path(place).exists())
        pieces = self._team.told(sharded.last(self._folder, place))

        if whole:
            tensors, facts = read_checked(self._path(place), "bookmark")
        elif pieces:
            tensors, facts = sharded.load(pieces, self._team, cut=ranks.sharded())
        else:
            return None

        # the place that took longest counts: that of a leg was saved later than that of the round before it
        self._began = min(self._began, time.monotonic() - facts.pop("seconds"))
        return tensors, facts

    def clear(self) -> None:
        """Forget every place: the stage is done."""
        if self._team.rank == 0:
            shutil.rmtree(self._folder, ignore_errors=True)

    def _refuse_link(self) -> None:
        if self._folder.is_symlink():
            raise StoreError(
                f"{self._folder} is a symbolic link, and a run empties it; put a folder there, or nothing"
            )

    def _path(self, place: str) -> Path:
        return self._folder / f"{place}.safetensors"
