"""Sizes: what a sparse model takes to store, beside what no format can go under."""

from __future__ import annotations

import math
import zlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from torch import uint8

from .formats import FORMATS
from .portable import Portable

COMPACT = ("bitmask", "csr")
_CHUNK = 1 << 24


@dataclass(frozen=True)
class Sizes:
    """Bytes.

    Attributes:
        dense: of all tensors, zeros included.
        zipped: the same through deflate, as zip does it.
        formats: of exports, by name.
        bound: the entropy of the mask, layer by layer, plus the surviving values and all that is out of scope.
    """

    dense: int
    zipped: int
    formats: dict[str, int]
    bound: int


def sizes(source: Portable, others: dict[str, int]) -> Sizes:
    """The sizes of *source*: its compact formats are written to a temporary folder, *others* are known."""
    formats = dict(others)
    with TemporaryDirectory() as folder:
        for name in COMPACT:
            if name not in formats:
                path = Path(folder) / name
                FORMATS[name].write(source, path)
                formats[name] = path.stat().st_size

    dense = sum(tensor.nbytes for tensor in source.tensors.values())
    return Sizes(dense, _zipped(source), formats, math.ceil(bound(source)))


def bound(source: Portable) -> float:
    """Bytes under which no format can go that knows nothing of the values: see `Sizes`."""
    mask = source.ticket.mask
    total = 0.0
    for name, tensor in source.tensors.items():
        if name in mask:
            kept = mask.kept_by_name[name]
            total += tensor.numel() * _entropy(kept / tensor.numel()) / 8
            total += kept * tensor.element_size()
        else:
            total += tensor.nbytes
    return total


def _entropy(share: float) -> float:
    """Bits of one flag that is set in *share* of the cases."""
    return -sum(p * math.log2(p) for p in (share, 1 - share) if p)


def _zipped(source: Portable) -> int:
    return sum(len(part) for part in _deflated(source))


def _deflated(source: Portable) -> Iterable[bytes]:
    squeeze = zlib.compressobj()
    for tensor in source.tensors.values():
        content = tensor.contiguous().reshape(-1).view(uint8).numpy()
        for start in range(0, len(content), _CHUNK):
            yield squeeze.compress(content[start : start + _CHUNK].data)
    yield squeeze.flush()
