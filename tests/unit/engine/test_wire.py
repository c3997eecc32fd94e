from __future__ import annotations

import pickle
import struct
from multiprocessing import Pipe
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from instant_soup.core.errors import EngineError
from instant_soup.core.mask import Mask
from instant_soup.core.scope import Scope
from instant_soup.engine import wire

TENSORS = [
    torch.randn(3, 5),
    torch.randn(7).to(torch.bfloat16),
    torch.arange(6).view(2, 3).t(),
    torch.tensor(2.5),
    torch.zeros(0, 4),
    torch.tensor([True, False]),
    torch.tensor([float("nan"), -0.0, float("inf")]),
]


def bits(tensor: Tensor) -> bytes:
    return tensor.contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()


def same(one: Tensor, other: Tensor) -> bool:
    return (
        one.dtype == other.dtype and one.shape == other.shape and bits(one) == bits(other)
    )


def test_tensors_of_every_kind_come_out_as_they_went_in() -> None:
    packed = wire.pack({"tensors": TENSORS, "more": ("text", 7)})
    for opened in (packed.open(), packed.look()):
        assert opened["more"] == ("text", 7)
        assert all(
            same(one, other)
            for one, other in zip(opened["tensors"], TENSORS, strict=True)
        )


def test_what_was_opened_may_be_written_to_and_changes_nothing_elsewhere() -> None:
    whole = torch.ones(4)
    packed = wire.pack(whole)
    read_only = wire.Parcel(packed.head, [bytes(body) for body in packed.bodies])
    opened = read_only.open()
    opened += 1
    assert opened.tolist() == [2.0] * 4
    assert read_only.open().tolist() == [1.0] * 4


def test_the_bytes_of_tensors_are_not_copied_into_the_pickle() -> None:
    packed = wire.pack(torch.zeros(100_000))
    assert len(packed.head) < 500
    assert packed.size - len(packed.head) == 400_000


def test_a_file_holds_what_was_packed_at_places_that_any_dtype_may_lie_at(
    tmp_path: Path,
) -> None:
    wire.write(wire.pack(TENSORS), tmp_path / "parcel")
    found = wire.read(tmp_path / "parcel").look()
    assert all(same(one, other) for one, other in zip(found, TENSORS, strict=True))


def test_a_pipe_passes_parcels_on() -> None:
    here, there = Pipe()
    wire.send(wire.pack(("answer", TENSORS)), here)
    kind, found = wire.receive(there).open()
    assert kind == "answer"
    assert all(same(one, other) for one, other in zip(found, TENSORS, strict=True))


def test_masks_travel_one_bit_a_weight() -> None:
    mask = Mask(Scope({"a": (80, 100)}), {"a": torch.rand(80, 100) < 0.3})
    packed = wire.pack(mask)
    assert packed.open() == mask
    assert sum(memoryview(body).nbytes for body in packed.bodies) == 1000


def test_a_model_travels_with_what_it_trains_and_what_it_ties() -> None:
    model = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3))
    model[1].weight = model[0].weight
    model[0].bias.requires_grad_(requires_grad=False)
    there = wire.pack(model).open()
    assert there[1].weight is there[0].weight
    assert not there[0].bias.requires_grad
    assert same(there[0].weight.detach(), model[0].weight.detach())


def test_what_cannot_travel_is_said_with_what_to_do() -> None:
    with pytest.raises(
        EngineError, match="use functions of a module in place of lambdas"
    ):
        wire.pack(lambda: None)


def test_a_cut_off_file_is_no_parcel(tmp_path: Path) -> None:
    (tmp_path / "parcel").write_bytes(struct.pack("q", 1))
    with pytest.raises((pickle.UnpicklingError, EOFError)):
        wire.read(tmp_path / "parcel")
