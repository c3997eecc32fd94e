"""Checkpoint: safetensors, in one file or in many shards, whose tensors are read when asked for and never kept."""

from __future__ import annotations

import json
import os
import re
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Self, TypeVar

from torch import Tensor

from ..core.errors import DataError, unknown
from ..core.kinds import checked_class
from ..core.stored import UNREADABLE, Stored, header

Item = TypeVar("Item")

INDEX = "model.safetensors.index.json"
SINGLE = "model.safetensors"


_SHARD = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.+=@ -]*\.safetensors")
_MOST_INDEX = 100_000_000  # bytes


@dataclass(frozen=True)
class State:
    """What tells whether a file is still the one that was looked at."""

    size: int
    modified: int
    changed: int
    inode: int

    @classmethod
    def of(cls, path: Path) -> Self:
        """The state of the file at *path* now. Raises DataError where there is no regular file."""
        try:
            facts = path.stat()
        except OSError as reason:
            raise DataError(
                f"{path} is not a readable safetensors file ({reason}); restore it"
            ) from reason
        if not path.is_file():
            raise DataError(f"{path} is no regular file; expected safetensors")
        return cls(facts.st_size, facts.st_mtime_ns, facts.st_ctime_ns, facts.st_ino)


@checked_class
class Checkpoint(Mapping[str, Tensor]):
    """The tensors of a checkpoint by name, each read anew whenever it is asked for.

    Names are in natural order (layer 2 before layer 10), whatever shard they are in. `instant_soup.prune` works over
    it, one tensor at a time.

    Attributes:
        files: the shards.
        parts: where each tensor lies.
        states: the state of each shard when it was looked over.
    """

    def __init__(
        self,
        files: Sequence[Path],
        parts: Mapping[str, Stored],
        states: Mapping[Path, State],
    ) -> None:
        self.files = tuple(files)
        self.parts = dict(parts)
        self.states = dict(states)

    @classmethod
    def open(cls, path: str | Path) -> Checkpoint:
        """Look a checkpoint over, without reading weights.

        Args:
            path: a safetensors file, or a folder with model.safetensors.index.json or one safetensors file.

        Raises:
            DataError: there is none, or one of its files is damaged or missing.
        """
        path = Path(path)
        files, promised = _files(path)
        states = {file: State.of(file) for file in files}

        parts: dict[str, Stored] = {}
        for file in files:
            tensors, _ = header(file)
            for name in tensors:
                if name in parts:
                    raise DataError(
                        f"{name!r} is both in {parts[name].path} and in {file}; expected each tensor once"
                    )
            parts |= tensors

        for name, file in promised.items():
            if name not in parts or parts[name].path != file:
                raise DataError(
                    f"{path / INDEX} promises {name!r} in {file.name}, which lacks it; restore the file"
                )

        in_order = {name: parts[name] for name in sorted(parts, key=_natural)}
        return cls(files, in_order, states)

    def refuse_change(self, file: Path) -> None:
        """Raise DataError unless the shard *file* is as it was when it was looked over."""
        if State.of(file) != self.states[file]:
            raise DataError(
                f"{file} was changed meanwhile; begin again when nobody writes to it any more"
            )

    def refuse_changes(self) -> None:
        """Raise DataError unless every shard is as it was when it was looked over."""
        for file in self.files:
            self.refuse_change(file)

    def __getitem__(self, name: str) -> Tensor:
        if name not in self.parts:
            raise unknown("tensor", str(name), self.parts)
        return self.parts[name].read()

    def __contains__(self, name: object) -> bool:
        return name in self.parts  # what Mapping gives would read the tensor to find out

    def __iter__(self) -> Iterator[str]:
        return iter(self.parts)

    def __len__(self) -> int:
        return len(self.parts)


def ahead(items: Iterator[Item], depth: int = 8) -> Iterator[Item]:
    """The same items, the next few being made in a thread while one is worked on: reading and working overlap."""
    with ThreadPoolExecutor(1) as pool:
        coming = deque(pool.submit(next, items, None) for _ in range(depth))
        while True:
            item = coming.popleft().result()
            if item is None:
                return
            coming.append(pool.submit(next, items, None))
            yield item


def threads() -> int:
    """How many threads work on a checkpoint: as many as this process has cores, up to eight."""
    if hasattr(os, "sched_getaffinity"):
        cores = len(os.sched_getaffinity(0))  # a job's share of a node, not all of it
    else:
        cores = os.cpu_count() or 1
    return min(8, cores)


def _files(path: Path) -> tuple[list[Path], dict[str, Path]]:
    """The shards of a checkpoint, and which of them its index promises each tensor in."""
    if path.is_file():
        return [path], {}

    if (path / INDEX).is_file():
        promised = {name: path / file for name, file in _index(path / INDEX).items()}
        return sorted(set(promised.values())), promised

    if (path / SINGLE).is_file():
        return [path / SINGLE], {}

    shards = sorted(path.glob("*.safetensors"))
    if len(shards) != 1:
        raise DataError(
            f"{path} holds {len(shards) or 'no'} safetensors files and no {INDEX}; "
            f"give a safetensors file, or a folder as save_pretrained of transformers writes it"
        )
    return shards, {}


def _index(path: Path) -> dict[str, str]:
    """The file of each tensor. Raises DataError unless every file is a plain name, for it is also written under it."""
    if path.stat().st_size > _MOST_INDEX:
        raise DataError(
            f"{path} has more than {_MOST_INDEX:,} bytes, and an index a few thousand; restore it"
        )
    try:
        files = dict(json.loads(path.read_text(encoding="utf-8"))["weight_map"])
        plain = all(_SHARD.fullmatch(file) for file in files.values())
    except UNREADABLE as reason:
        raise DataError(
            f"{path} is not a readable index ({reason!r}); restore it"
        ) from reason

    if not files or not plain:
        raise DataError(
            f"{path} has a weight_map that does not name files of its own folder; "
            f"expected plain names that end in .safetensors"
        )
    return files


def _natural(name: str) -> tuple[tuple[int, str], ...]:
    """A key for sorting that has numbers in the order of their values."""
    pieces = re.split(r"([0-9]+)", name)
    key = []
    for i, piece in enumerate(pieces):
        # by length first: digits of any number compare as texts then, however many there are
        digits = piece.lstrip("0")
        key.append((len(digits), digits) if i % 2 else (0, piece))
    return tuple(key)
