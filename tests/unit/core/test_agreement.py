"""How alike masks are, against counts by hand and against chance itself."""

from __future__ import annotations

from math import sqrt

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from instant_soup.core.agreement import agreement, by_layer
from instant_soup.core.errors import ScopeError
from instant_soup.core.mask import Mask
from instant_soup.core.scope import Scope

SHAPES = {"a": (7, 9), "b": (40, 30), "c": (5,)}
SCOPE = Scope(SHAPES)
CORRECTED = (
    "cosine_in_model",
    "jaccard_in_model",
    "cosine_in_layers",
    "jaccard_in_layers",
)


def drawn(seed: int, shares: dict[str, float]) -> Mask:
    dice = np.random.default_rng(seed)
    return Mask(
        SCOPE,
        {
            name: torch.from_numpy(dice.random(shape) < shares[name])
            for name, shape in SHAPES.items()
        },
    )


def flat(mask: Mask) -> np.ndarray:
    return np.concatenate([mask[name].numpy().ravel() for name in mask])


@given(
    st.integers(0, 10**6),
    st.integers(0, 10**6),
    st.floats(0.05, 0.95),
    st.floats(0.05, 0.95),
)
def test_counts_are_those_of_the_bits(
    first: int, second: int, one: float, other: float
) -> None:
    masks = (
        drawn(first, dict.fromkeys(SHAPES, one)),
        drawn(second, dict.fromkeys(SHAPES, other)),
    )
    a, b = map(flat, masks)
    found = agreement(*masks)
    assert (found.one, found.other, found.both) == (a.sum(), b.sum(), (a & b).sum())
    assert found.jaccard == pytest.approx((a & b).sum() / max(1, (a | b).sum()))
    assert found.distance == pytest.approx((a ^ b).mean())
    if a.any() and b.any():
        assert found.cosine == pytest.approx((a & b).sum() / sqrt(a.sum() * b.sum()))
    assert agreement(*reversed(masks)).cosine_in_layers == pytest.approx(
        found.cosine_in_layers
    )
    assert all(getattr(found, name) <= 1 + 1e-9 for name in CORRECTED)


def test_masks_made_at_random_agree_on_nothing_beyond_chance() -> None:
    """Over many draws the mean is 0, and the uncorrected figures are far from it."""
    everywhere = dict.fromkeys(SHAPES, 0.4)
    found = [
        agreement(drawn(2 * i, everywhere), drawn(2 * i + 1, everywhere))
        for i in range(400)
    ]
    assert np.mean([one.cosine for one in found]) == pytest.approx(0.4, abs=0.01)
    for name in ("cosine_in_model", "cosine_in_layers"):
        assert abs(np.mean([getattr(one, name) for one in found])) < 0.005


def test_masks_that_only_share_how_much_they_keep_where_agree_in_the_model_and_not_in_layers() -> (
    None
):
    shares = {"a": 0.9, "b": 0.1, "c": 0.5}
    found = [
        agreement(drawn(2 * i, shares), drawn(2 * i + 1, shares)) for i in range(200)
    ]
    assert np.mean([one.cosine_in_model for one in found]) > 0.2
    assert abs(np.mean([one.cosine_in_layers for one in found])) < 0.01


def test_a_mask_is_like_itself_and_as_unlike_its_opposite_as_can_be() -> None:
    mask = drawn(0, dict.fromkeys(SHAPES, 0.5))
    found = agreement(mask, mask)
    assert [
        found.cosine,
        found.jaccard,
        *(getattr(found, name) for name in CORRECTED),
    ] == [1.0] * 6
    assert found.distance == 0
    opposite = agreement(mask, mask ^ Mask.dense(SCOPE))
    assert (opposite.both, opposite.distance) == (0, 1)
    assert all(getattr(opposite, name) < -0.5 for name in CORRECTED)


def test_a_mask_inside_another_agrees_as_far_as_it_can() -> None:
    whole = drawn(1, dict.fromkeys(SHAPES, 0.6))
    part = whole & drawn(2, dict.fromkeys(SHAPES, 0.5))
    found = agreement(part, whole)
    assert (
        found.cosine_in_model
        == found.jaccard_in_model
        == found.cosine_in_layers
        == pytest.approx(1.0)
    )


@pytest.mark.parametrize("keep", [False, True])
def test_where_chance_leaves_nothing_to_agree_on_nothing_is_divided_by_zero(
    keep: bool,
) -> None:
    edge = Mask(SCOPE, {name: torch.full(shape, keep) for name, shape in SHAPES.items()})
    other = drawn(3, dict.fromkeys(SHAPES, 0.5))
    assert [getattr(agreement(edge, other), name) for name in CORRECTED] == [0.0] * 4
    assert [getattr(agreement(edge, edge), name) for name in CORRECTED] == [1.0] * 4


def test_each_layer_is_judged_by_itself() -> None:
    one, other = (
        drawn(4, {"a": 0.5, "b": 0.2, "c": 1.0}),
        drawn(5, {"a": 0.5, "b": 0.2, "c": 1.0}),
    )
    layers = by_layer(one, other)
    assert list(layers) == list(SCOPE)
    for name, found in layers.items():
        a, b = one[name].numpy(), other[name].numpy()
        assert (found.one, found.other, found.both) == (a.sum(), b.sum(), (a & b).sum())
        assert found.cosine_in_layers == pytest.approx(found.cosine_in_model)
    assert layers["c"].cosine_in_model == 1


def test_masks_of_different_scopes_are_refused() -> None:
    other = Mask.dense(Scope({"a": (7, 9)}))
    with pytest.raises(ScopeError):
        agreement(drawn(0, dict.fromkeys(SHAPES, 0.5)), other)
