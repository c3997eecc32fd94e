"""Layers that multiply by their surviving weights only."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from transformers.pytorch_utils import Conv1D

import instant_soup as soup
from instant_soup.core.prune import prune
from instant_soup.core.rounding import rounding, rounding_of
from instant_soup.export.csr import sparsify
from instant_soup.export.sparse import KERNELS, SparseLinear, owners
from instant_soup.models import tiny


def pruned(height: int, width: int, kept: float) -> tuple[torch.Tensor, torch.Tensor]:
    dice = torch.Generator().manual_seed(height)
    keep = torch.rand((height, width), generator=dice) < kept
    return torch.randn((height, width), generator=dice) * keep, keep


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("tokens", [1, 7, 64])
@pytest.mark.parametrize("kept", [0.0, 0.05, 1.0])
@pytest.mark.parametrize("with_bias", [True, False])
def test_every_kernel_multiplies_as_a_dense_layer_does(
    kernel: str, tokens: int, kept: float, with_bias: bool
) -> None:
    matrix, keep = pruned(24, 40, kept)
    bias = torch.randn(24) if with_bias else None
    layer = SparseLinear.of(matrix, keep, bias)
    layer.choose({1: kernel})
    x = torch.randn(2, tokens, 40)
    expected = F.linear(x, matrix, bias)
    bound = rounding(40, float(F.linear(x.abs(), matrix.abs()).max()) + 1)
    torch.testing.assert_close(layer(x), expected, rtol=0, atol=bound)
    assert layer(x).is_contiguous()
    assert torch.equal(layer.dense, matrix)


def test_the_kernel_depends_on_how_many_tokens_there_are() -> None:
    layer = SparseLinear.of(*pruned(8, 8, 0.5), None)
    layer.choose({4: "dense", 16: "gather"})
    called: list[str] = []
    original = dict(KERNELS)
    with pytest.MonkeyPatch.context() as patch:
        for name in ("dense", "gather"):

            def wrapped(layer, x, name=name):
                return called.append(name) or original[name](layer, x)

            patch.setitem(KERNELS, name, wrapped)  # type: ignore[arg-type]
        for tokens in (1, 4, 5, 16, 99):
            layer(torch.randn(tokens, 8))
    assert called == ["dense", "dense", "gather", "gather", "gather"]
    assert "kernels {4: 'dense', 16: 'gather'}" in str(layer)


def test_an_attention_of_torch_stays_dense_and_the_outputs_stay_the_same() -> None:
    tower = tiny.attention_tower().eval().requires_grad_(True)
    scope = soup.Scope.of(tower, keep_dense=("*conv*", "*embed*", "proj"))
    parameters = dict(tower.named_parameters())
    mask = prune(
        {name: parameters[name].detach().abs() for name in scope},
        soup.Mask.dense(scope),
        0.8,
    )
    with torch.no_grad():
        for name in scope:
            parameters[name].masked_fill_(~mask[name], 0)
        x = torch.randn(2, 3, 16, 16)
        before = tower(x)
        bound = rounding_of(tower, before)
        sparsify(tower, mask, ())
        torch.testing.assert_close(tower(x), before, rtol=0, atol=bound)
    sparse = [
        name for name, layer in tower.named_modules() if isinstance(layer, SparseLinear)
    ]
    assert len(sparse) == 4
    assert all(".mlp." in name for name in sparse)
    assert any("in_proj_weight" in name for name in mask)


def test_transposed_layers_become_sparse_too() -> None:
    model = nn.ModuleDict({"c_fc": Conv1D(6, 4)})
    keep = torch.rand(4, 6) < 0.5
    with torch.no_grad():
        model["c_fc"].weight.masked_fill_(~keep, 0)  # type: ignore[operator]
    x = torch.randn(3, 4)
    before = model["c_fc"](x)
    assert list(owners(model)) == ["c_fc.weight"]
    sparsify(
        model, soup.Mask(soup.Scope({"c_fc.weight": (4, 6)}), {"c_fc.weight": keep}), ()
    )
    torch.testing.assert_close(
        model["c_fc"](x), before, rtol=0, atol=rounding(4, float(x.abs().max()))
    )
