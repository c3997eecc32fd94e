"""Spill: what goes from block to block of a model, on disk."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from zlib import crc32

import torch
from safetensors.torch import save_file
from torch import Tensor

from ..core.errors import DataError, StoreError
from ..core.files import write
from ..core.stored import header


class Spill:
    """States on disk: those that went into block *passed*, and those of the next one while they come.

    Args:
        passed: how many blocks were passed already; then what is given first, to begin with, is known already.
        device: where states are put when they are read.
    """

    def __init__(self, folder: Path, passed: int, device: str = "cpu") -> None:
        self._folder = folder
        self._device = device
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
            state = kept(self._path(passed, number))["state"]
            yield _aligned(state).to(self._device)

    def __setitem__(self, number: int, state: Tensor) -> None:
        self._put(self._passed + 1, number, state)
        # nobody goes on from there any more
        self._path(self._passed - 1, number).unlink(missing_ok=True)
        if number == self._count - 1:  # the last one: the block is passed
            self._passed += 1

    def _put(self, passed: int, number: int, state: Tensor) -> None:
        keep(self._path(passed, number), {"state": state.cpu().contiguous()})

    def _path(self, passed: int, number: int) -> Path:
        return self._folder / f"{passed}-{number}.safetensors"


def _aligned(state: Tensor) -> Tensor:
    """*state* in float32, in memory of torch's own.

    What is read from a file may lie at any address, and products of matrices are rounded otherwise there.
    """
    return torch.empty(state.shape, dtype=torch.float32).copy_(state)


def save(tensors: dict[str, Tensor], metadata: dict[str, str], path: Path) -> None:
    """Write one safetensors file."""
    save_file(tensors, path, metadata)


def keep(path: Path, tensors: dict[str, Tensor]) -> None:
    """Write what the job itself reads again, with a checksum. Raises StoreError."""
    metadata = {"crc32": str(_checksum(tensors))}
    write(path, partial(save, tensors, metadata))


def kept(path: Path) -> dict[str, Tensor]:
    """What `keep` wrote. Raises StoreError, which names the file, where it is anything else."""
    try:
        parts, metadata = header(path)
        tensors = {name: part.read() for name, part in parts.items()}
        # an earlier version wrote none
        whole = metadata.get("crc32") in (None, str(_checksum(tensors)))
    except (DataError, OSError) as reason:
        raise _damaged(path) from reason
    if not whole:
        raise _damaged(path)
    return tensors


def _damaged(path: Path) -> StoreError:
    return StoreError(
        f"{path} is not as it was written; delete {path.parent.parent} and begin again"
    )


def _checksum(tensors: Mapping[str, Tensor]) -> int:
    checksum = 0
    for name in sorted(tensors):
        content = tensors[name].contiguous().flatten().view(torch.uint8).numpy().data
        checksum = crc32(content, crc32(name.encode(), checksum))
    return checksum
