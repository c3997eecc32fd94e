"""Blend, compared with rankings sorted in full."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from instant_soup.core.errors import ScopeError
from instant_soup.core.mask import Mask
from instant_soup.core.prune import prune
from instant_soup.core.scope import Scope
from instant_soup.soup.blend import (
    BLENDS,
    Standing,
    bound,
    extrapolated,
    intersection,
    lookahead,
    union,
    votes,
)
from instant_soup.soup.denoiser import Outlook

SCOPE = Scope({"a": (13, 7), "b": (50,), "c": (3, 4, 5)})
SPARSITIES = (0.2, 0.5, 0.8)


def normal(seed: int, scope: Scope = SCOPE) -> dict[str, Tensor]:
    dice = torch.Generator().manual_seed(seed)
    return {
        name: torch.randn(shape, generator=dice) for name, shape in scope.shapes.items()
    }


def nudged(weights: dict[str, Tensor], seed: int, size: float = 0.1) -> dict[str, Tensor]:
    """Where a look-ahead might have gone."""
    noise = normal(seed)
    return {name: tensor + size * noise[name] for name, tensor in weights.items()}


def cut(weights: dict[str, Tensor], sparsity: float, mask: Mask | None = None) -> Mask:
    """One-shot magnitude pruning."""
    return prune(sizes(weights), mask or Mask.dense(SCOPE), sparsity)


def at(weights: dict[str, Tensor], before: dict[str, Tensor] | None = None) -> Standing:
    """A learner that goes by magnitude, at *weights*."""
    return Standing(sizes(weights), weights if before is None else before, sizes)


def sizes(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: weights[name].abs() for name in weights}


def looked(
    weights: dict[str, Tensor], sparsity: float, count: int = 4, mask: Mask | None = None
) -> list[Mask]:
    return [cut(nudged(weights, 100 + i), sparsity, mask) for i in range(count)]


def flat(tensors: dict[str, Tensor] | Mask) -> np.ndarray:
    return np.concatenate([tensors[name].reshape(-1).numpy() for name in SCOPE])


def ranked(
    rank: np.ndarray, size: np.ndarray, alive: np.ndarray, keep: int
) -> np.ndarray:
    """By rank, then by size, then by place: what a person would sort by hand."""
    order = np.lexsort(
        (np.arange(len(rank)), -size.astype(np.float64), -rank.astype(np.int64), ~alive)
    )
    flags = np.zeros(len(rank), dtype=bool)
    flags[order[:keep]] = True
    return flags


# FACTS 0.1


@pytest.mark.parametrize("sparsity", SPARSITIES)
@pytest.mark.parametrize("seed", range(5))
def test_a_union_that_holds_the_own_mask_and_is_trimmed_at_once_is_one_shot_pruning(
    seed: int, sparsity: float
) -> None:
    """What the union prunes is a part of what one-shot prunes, and the rest of that is what the trim takes next."""
    weights = normal(seed)
    own, others = cut(weights, sparsity), looked(weights, sparsity)
    whole = Outlook((own, *others))
    assert whole.union.kept > own.kept  # there is something to trim
    assert prune(union(whole, at(weights)), Mask.dense(SCOPE), sparsity) == own


def test_the_union_cancels_in_later_rounds_too() -> None:
    weights = normal(0)
    mask = cut(nudged(weights, 9), 0.3)
    weights = {name: tensor * mask[name] for name, tensor in weights.items()}
    own, others = cut(weights, 0.6, mask), looked(weights, 0.6, mask=mask)
    assert prune(union(Outlook((own, *others)), at(weights)), mask, 0.6) == own


def test_a_union_without_the_own_mask_need_not_be_one_shot() -> None:
    weights = normal(0)
    own = cut(weights, 0.5)
    far = Outlook((cut(normal(1), 0.5), cut(normal(2), 0.5)))
    assert prune(union(far, at(weights)), Mask.dense(SCOPE), 0.5) != own


def test_votes_are_not_one_shot_pruning() -> None:
    """Otherwise the default blend would be as idle as the union."""
    weights = normal(0)
    own, others = cut(weights, 0.5), looked(weights, 0.5)
    assert (
        prune(votes(Outlook((own, *others)), at(weights)), Mask.dense(SCOPE), 0.5) != own
    )


def test_only_the_union_waits_for_the_last_round_to_be_trimmed() -> None:
    assert {name for name, blend in BLENDS.items() if blend.deferred} == {"union"}


# rankings


@pytest.mark.parametrize("sparsity", SPARSITIES)
@pytest.mark.parametrize("seed", range(3))
def test_votes_come_first_and_magnitude_settles_what_they_leave_open(
    seed: int, sparsity: float
) -> None:
    weights = normal(seed)
    masks = looked(weights, sparsity, count=5)
    got = prune(votes(Outlook(tuple(masks)), at(weights)), Mask.dense(SCOPE), sparsity)
    count = sum(flat(mask).astype(int) for mask in masks)
    assert len(set(count)) > 2
    wanted = ranked(
        count, np.abs(flat(weights)), np.ones(SCOPE.size, dtype=bool), got.kept
    )
    assert (flat(got) == wanted).all()


def test_votes_among_living_weights_only() -> None:
    mask = cut(normal(7), 0.3)
    weights = {name: tensor * mask[name] for name, tensor in normal(0).items()}
    masks = looked(weights, 0.6, count=5, mask=mask)
    got = prune(votes(Outlook(tuple(masks)), at(weights)), mask, 0.6)
    count = sum(flat(each).astype(int) for each in masks)
    assert (flat(got) == ranked(count, np.abs(flat(weights)), flat(mask), got.kept)).all()


@pytest.mark.parametrize("sparsity", SPARSITIES)
def test_what_every_mask_keeps_is_kept_and_magnitude_fills_up(sparsity: float) -> None:
    weights = normal(1)
    masks = looked(weights, sparsity)
    outlook = Outlook(tuple(masks))
    got = prune(intersection(outlook, at(weights)), Mask.dense(SCOPE), sparsity)
    assert outlook.intersection <= got
    all_keep = np.logical_and.reduce([flat(mask) for mask in masks])
    wanted = ranked(
        all_keep, np.abs(flat(weights)), np.ones(SCOPE.size, dtype=bool), got.kept
    )
    assert (flat(got) == wanted).all()


@settings(deadline=None, max_examples=80)
@given(st.data())
def test_a_vote_outweighs_any_magnitude_and_no_magnitude_is_rounded(
    data: st.DataObject,
) -> None:
    """Neighbouring floats, denormals and infinities, under any number of votes."""
    size = data.draw(st.integers(2, 25))
    scope = Scope({"a": (size,)})
    sizes = st.one_of(
        st.floats(width=32, allow_nan=False),
        st.sampled_from(
            [0.0, -0.0, 1.0, 1.0000001, -1.0000001, 1e-45, -2.8e-45, float("inf")]
        ),
    )
    weights = torch.tensor(
        data.draw(st.lists(sizes, min_size=size, max_size=size)), dtype=torch.float32
    )
    keeps = st.lists(st.booleans(), min_size=size, max_size=size)
    kept = [torch.tensor(data.draw(keeps)) for _ in range(data.draw(st.integers(1, 5)))]
    outlook = Outlook(tuple(Mask(scope, {"a": each}) for each in kept))
    keep = data.draw(st.integers(1, size))
    got = prune(votes(outlook, at({"a": weights})), Mask.dense(scope), 1 - keep / size)
    count = sum(each.int() for each in kept).tolist()
    order = sorted(range(size), key=lambda i: (-count[i], -abs(weights[i].item()), i))
    assert sorted(got["a"].nonzero().flatten().tolist()) == sorted(order[:keep])


def test_one_vote_more_beats_the_largest_weight() -> None:
    scope = Scope({"a": (3,)})
    masks = (
        Mask(scope, {"a": torch.tensor([True, False, True])}),
        Mask(scope, {"a": torch.tensor([True, True, False])}),
    )
    score = votes(Outlook(masks), at({"a": torch.tensor([1e-45, 3e38, -2e38])}))["a"]
    assert score[0] > score[1] > score[2]


def test_half_precision_weights_are_ranked_like_their_values() -> None:
    weights = {name: tensor.bfloat16() for name, tensor in normal(0).items()}
    masks = looked(normal(0), 0.5)
    got = prune(votes(Outlook(tuple(masks)), at(weights)), Mask.dense(SCOPE), 0.5)
    as_float = {name: tensor.float() for name, tensor in weights.items()}
    assert got == prune(
        votes(Outlook(tuple(masks)), at(as_float)), Mask.dense(SCOPE), 0.5
    )


@pytest.mark.parametrize("blend", [votes, union, intersection])
def test_masks_that_agree_are_the_answer_however_they_are_blended(blend: type) -> None:
    weights = normal(0)
    mask = cut(normal(5), 0.6)
    assert (
        prune(blend(Outlook((mask, mask, mask)), at(weights)), Mask.dense(SCOPE), 0.6)
        == mask
    )


def test_a_nan_among_the_weights_is_refused() -> None:
    weights = normal(0)
    masks = tuple(looked(weights, 0.5))
    weights["a"][0, 0] = float("nan")
    with pytest.raises(ScopeError, match="NaN"):
        prune(votes(Outlook(masks), at(weights)), Mask.dense(SCOPE), 0.5)


# look-ahead magnitude


def test_the_look_ahead_blend_goes_by_the_mean_magnitude_and_not_by_masks() -> None:
    weights, masks = normal(0), looked(normal(0), 0.5)
    ahead = {name: tensor.abs() for name, tensor in normal(3).items()}
    got = prune(
        lookahead(Outlook(tuple(masks), scores=ahead), at(weights)),
        Mask.dense(SCOPE),
        0.5,
    )
    assert got == cut(normal(3), 0.5)


def test_without_look_aheads_it_goes_by_the_weights_themselves() -> None:
    weights = normal(0)
    outlook = Outlook((cut(normal(4), 0.5),))
    assert prune(lookahead(outlook, at(weights)), Mask.dense(SCOPE), 0.5) == cut(
        weights, 0.5
    )


def test_each_blend_asks_for_no_more_than_it_reads() -> None:
    assert {name for name, blend in BLENDS.items() if blend.wanted.scores} == {
        "lookahead",
        "bound",
    }
    assert {name for name, blend in BLENDS.items() if blend.wanted.spread} == {"bound"}
    assert {name for name, blend in BLENDS.items() if blend.wanted.weights} == {
        "extrapolated"
    }


def test_the_bound_adds_the_spread_over_look_aheads_to_their_mean() -> None:
    weights, masks = normal(0), looked(normal(0), 0.5)
    mean, spread = sizes(normal(3)), sizes(normal(4))
    scores = bound(Outlook(tuple(masks), scores=mean, spread=spread), at(weights))
    for name in SCOPE:
        torch.testing.assert_close(scores[name], mean[name] + spread[name])


def test_extrapolated_goes_by_where_three_times_the_mean_displacement_leads() -> None:
    before, reached, now = normal(0), nudged(normal(0), 1), normal(2)
    scores = extrapolated(
        Outlook(tuple(looked(before, 0.5)), weights=reached), at(now, before)
    )
    for name in SCOPE:
        torch.testing.assert_close(
            scores[name], (before[name] + 3 * (reached[name] - before[name])).abs()
        )


def test_extrapolated_goes_by_the_very_score_of_the_learner() -> None:
    """Weights in the place of its own, and all else that it scores by."""
    before, reached = normal(0), nudged(normal(0), 1)
    moments = sizes(normal(5))

    def curved(weights):
        return {name: weights[name].abs() * moments[name] ** 0.25 for name in SCOPE}

    standing = Standing(curved(before), before, curved)
    scores = extrapolated(Outlook(tuple(looked(before, 0.5)), weights=reached), standing)
    for name in SCOPE:
        wanted = (before[name] + 3 * (reached[name] - before[name])).abs() * moments[
            name
        ] ** 0.25
        torch.testing.assert_close(scores[name], wanted)


@pytest.mark.parametrize("name", BLENDS)
def test_every_blend_scores_the_scope_the_same_way_twice_and_leaves_the_weights_alone(
    name: str,
) -> None:
    weights = normal(0)
    before = {name: tensor.clone() for name, tensor in weights.items()}
    ahead, spread, reached = sizes(normal(3)), sizes(normal(4)), normal(5)
    outlook = Outlook(tuple(looked(weights, 0.5)), ahead, spread, reached)
    scores = BLENDS[name].score(outlook, at(weights))
    for parameter, shape in SCOPE.shapes.items():
        assert tuple(scores[parameter].shape) == shape
        assert torch.equal(scores[parameter], scores[parameter])
        assert torch.equal(weights[parameter], before[parameter])
