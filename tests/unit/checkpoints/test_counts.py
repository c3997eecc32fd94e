"""Tally: from counts of magnitudes to the cut that `prune` makes."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import instant_soup as soup
from instant_soup.checkpoints.counts import Tally, keys, raw, refuse_nan, width
from instant_soup.core.errors import ScopeError
from instant_soup.core.prune import shares, survivors
from instant_soup.core.weights import Elementwise

DTYPES = [torch.float16, torch.bfloat16, torch.float32, torch.float64]


def found(tensor: torch.Tensor, order: int) -> np.ndarray:
    data = tensor.contiguous().view(-1).view(torch.uint8).numpy()
    return keys(raw(data, tensor.dtype), tensor.dtype, order)


def kept_by_tally(
    tensors: dict[str, torch.Tensor],
    sparsity: float,
    across: str,
    *,
    chunk: int,
    sample: int | None,
) -> dict[str, torch.Tensor]:
    """The masks that the counts give, in chunks of so many weights, after a look at every so-many-th chunk."""
    scope = soup.Scope({name: tuple(tensor.shape) for name, tensor in tensors.items()})
    sizes = {name: scope.numel(name) for name in scope}
    keep, order = (
        survivors(sparsity, scope.size),
        width(tensor.dtype for tensor in tensors.values()),
    )
    groups = (
        {tuple(scope): keep}
        if across == "model"
        else {(n,): k for n, k in shares(scope, sizes, keep).items()}
    )
    tally, every = (
        Tally(groups, order),
        {name: found(tensor, order) for name, tensor in tensors.items()},
    )
    if sample:
        for name, whole in every.items():
            tally.add(name, whole[::sample])
        tally.focus(sizes)
    readings = 0
    while names := tally.wanted:
        readings += 1
        for name in names:
            for at in range(0, len(every[name]), chunk):
                tally.add(name, every[name][at : at + chunk])
        tally.close()
    assert readings <= order // 16 + (1 if sample else 0)
    masks = {}
    for name, cut in tally.cuts().items():
        seen, parts = 0, []
        for at in range(0, len(every[name]), chunk):
            part, seen = cut.keep(every[name][at : at + chunk], seen)
            parts.append(torch.from_numpy(part))
        masks[name] = torch.cat(parts).view(tensors[name].shape)
        assert int(masks[name].sum()) == cut.kept
    return masks


@settings(max_examples=120, deadline=None)
@given(
    dtypes=st.lists(st.sampled_from(DTYPES), min_size=1, max_size=4),
    sparsity=st.sampled_from([0.0, 0.1, 0.5, 0.7, 0.93]),
    across=st.sampled_from(["model", "layer"]),
    levels=st.sampled_from([1, 2, 5, 100, 10**6]),  # few levels: seas of ties
    zeros=st.booleans(),
    chunk=st.sampled_from([8, 64, 1000]),
    sample=st.sampled_from([None, 1, 7]),
    seed=st.integers(0, 999),
)
def test_the_cut_is_that_of_prune(
    dtypes: list[torch.dtype], sparsity: float, across: str, levels: int, zeros: bool, chunk: int, sample: int | None,
    seed: int,
) -> None:  # fmt: skip
    dice = torch.Generator().manual_seed(seed)
    tensors = {}
    for i, dtype in enumerate(dtypes):
        values = (
            torch.randint(-levels, levels + 1, (7 + i, 13), generator=dice).double()
            / levels
            * 3
        )
        tensors[f"p{i}"] = (
            values * (torch.rand(values.shape, generator=dice) < 0.5) if zeros else values
        ).to(dtype)
    scope = soup.Scope({name: tuple(tensor.shape) for name, tensor in tensors.items()})
    wanted = soup.prune(
        Elementwise(tensors, torch.abs), soup.Mask.dense(scope), sparsity, across=across
    )
    masks = kept_by_tally(tensors, sparsity, across, chunk=chunk, sample=sample)
    assert all(torch.equal(masks[name], wanted[name]) for name in scope)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_a_large_normal_matrix_is_cut_as_prune_cuts_it(dtype: torch.dtype) -> None:
    tensors = {
        name: torch.randn(300, 301, generator=torch.Generator().manual_seed(1)).to(dtype)
        for name in "ab"
    }
    scope = soup.Scope(dict.fromkeys(tensors, (300, 301)))
    wanted = soup.prune(Elementwise(tensors, torch.abs), soup.Mask.dense(scope), 0.7)
    masks = kept_by_tally(tensors, 0.7, "model", chunk=4096, sample=16)
    assert all(torch.equal(masks[name], wanted[name]) for name in scope)


def test_a_sample_that_misleads_costs_a_reading_and_changes_nothing() -> None:
    whole = np.arange(1000, dtype="<u2")
    tally = Tally({("a",): 300}, 16)
    tally.add("a", whole[:3])
    tally.focus({"a": 1000})
    tally.add("a", whole)
    tally.close()
    assert tally.wanted == ["a"]
    tally.add("a", whole)
    tally.close()
    assert tally.wanted == []
    assert tally.cuts()["a"].key == 700


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("order", [16, 32, 64])
def test_keys_rank_as_magnitudes_do(dtype: torch.dtype, order: int) -> None:
    if order < width([dtype]):
        pytest.skip("too narrow")
    values = torch.tensor(
        [0.0, -0.0, 6e-8, -0.001, 0.5, -1.0, 3.5, -60000.0, torch.inf, -torch.inf]
    ).to(dtype)
    if order == 16 or dtype != torch.float16:
        values = torch.cat(
            [
                values,
                torch.tensor(
                    [torch.finfo(dtype).max, torch.finfo(dtype).tiny], dtype=dtype
                ),
            ]
        )
    ranks = found(values, order).astype(object)
    magnitudes = values.abs().double().tolist()
    assert [[a < b for b in ranks] for a in ranks] == [
        [a < b for b in magnitudes] for a in magnitudes
    ]


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_nan_is_refused_and_infinity_is_not(dtype: torch.dtype) -> None:
    refuse_nan(found(torch.tensor([1.0, -torch.inf], dtype=dtype), width([dtype])), dtype)
    with pytest.raises(ScopeError, match="NaN"):
        refuse_nan(
            found(torch.tensor([1.0, -torch.nan], dtype=dtype), width([dtype])), dtype
        )
