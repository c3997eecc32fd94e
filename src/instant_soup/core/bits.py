"""Bits: boolean tensors as one bit a weight. Bit i of byte j is weight 8 j + i.

NumPy packs, counts and finds bits several times faster than torch can (see
docs/adr/0002-numpy-for-bits.md); this is the one room of core that uses it.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor


def pack(flags: Tensor) -> Tensor:
    """Pack bool [...] into uint8 [ceil(n / 8)] on the CPU; the bits past n are zero."""
    return torch.from_numpy(np.packbits(flags.cpu().numpy(), axis=None, bitorder="little"))


def unpack(packed: Tensor, count: int) -> Tensor:
    """Unpack uint8 [ceil(count / 8)] into bool [count]."""
    return torch.from_numpy(np.unpackbits(packed.numpy(), count=count, bitorder="little").view(np.bool_))


def count(packed: Tensor) -> int:
    """How many bits are set."""
    flat = packed.numpy()
    whole = len(flat) // 8 * 8
    words = flat[:whole].view(np.uint64)
    return int(np.bitwise_count(words).sum(dtype=np.int64) + np.bitwise_count(flat[whole:]).sum(dtype=np.int64))


def positions(packed: Tensor) -> Tensor:
    """Where bits are set, ascending: int64 [count]."""
    bytes_ = np.flatnonzero(packed.numpy() != 0)  # of booleans this is much faster than of integers
    bit = np.flatnonzero(np.unpackbits(packed.numpy()[bytes_], bitorder="little").view(np.bool_))
    return torch.from_numpy((bytes_[bit >> 3] << 3) + (bit & 7))


def above(values: Tensor, pivot: float) -> Tensor:
    """Pack ``values > pivot``. *values* [n] of any real dtype; a NaN is not above."""
    return _packed(values.numpy() > pivot) if values.device.type == "cpu" else pack(values > pivot)


def below(values: Tensor, pivot: float) -> Tensor:
    """Pack ``values < pivot``. *values* [n] of any real dtype; a NaN is not below."""
    return _packed(values.numpy() < pivot) if values.device.type == "cpu" else pack(values < pivot)


def _packed(flags: np.ndarray[tuple[int, ...], np.dtype[np.bool_]]) -> Tensor:
    return torch.from_numpy(np.packbits(flags, bitorder="little"))


def full(count: int) -> Tensor:
    """*count* bits, all set: uint8 [ceil(count / 8)]."""
    packed = torch.full((-(-count // 8),), 255, dtype=torch.uint8)
    if count % 8:
        packed[-1] = (1 << count % 8) - 1
    return packed


def is_clean(packed: Tensor, count: int) -> bool:
    """Whether no bit past *count* is set."""
    return count % 8 == 0 or int(packed[-1]) >> (count % 8) == 0
