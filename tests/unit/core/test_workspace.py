"""Workspace: room that is laid out once and used again."""

from __future__ import annotations

import torch

from instant_soup.core.mask import Mask
from instant_soup.core.scope import Scope
from instant_soup.core.workspace import Workspace

SCOPE = Scope({"a": (3, 3), "b": (8,), "c": (1,), "d": (5, 4)})
CPU = torch.device("cpu")


def test_every_parameter_has_a_byte_for_eight_weights() -> None:
    space = Workspace(Mask.dense(SCOPE), 16)
    assert {name: tuple(part.shape) for name, part in space.packed.items()} == {
        "a": (2,),
        "b": (1,),
        "c": (1,),
        "d": (3,),
    }
    assert {part.dtype for part in space.packed.values()} == {torch.uint8}


def test_the_bits_of_one_parameter_are_not_those_of_another() -> None:
    space = Workspace(Mask.dense(SCOPE), 16)
    for value, part in enumerate(space.packed.values()):
        part.fill_(value)
    assert [part.tolist() for part in space.packed.values()] == [
        [0, 0],
        [1],
        [2],
        [3, 3, 3],
    ]


def test_the_bits_of_all_parameters_are_one_piece_of_memory() -> None:
    parts = list(Workspace(Mask.dense(SCOPE), 16).packed.values())
    assert len({part.untyped_storage().data_ptr() for part in parts}) == 1


def test_a_chunk_is_the_same_room_at_each_call() -> None:
    space = Workspace(Mask.dense(SCOPE), 16)
    first = space.chunk(CPU, torch.float32)
    first.fill_(7)
    assert space.chunk(CPU, torch.float32).data_ptr() == first.data_ptr()
    assert (tuple(first.shape), first.dtype) == ((16,), torch.float32)


def test_scores_of_another_dtype_have_room_of_their_own() -> None:
    space = Workspace(Mask.dense(SCOPE), 16)
    narrow, wide = space.chunk(CPU, torch.float32), space.chunk(CPU, torch.int64)
    assert wide.dtype == torch.int64
    assert wide.data_ptr() != narrow.data_ptr()


def test_no_chunk_is_longer_than_the_model() -> None:
    assert (
        len(Workspace(Mask.dense(SCOPE), 1 << 19).chunk(CPU, torch.float32)) == SCOPE.size
    )


def test_two_calls_do_not_share_room() -> None:
    first, second = (Workspace(Mask.dense(SCOPE), 16) for _ in range(2))
    assert first.packed["a"].data_ptr() != second.packed["a"].data_ptr()
    assert (
        first.chunk(CPU, torch.float32).data_ptr()
        != second.chunk(CPU, torch.float32).data_ptr()
    )
