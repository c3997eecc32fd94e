"""Sizes: the bytes that a sparse model takes in each format, beside the fewest that any format could take."""

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
_CHUNK = 1 << 24  # bytes that are compressed at a time


@dataclass(frozen=True)
class Sizes:
    """The sizes of one model, in bytes.

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
    """The sizes of *source*, whose compact formats are written to a temporary folder.

    Args:
        others: sizes by format that are known already.
    """
    formats = dict(others)
    with TemporaryDirectory() as folder:
        for name in COMPACT:
            if name not in formats:
                path = Path(folder) / name
                FORMATS[name].write(source, path)
                formats[name] = path.stat().st_size

    dense = sum(tensor.nbytes for tensor in source.tensors.values())
    return Sizes(dense, _zipped_size(source), formats, math.ceil(bound(source)))


def bound(source: Portable) -> float:
    """The fewest bytes of any format that does not compress values: see `Sizes`."""
    mask = source.ticket.mask
    total = 0.0
    for name, tensor in source.tensors.items():
        if name in mask:
            kept = mask.kept_by_name[name]
            share = kept / tensor.numel()
            total += tensor.numel() * _entropy(share) / 8
            total += kept * tensor.element_size()
        else:
            total += tensor.nbytes
    return total


def _entropy(share: float) -> float:
    """The entropy in bits of a flag that is set in *share* of the cases (Shannon, 1948)."""
    # 0 log 0 is 0
    return -sum(p * math.log2(p) for p in (share, 1 - share) if p)


def _zipped_size(source: Portable) -> int:
    return sum(len(chunk) for chunk in _deflate(source))


def _deflate(source: Portable) -> Iterable[bytes]:
    """All tensors through deflate, chunk by chunk, so that no second copy of the model is in memory."""
    deflate = zlib.compressobj()
    for tensor in source.tensors.values():
        content = tensor.contiguous().reshape(-1).view(uint8).numpy()
        for start in range(0, len(content), _CHUNK):
            yield deflate.compress(content[start : start + _CHUNK].data)
    yield deflate.flush()
