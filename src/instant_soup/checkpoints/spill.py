"""Spill: what goes from block to block of a model, on disk."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path

from safetensors.torch import load_file, save_file
from torch import Tensor

from ..core.files import write
from .skeleton import aligned


class Spill:
    """States on disk: those that went into block *passed*, and those of the next one while they come.

    Args:
        passed: how many blocks were passed already; then what is given first, to begin with, is known already.
    """

    def __init__(self, folder: Path, passed: int) -> None:
        self._folder = folder
        self._passed = passed
        self._count = 0
        folder.mkdir(parents=True, exist_ok=True)

    def append(self, state: Tensor) -> None:
        """Take what goes into the first block."""
        if self._passed == 0:
            self._put(0, self._count, state)
        self._count += 1

    def __iter__(self) -> Iterator[Tensor]:
        # this moves on when the last state of the next block is put, and a reader must not move with it
        passed = self._passed
        for number in range(self._count):
            yield aligned(load_file(self._path(passed, number))["state"])

    def __setitem__(self, number: int, state: Tensor) -> None:
        self._put(self._passed + 1, number, state)
        # nobody goes on from there any more
        self._path(self._passed - 1, number).unlink(missing_ok=True)
        if number == self._count - 1:  # the last one: the block is passed
            self._passed += 1

    def _put(self, passed: int, number: int, state: Tensor) -> None:
        content = {"state": state.contiguous()}
        write(self._path(passed, number), partial(save, content, {}))

    def _path(self, passed: int, number: int) -> Path:
        return self._folder / f"{passed}-{number}.safetensors"


def save(tensors: dict[str, Tensor], metadata: dict[str, str], path: Path) -> None:
    """Write one safetensors file."""
    save_file(tensors, path, metadata)
