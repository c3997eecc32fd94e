"""Bookmark: a learner's place in a folder, so that a killed run goes on from there."""

from __future__ import annotations

import shutil
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from ..core.errors import StoreError
from ..core.files import read_tensors, write_tensors

EVERY = 60.0  # seconds between saves within a leg; a save takes a second or two


class FolderBookmark:
    """Places of one stage in one folder; knows how long the stage has taken over all attempts.

    Args:
        folder: made when first saved to.
        every: seconds of work after which the next save within a leg is due.
    """

    def __init__(self, folder: Path, every: float = EVERY) -> None:
        self._folder, self._every = folder, every
        self._saved = self._began = time.monotonic()

    @property
    def due(self) -> bool:
        return time.monotonic() - self._saved >= self._every

    @property
    def seconds(self) -> float:
        """Wall time of the stage so far, earlier attempts up to their last save included."""
        return time.monotonic() - self._began

    def save(self, place: str, tensors: Mapping[str, Tensor], facts: Mapping[str, Any]) -> None:
        write_tensors(self._path(place), tensors, {**facts, "seconds": self.seconds})
        self._saved = time.monotonic()

    def load(self, place: str) -> tuple[Mapping[str, Tensor], Mapping[str, Any]] | None:
        if not self._path(place).exists():
            return None
        tensors, facts = read_tensors(self._path(place), StoreError, "bookmark")
        self._began = min(self._began, time.monotonic() - facts.pop("seconds"))
        return tensors, facts

    def clear(self) -> None:
        """Forget every place: the stage is done."""
        shutil.rmtree(self._folder, ignore_errors=True)

    def _path(self, place: str) -> Path:
        return self._folder / f"{place}.safetensors"
