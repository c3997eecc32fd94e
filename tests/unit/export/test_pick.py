"""Which kernel multiplies a layer fastest."""

from __future__ import annotations

import pytest
import torch

from instant_soup.export import pick as room
from instant_soup.export.pick import pick
from instant_soup.export.sparse import KERNELS, SparseLinear


def layer(height: int, kept: float) -> SparseLinear:
    keep = torch.rand((height, 64), generator=torch.Generator().manual_seed(0)) < kept
    return SparseLinear.of(torch.ones(height, 64), keep, None)


def test_layers_that_are_alike_are_timed_once_and_use_the_fastest(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    times = {"dense": [1.0, 3.0], "gather": [2.0, 2.0], "csr": [3.0, 1.0]}
    calls: list[int] = []

    def fake(contenders: dict[str, object], turns: int) -> dict[str, list[float]]:
        calls.append(turns)
        return {name: [times[name][(len(calls) - 1) % 2]] for name in contenders}

    monkeypatch.setattr(room, "in_turns", fake)
    layers = [layer(32, 0.1), layer(32, 0.1), layer(48, 0.1), layer(32, 0.9)]
    found = pick(layers, (8, 128))
    assert len(calls) == len(found) == 6
    assert [one.layers for one in found] == [2, 2, 1, 1, 1, 1]
    last = "csr" if "csr" in KERNELS else "gather"
    for one in layers:
        assert one.choices == {32: "dense", 128: last}
    assert found[0].shape == (32, 64)
    assert found[0].sparsity == pytest.approx(0.9, abs=0.03)


def test_nothing_is_timed_where_no_length_is_given() -> None:
    one = layer(32, 0.1)
    assert pick([one], ()) == []
    assert one.choices == {1: "gather"}
