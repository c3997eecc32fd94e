"""Bits, compared with plain boolean arithmetic."""

from __future__ import annotations

from math import inf, nan

import pytest
import torch

from instant_soup.core import bits

SIZES = range(1, 71)


def flags(size: int, seed: int = 0) -> torch.Tensor:
    return torch.rand(size, generator=torch.Generator().manual_seed(seed)) < 0.4


@pytest.mark.parametrize("size", SIZES)
def test_unpacking_gives_back_what_was_packed(size: int) -> None:
    wanted = flags(size)
    packed = bits.pack(wanted)
    assert (packed.dtype, tuple(packed.shape)) == (torch.uint8, (-(-size // 8),))
    assert torch.equal(bits.unpack(packed, size), wanted)


def test_weight_i_is_the_bit_i_mod_8_of_byte_i_div_8() -> None:
    for place in range(20):
        alone = torch.zeros(20, dtype=torch.bool)
        alone[place] = True
        wanted = [0, 0, 0]
        wanted[place // 8] = 2 ** (place % 8)
        assert bits.pack(alone).tolist() == wanted


def test_packing_reads_a_tensor_of_any_shape_in_row_major_order() -> None:
    wanted = flags(24).view(2, 3, 4)
    turned = wanted.permute(2, 1, 0).contiguous().permute(2, 1, 0)
    assert not turned.is_contiguous()
    assert torch.equal(bits.pack(turned), bits.pack(wanted.reshape(-1)))


@pytest.mark.parametrize("size", [*SIZES, 1000, 4097])
def test_counting_bits_counts_the_flags(size: int) -> None:
    assert bits.count(bits.pack(flags(size))) == int(flags(size).sum())


@pytest.mark.parametrize("size", [*SIZES, 1000])
def test_positions_are_where_the_flags_are(size: int) -> None:
    found = bits.positions(bits.pack(flags(size)))
    assert found.dtype == torch.int64
    assert torch.equal(found, flags(size).nonzero().squeeze(1))


def test_no_flag_has_no_position() -> None:
    assert bits.positions(torch.zeros(3, dtype=torch.uint8)).tolist() == []


@pytest.mark.parametrize("size", SIZES)
def test_full_sets_every_bit_and_none_past_the_end(size: int) -> None:
    assert torch.equal(bits.full(size), bits.pack(torch.ones(size, dtype=torch.bool)))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.int64], ids=str)
def test_above_and_below_are_strict(dtype: torch.dtype) -> None:
    values = torch.tensor([0, 1, 2, 3, 2, 1, 0, 2, 5, -4]).to(dtype)
    assert bits.unpack(bits.above(values, 2), 10).tolist() == [
        v > 2 for v in values.tolist()
    ]
    assert bits.unpack(bits.below(values, 2), 10).tolist() == [
        v < 2 for v in values.tolist()
    ]


def test_a_nan_is_neither_above_nor_below() -> None:
    values = torch.tensor([nan, inf, -inf, 1.0])
    assert bits.unpack(bits.above(values, 0.0), 4).tolist() == [False, True, False, True]
    assert bits.unpack(bits.below(values, 0.0), 4).tolist() == [False, False, True, False]


def test_integers_are_compared_exactly() -> None:
    top = 2**62
    assert bits.unpack(bits.above(torch.tensor([top, top + 1]), top), 2).tolist() == [
        False,
        True,
    ]


@pytest.mark.parametrize("size", SIZES)
def test_a_bit_past_the_end_is_not_clean(size: int) -> None:
    assert bits.is_clean(bits.full(size), size)
    for spare in range(size % 8, 8 if size % 8 else 0):
        dirty = bits.full(size)
        dirty[-1] |= 1 << spare
        assert not bits.is_clean(dirty, size)
