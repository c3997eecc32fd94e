"""Checkpoint: safetensors, in one file or in many shards, whose tensors are read when asked for and never kept.

Files are read by ordinary reads. Mapping them would be less code, but a mapped shard counts against a limit on memory,
and what was read of it is in nobody's hand.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor

from ..core.errors import DataError

Item = TypeVar("Item")
Bytes = np.ndarray[Any, np.dtype[np.uint8]]

INDEX, SINGLE = "model.safetensors.index.json", "model.safetensors"
CHUNK = 1 << 20  # bytes read at a time, which stay in cache while they are worked on
_MOST_HEADER = 100_000_000  # bytes, as in safetensors itself
_DTYPES = {
    "F64": torch.float64,
    "F32": torch.float32,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "F8_E4M3": torch.float8_e4m3fn,
    "F8_E5M2": torch.float8_e5m2,
    "I64": torch.int64,
    "I32": torch.int32,
    "I16": torch.int16,
    "I8": torch.int8,
    "U8": torch.uint8,
    "BOOL": torch.bool,
}


@dataclass(frozen=True)
class Stored:
    """Where a tensor lies.

    Attributes:
        start: its first byte in the file at *path*.
    """

    path: Path
    start: int
    dtype: torch.dtype
    shape: tuple[int, ...]

    @property
    def numel(self) -> int:
        """How many numbers it has."""
        return prod(self.shape)

    @property
    def nbytes(self) -> int:
        """How many bytes it has."""
        return self.numel * self.dtype.itemsize

    def read(self) -> Tensor:
        """Read it. Raises DataError where the file has become too short."""
        buffer = bytearray(self.nbytes)
        with self.path.open("rb", buffering=0) as file:
            file.seek(self.start)
            _fill(file, memoryview(buffer), self.path)
        if not buffer:
            return torch.empty(self.shape, dtype=self.dtype)
        return torch.frombuffer(buffer, dtype=self.dtype).view(self.shape)

    def chunks(self, size: int = CHUNK, every: int | None = None) -> Iterator[Bytes]:
        """Its bytes in order, at most *size* at a time; no number is split if that is a multiple of 8.

        Args:
            every: how far it is from the begin of one chunk to that of the next, if there is to be a gap.
        """
        with self.path.open("rb", buffering=0) as file:
            for at in range(0, self.nbytes, every or size):
                chunk = np.empty(min(size, self.nbytes - at), np.uint8)
                file.seek(self.start + at)
                _fill(file, memoryview(chunk.data), self.path)
                yield chunk


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


def header(path: Path) -> tuple[dict[str, Stored], dict[str, str]]:
    """What the safetensors file at *path* holds, in the order of its bytes, and its metadata.

    Raises DataError unless every entry is sound and the tensors fill the file.
    """
    try:
        facts, data = _facts(path)
        metadata = dict(facts.pop("__metadata__", {}))
        found = [(name, _stored(path, data, fact)) for name, fact in facts.items()]
        parts = dict(sorted(found, key=lambda item: (item[1].start, item[1].nbytes)))
        _fit(parts, data, path.stat().st_size)
    except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError) as reason:
        raise DataError(
            f"{path} is not a readable safetensors file ({reason}); it may be truncated or of another kind"
        ) from reason
    return parts, metadata


def ahead(items: Iterator[Item]) -> Iterator[Item]:
    """The same items, the next being made in a thread while one is worked on: reading and working overlap."""
    with ThreadPoolExecutor(1) as pool:
        coming = pool.submit(next, items, None)
        while (item := coming.result()) is not None:
            coming = pool.submit(next, items, None)
            yield item


def _facts(path: Path) -> tuple[dict[str, Any], int]:
    """The JSON in front of a safetensors file, and at which byte its tensors begin. Raises ValueError."""
    size = path.stat().st_size
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if size < 8 or length > min(size - 8, _MOST_HEADER):
            raise ValueError(f"its header would have {length:,} bytes and the file has {size:,}")
        return json.loads(file.read(length), object_pairs_hook=_once), 8 + length


def _fit(parts: Mapping[str, Stored], data: int, size: int) -> None:
    """Raise ValueError unless *parts* lie one after the other and fill the file."""
    end = data
    for name, part in parts.items():
        if part.start != end:
            raise ValueError(f"{name!r} begins at byte {part.start:,} and what is before it ends at {end:,}")
        end += part.nbytes
    if end != size:
        raise ValueError(f"its tensors end at byte {end:,} and the file has {size:,}")


def _stored(path: Path, data: int, fact: dict[str, Any]) -> Stored:
    """One entry of a header whose tensors begin at byte *data*."""
    (first, last), shape, dtype = fact["data_offsets"], fact["shape"], fact["dtype"]
    if dtype not in _DTYPES:
        raise ValueError(f"it holds numbers of kind {dtype!r}; expected one of {', '.join(_DTYPES)}")
    if not all(type(number) is int and 0 <= number < 1 << 48 for number in (first, last, *shape)):
        raise ValueError(f"it holds a tensor of shape {shape} at bytes {first} to {last}")
    part = Stored(path, data + first, _DTYPES[dtype], tuple(shape))
    if part.nbytes != last - first:
        raise ValueError(f"{dtype} of shape {shape} has {part.nbytes:,} bytes, and it says {last - first:,}")
    return part


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


def _fill(file: Any, room: memoryview, path: Path) -> None:
    done = 0
    while done < len(room):
        if not (got := file.readinto(room[done:])):
            raise DataError(f"{path} has become shorter than its header says; was it changed meanwhile?")
        done += got


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """A JSON object in which no name stands twice."""
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("it lists a name twice")
    return found


def _natural(name: str) -> tuple[tuple[int, str], ...]:
    """A key for sorting that has numbers in the order of their values."""
    parts = re.split(r"([0-9]+)", name)
    return tuple((len(part.lstrip("0")), part.lstrip("0")) if i % 2 else (0, part) for i, part in enumerate(parts))
