"""Stored: where tensors lie in a safetensors file, and reading them, whole or in chunks, by ordinary reads.

Mapping files would be less code, but a mapped file counts against a limit on memory, and one that shrinks meanwhile
takes the process down. Every entry of the header is checked, so a file cannot make its reader ask for more memory
than the file is large.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from .errors import DataError
from .filetype import NAMED, file_type

Bytes = np.ndarray[Any, np.dtype[np.uint8]]

CHUNK = 1 << 20  # bytes read at a time, which stay in cache while they are worked on
UNREADABLE = (
    OSError,
    ValueError,
    TypeError,
    KeyError,
    AttributeError,
    RecursionError,
)
"""What reading JSON of unknown content may raise: missing, no JSON, of another shape, or nested too deep."""
_MOST_HEADER = 100_000_000  # bytes, as in safetensors itself
_MOST = 1 << 48  # bytes or rows; more than any file has
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
    "U16": torch.uint16,
    "U32": torch.uint32,
    "U64": torch.uint64,
    "C64": torch.complex64,
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

        if not buffer:  # which frombuffer refuses
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


def header(path: Path) -> tuple[dict[str, Stored], dict[str, str]]:
    """What the safetensors file at *path* holds, in the order of its bytes, and its metadata.

    Raises DataError unless every entry is sound and the tensors fill the file.
    """
    try:
        kind = file_type(path)
        if kind.words in NAMED:
            raise DataError(
                f"{path} is {kind.words} and no safetensors file; {kind.advice}"
            )

        facts, data = _facts(path)
        metadata = dict(facts.pop("__metadata__", {}))
        parts = {name: _stored(path, data, fact) for name, fact in facts.items()}
        parts = dict(sorted(parts.items(), key=_place))
        _check_they_fill(parts, data, path.stat().st_size)
    except UNREADABLE as reason:
        raise DataError(
            f"{path} is not a readable safetensors file ({reason}); it may be truncated or of another kind"
        ) from reason
    return parts, metadata


def _facts(path: Path) -> tuple[dict[str, Any], int]:
    """The JSON in front of a safetensors file, and at which byte its tensors begin. Raises ValueError."""
    size = path.stat().st_size
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if size < 8 or length > min(size - 8, _MOST_HEADER):
            raise ValueError(
                f"its header would have {length:,} bytes and the file has {size:,}"
            )
        return json.loads(file.read(length), object_pairs_hook=_once), 8 + length


def _place(entry: tuple[str, Stored]) -> tuple[int, int]:
    """Where an entry of a header lies; an empty one lies before the one that begins at the same byte."""
    _, part = entry
    return part.start, part.nbytes


def _check_they_fill(parts: Mapping[str, Stored], data: int, size: int) -> None:
    """Raise ValueError unless *parts* lie one after the other and fill the file."""
    end = data
    for name, part in parts.items():
        if part.start != end:
            raise ValueError(
                f"{name!r} begins at byte {part.start:,} and what is before it ends at {end:,}"
            )
        end += part.nbytes
    if end != size:
        raise ValueError(f"its tensors end at byte {end:,} and the file has {size:,}")


def _stored(path: Path, data: int, fact: dict[str, Any]) -> Stored:
    """One entry of a header whose tensors begin at byte *data*."""
    first, last = fact["data_offsets"]
    shape = fact["shape"]
    dtype = fact["dtype"]

    if dtype not in _DTYPES:
        raise ValueError(
            f"it holds numbers of kind {dtype!r}; expected one of {', '.join(_DTYPES)}"
        )
    numbers = (first, last, *shape)
    # just int: True is one too, to Python
    sound = all(type(number) is int and 0 <= number < _MOST for number in numbers)
    if not sound:
        raise ValueError(f"it holds a tensor of shape {shape} at bytes {first} to {last}")

    part = Stored(path, data + first, _DTYPES[dtype], tuple(shape))
    if part.nbytes != last - first:
        raise ValueError(
            f"{dtype} of shape {shape} has {part.nbytes:,} bytes, and it says {last - first:,}"
        )
    return part


def _fill(file: Any, room: memoryview, path: Path) -> None:
    """Read from *file* until *room* is full. Raises DataError where the file ends before."""
    done = 0
    while done < len(room):
        count = file.readinto(room[done:])
        if not count:
            raise DataError(
                f"{path} has become shorter than its header says; was it changed meanwhile?"
            )
        done += count


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """A JSON object in which no name stands twice."""
    entries = dict(pairs)
    if len(entries) != len(pairs):
        raise ValueError("it lists a name twice")
    return entries
