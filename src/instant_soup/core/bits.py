"""Bits: boolean tensors as one bit a weight. Bit i of byte j is weight 8 j + i.

NumPy packs, counts and finds bits several times faster than torch can (see
docs/adr/0002-numpy-for-bits.md); this is the one room of core that uses it.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor


def length(count: int) -> int:
    """How many bytes *count* bits take."""
    return -(-count // 8)


def pack(flags: Tensor) -> Tensor:
    """Pack bool [...] into uint8 [ceil(n / 8)] on the CPU; the bits past n are zero."""
    packed = np.packbits(flags.cpu().numpy(), axis=None, bitorder="little")
    return torch.from_numpy(packed)


def unpack(packed: Tensor, count: int) -> Tensor:
    """Unpack uint8 [ceil(count / 8)] into bool [count]."""
    flags = np.unpackbits(packed.numpy(), count=count, bitorder="little")
    return torch.from_numpy(flags.view(np.bool_))


def count(packed: Tensor) -> int:
    """How many bits are set."""
    flat = packed.numpy()
    whole = len(flat) // 8 * 8  # eight bytes at a time are counted faster
    words = flat[:whole].view(np.uint64)

    in_words = np.bitwise_count(words).sum(dtype=np.int64)
    in_rest = np.bitwise_count(flat[whole:]).sum(dtype=np.int64)
    return int(in_words + in_rest)


def positions(packed: Tensor) -> Tensor:
    """Where bits are set, ascending: int64 [count]."""
    flat = packed.numpy()
    bytes_ = np.flatnonzero(flat != 0)  # of booleans this is much faster than of integers

    # the bits that are set, counted over the bytes that are not zero as if these stood side by side
    flags = np.unpackbits(flat[bytes_], bitorder="little").view(np.bool_)
    bit = np.flatnonzero(flags)
    return torch.from_numpy((bytes_[bit >> 3] << 3) + (bit & 7))


def above(values: Tensor, pivot: float) -> Tensor:
    """Pack ``values > pivot``. *values* [n] of any real dtype; a NaN is not above."""
    if values.device.type == "cpu":
        return _packed(values.numpy() > pivot)
    return pack(values > pivot)


def below(values: Tensor, pivot: float) -> Tensor:
    """Pack ``values < pivot``. *values* [n] of any real dtype; a NaN is not below."""
    if values.device.type == "cpu":
        return _packed(values.numpy() < pivot)
    return pack(values < pivot)


def _packed(flags: np.ndarray[tuple[int, ...], np.dtype[np.bool_]]) -> Tensor:
    return torch.from_numpy(np.packbits(flags, bitorder="little"))


def full(count: int) -> Tensor:
    """*count* bits, all set: uint8 [ceil(count / 8)]."""
    packed = torch.full((length(count),), 255, dtype=torch.uint8)
    if count % 8:
        packed[-1] = (1 << count % 8) - 1
    return packed


def is_clean(packed: Tensor, count: int) -> bool:
    """Whether no bit past *count* is set."""
    return count % 8 == 0 or int(packed[-1]) >> (count % 8) == 0
