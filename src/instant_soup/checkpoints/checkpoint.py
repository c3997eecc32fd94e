"""Checkpoint: safetensors, in one file or in many shards, whose tensors are read when asked for and never kept."""

from __future__ import annotations

import json
import re
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

from torch import Tensor

from ..core.errors import DataError
from ..core.stored import Stored, header

Item = TypeVar("Item")

INDEX, SINGLE = "model.safetensors.index.json", "model.safetensors"


class Checkpoint(Mapping[str, Tensor]):
    """The tensors of a checkpoint by name, each read anew whenever it is asked for.

    Names are in natural order (layer 2 before layer 10), whatever shard they are in. `instant_soup.prune` works over
    it, one tensor at a time.

    Attributes:
        files: the shards.
        parts: where each tensor lies.
    """

    def __init__(self, files: Sequence[Path], parts: Mapping[str, Stored]) -> None:
        self.files, self.parts = tuple(files), dict(parts)

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
        parts: dict[str, Stored] = {}
        for file in files:
            found, _ = header(file)
            if twice := next((name for name in found if name in parts), None):
                raise DataError(f"{twice!r} is both in {parts[twice].path} and in {file}; expected each tensor once")
            parts |= found
        for name, file in promised.items():
            if name not in parts or parts[name].path != file:
                raise DataError(f"{path / INDEX} promises {name!r} in {file.name}, which lacks it; restore the file")
        return cls(files, {name: parts[name] for name in sorted(parts, key=_natural)})

    def __getitem__(self, name: str) -> Tensor:
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
        while (item := coming.popleft().result()) is not None:
            coming.append(pool.submit(next, items, None))
            yield item


def _files(path: Path) -> tuple[list[Path], dict[str, Path]]:
    """The shards of a checkpoint, and which of them its index promises each tensor in."""
    if path.is_file():
        return [path], {}
    if (path / INDEX).is_file():
        promised = {name: path / file for name, file in _index(path / INDEX).items()}
        return sorted(set(promised.values())), promised
    found = [path / SINGLE] if (path / SINGLE).is_file() else sorted(path.glob("*.safetensors"))
    if len(found) != 1:
        raise DataError(
            f"{path} holds {len(found) or 'no'} safetensors files and no {INDEX}; "
            f"give a safetensors file, or a folder as save_pretrained of transformers writes it"
        )
    return found, {}


def _index(path: Path) -> dict[str, str]:
    try:
        files = dict(json.loads(path.read_text(encoding="utf-8"))["weight_map"])
        plain = bool(files) and all(Path(file).name == file for file in files.values())
    except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError) as reason:
        raise DataError(f"{path} is not a readable index ({reason!r}); restore it") from reason
    if not plain:
        raise DataError(f"{path} has a weight_map that does not name files of its own folder; restore it")
    return files


def _natural(name: str) -> tuple[tuple[int, str], ...]:
    """A key for sorting that has numbers in the order of their values."""
    parts = re.split(r"([0-9]+)", name)
    return tuple((len(part.lstrip("0")), part.lstrip("0")) if i % 2 else (0, part) for i, part in enumerate(parts))
