"""Prune, compared with a brute-force oracle that sorts every score."""

from __future__ import annotations

import gc
import re
import weakref
from collections.abc import Iterator, Mapping
from itertools import pairwise
from math import inf, nan

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from instant_soup.core import prune as room
from instant_soup.core.errors import ScopeError, SparsityError, UnknownName
from instant_soup.core.mask import Mask
from instant_soup.core.prune import prune, survivors
from instant_soup.core.scope import Scope
from instant_soup.core.weights import Elementwise, Lazy

FLOATS = (torch.float32, torch.float16, torch.bfloat16, torch.float64)
DTYPES = (*FLOATS, torch.int64)
SPARSITIES = (0.01, 0.3, 0.5, 0.77, 0.99)
# no size is a multiple of 8
ODD = {"first": (13, 7), "second": (1,), "third": (3, 5, 11), "fourth": (257,)}

TINY = [  # SAMPLE, ASIDE, CHUNK
    pytest.param((1, 1, 8), id="sample of one"),
    pytest.param((7, 1, 8), id="sample of seven"),
    pytest.param((64, 2, 64), id="sample of 64"),
    pytest.param((1 << 18, 1, 16), id="whole sample, no room"),
    pytest.param((5, 1 << 16, 24), id="all the room"),
]


# the oracle


def oracle(
    scores: Mapping[str, Tensor], mask: Mask, keep: int, names: tuple[str, ...]
) -> dict[str, Tensor]:
    """The *keep* best living weights of *names*: one stable sort of all scores, best first."""
    whole = torch.cat(
        [scores[name].reshape(-1).to(_widest(scores)) for name in names]
    ).numpy()
    alive = np.flatnonzero(torch.cat([mask[name].reshape(-1) for name in names]).numpy())
    # so that an ascending stable sort, read backwards, puts the earlier tie first
    last_first = whole[alive][::-1]
    best = alive[::-1][np.argsort(last_first, kind="stable")][::-1][:keep]
    flags = np.zeros(len(whole), dtype=bool)
    flags[best] = True
    sizes = [scores[name].numel() for name in names]
    parts = torch.from_numpy(flags).split(sizes)
    return {
        name: part.view(scores[name].shape)
        for name, part in zip(names, parts, strict=True)
    }


def _widest(scores: Mapping[str, Tensor]) -> torch.dtype:
    return (
        torch.float64 if next(iter(scores.values())).is_floating_point() else torch.int64
    )


def agrees(scores: Mapping[str, Tensor], mask: Mask, sparsity: float) -> Mask:
    """Prune across the model and fail unless the oracle finds the very same weights."""
    got = prune(scores, mask, sparsity)
    keep = round((1 - sparsity) * mask.scope.size)
    wanted = oracle(scores, mask, keep, tuple(mask.scope))
    for name in mask.scope:
        assert torch.equal(got[name], wanted[name]), name
    assert got.kept == keep
    return got


def agrees_by_layer(scores: Mapping[str, Tensor], mask: Mask, sparsity: float) -> Mask:
    """The same within each layer, whose shares are checked on their own."""
    got = prune(scores, mask, sparsity, across="layer")
    assert got.kept == round((1 - sparsity) * mask.scope.size)
    for name in mask.scope:
        alone = oracle(scores, mask, int(got[name].sum()), (name,))
        assert torch.equal(got[name], alone[name]), name
    return got


# what to feed it


def scope_of(shapes: Mapping[str, tuple[int, ...]] = ODD) -> Scope:
    return Scope(shapes)


def noise(scope: Scope, dtype: torch.dtype, seed: int = 0) -> dict[str, Tensor]:
    dice = torch.Generator().manual_seed(seed)
    if dtype == torch.int64:
        draw = {
            name: torch.randint(-(2**62), 2**62, shape, generator=dice)
            for name, shape in scope.shapes.items()
        }
    else:
        draw = {
            name: torch.randn(shape, generator=dice, dtype=torch.float64)
            for name, shape in scope.shapes.items()
        }
    return {name: tensor.to(dtype) for name, tensor in draw.items()}


def some_mask(scope: Scope, share: float, seed: int = 1) -> Mask:
    """A mask that has already lost about *share* of the weights, at random."""
    dice = torch.Generator().manual_seed(seed)
    return Mask(
        scope,
        {
            name: torch.rand(shape, generator=dice) >= share
            for name, shape in scope.shapes.items()
        },
    )


def picked(
    scope: Scope, values: list[float], dtype: torch.dtype, seed: int = 2
) -> dict[str, Tensor]:
    """Scores drawn from a few *values*, so that ties are everywhere."""
    dice = torch.Generator().manual_seed(seed)
    pool = torch.tensor(values, dtype=dtype)
    return {
        name: pool[torch.randint(len(values), shape, generator=dice)]
        for name, shape in scope.shapes.items()
    }


TIES = {
    "zeros": [0.0],
    "a constant": [-3.0],
    "two values": [1.0, 2.0],
    "mostly one value": [5.0] * 30 + [4.0, 6.0],
    "zeros of both signs": [0.0, -0.0],
    "zeros of both signs among others": [0.0, -0.0, 1.0, -1.0],
    "infinities": [inf, -inf],
    "infinities among others": [inf, -inf, 0.0, 1.0],
    "the lowest only": [-inf],
    "the highest only": [inf],
}


@pytest.fixture
def tiny(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> Iterator[None]:
    """Constants so small that brackets miss, overfill and meet seas of ties."""
    for name, value in zip(("SAMPLE", "ASIDE", "CHUNK"), request.param, strict=True):
        monkeypatch.setattr(room, name, value)
    return


@pytest.fixture
def sweeps(monkeypatch: pytest.MonkeyPatch) -> list[room._Sweep]:
    """Every reading of the scores, as it happens."""
    seen: list[room._Sweep] = []
    read = room._Sweep.read
    monkeypatch.setattr(
        room._Sweep, "read", lambda self, fields: seen.append(self) or read(self, fields)
    )
    return seen


# exactness


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("sparsity", SPARSITIES)
def test_the_best_weights_of_the_model_survive(
    dtype: torch.dtype, sparsity: float
) -> None:
    scope = scope_of()
    agrees(noise(scope, dtype), Mask.dense(scope), sparsity)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("sparsity", SPARSITIES)
def test_the_best_weights_of_each_layer_survive(
    dtype: torch.dtype, sparsity: float
) -> None:
    scope = scope_of()
    agrees_by_layer(noise(scope, dtype), Mask.dense(scope), sparsity)


@pytest.mark.parametrize(
    "dtype", [torch.int32, torch.int16, torch.int8, torch.uint8], ids=str
)
def test_narrow_integers_are_ranked_too(dtype: torch.dtype) -> None:
    scope = scope_of()
    few = {
        name: (tensor % 100).to(dtype)
        for name, tensor in noise(scope, torch.int64).items()
    }
    agrees({name: tensor.long() for name, tensor in few.items()}, Mask.dense(scope), 0.6)
    assert prune(few, Mask.dense(scope), 0.6) == prune(
        {name: tensor.long() for name, tensor in few.items()}, Mask.dense(scope), 0.6
    )


def test_integers_beyond_the_reach_of_floats_keep_their_order() -> None:
    scope = Scope({"a": (4,), "b": (4,)})
    top = 2**62
    scores = {
        "a": torch.tensor([top, top + 1, top + 2, top + 3]),
        "b": torch.tensor([top + 7, top + 6, top - 1, 0]),
    }
    got = prune(scores, Mask.dense(scope), 0.5)
    assert got["a"].tolist() == [False, False, True, True]
    assert got["b"].tolist() == [True, True, False, False]


def test_the_largest_and_smallest_integers_are_scores_like_others() -> None:
    scope = Scope({"a": (21,)})
    scores = {"a": torch.tensor([2**63 - 1, -(2**63), 0] * 7)}
    for sparsity in (0.1, 0.33, 0.5, 0.9):
        agrees(scores, Mask.dense(scope), sparsity)


def test_mixed_floating_dtypes_are_compared_by_their_exact_values() -> None:
    scope = scope_of()
    scores = {
        name: tensor.to(dtype)
        for (name, tensor), dtype in zip(
            noise(scope, torch.float64).items(), FLOATS, strict=True
        )
    }
    for sparsity in SPARSITIES:
        agrees(scores, Mask.dense(scope), sparsity)


def test_a_wide_score_beats_a_narrow_one_by_less_than_the_narrow_one_can_say() -> None:
    scope = Scope({"half": (1,), "double": (2,)})
    scores = {
        "half": torch.ones(1).half(),
        "double": torch.tensor([1 + 1e-12, 1 - 1e-12], dtype=torch.float64),
    }
    got = prune(scores, Mask.dense(scope), 0.67)
    assert (got["half"].item(), got["double"].tolist()) == (False, [True, False])


def test_three_narrow_dtypes_mix_without_a_wide_one() -> None:
    scope = Scope({"a": (33,), "b": (65,), "c": (17,)})
    scores = {
        name: tensor.to(dtype)
        for (name, tensor), dtype in zip(
            noise(scope, torch.float64).items(), FLOATS[:3], strict=True
        )
    }
    for sparsity in SPARSITIES:
        agrees(scores, Mask.dense(scope), sparsity)


@pytest.mark.parametrize("ties", TIES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_among_equal_scores_the_earlier_parameter_and_index_win(
    ties: str, dtype: torch.dtype
) -> None:
    scope = scope_of()
    scores = picked(scope, TIES[ties], dtype)
    for sparsity in SPARSITIES:
        agrees(scores, Mask.dense(scope), sparsity)
        agrees_by_layer(scores, some_mask(scope, 0.005), sparsity)


def test_a_constant_score_keeps_the_first_weights_in_order() -> None:
    """Said without the oracle, which could share a mistake."""
    scope = Scope({"a": (2, 3), "b": (4,)})
    got = prune({"a": torch.zeros(2, 3), "b": torch.zeros(4)}, Mask.dense(scope), 0.2)
    assert got["a"].all()
    assert got["b"].tolist() == [True, True, False, False]


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("pruned", [0.1, 0.5, 0.9])
def test_only_living_weights_compete(dtype: torch.dtype, pruned: float) -> None:
    scope = scope_of()
    mask = some_mask(scope, pruned)
    for share in (0.999, 0.6, 0.2):  # of the living
        sparsity = 1 - round(share * mask.kept) / scope.size
        assert agrees(noise(scope, dtype), mask, sparsity) <= mask
        assert agrees_by_layer(noise(scope, dtype), mask, sparsity) <= mask


def test_the_best_scores_are_worth_nothing_where_the_mask_has_pruned() -> None:
    scope = Scope({"a": (100,)})
    mask = Mask(scope, {"a": torch.arange(100) >= 50})
    got = prune({"a": -torch.arange(100.0)}, mask, 0.75)
    assert got["a"].nonzero().flatten().tolist() == list(range(50, 75))


def test_a_model_of_many_parameters_is_cut_at_one_height() -> None:
    scope = Scope({f"layer.{i}": (1 + i % 11, 1 + i % 5) for i in range(300)})
    for dtype in (torch.float32, torch.int64):
        agrees(noise(scope, dtype), some_mask(scope, 0.2), 0.6)
        agrees_by_layer(noise(scope, dtype), some_mask(scope, 0.2), 0.6)


def test_a_model_larger_than_sample_and_chunk_is_cut_exactly() -> None:
    """The module's own constants: the sample is a fraction, a parameter is swept in several chunks."""
    scope = Scope({"a": (1_200_007,), "b": (333, 777), "c": (90_001,)})
    assert scope.size > 4 * room.SAMPLE
    assert scope.numel("a") > 2 * room.CHUNK
    scores = noise(scope, torch.float32)
    agrees(scores, Mask.dense(scope), 0.5)
    agrees(scores, some_mask(scope, 0.4), 0.93)


def test_a_large_sea_of_ties_is_cut_exactly() -> None:
    scope = Scope({"a": (150_001,), "b": (50_003,)})
    scores = picked(scope, [0.0] * 50 + [1.0, -1.0], torch.float32)
    agrees(scores, Mask.dense(scope), 0.5)
    agrees(scores, some_mask(scope, 0.3), 0.6)


def test_zero_sparsity_keeps_everything() -> None:
    scope = scope_of()
    assert prune(noise(scope, torch.float32), Mask.dense(scope), 0) == Mask.dense(scope)


def test_the_sparsity_of_the_mask_itself_changes_nothing() -> None:
    scope = scope_of()
    mask = some_mask(scope, 0.4)
    assert prune(noise(scope, torch.float32), mask, mask.sparsity) == mask


def test_one_weight_alone_can_be_kept() -> None:
    scope = scope_of()
    scores = noise(scope, torch.float32)
    got = agrees(scores, Mask.dense(scope), 1 - 1 / scope.size)
    (name,) = [name for name in scope if got[name].any()]
    assert scores[name][got[name]].item() == max(
        float(tensor.max()) for tensor in scores.values()
    )


@pytest.mark.parametrize("shape", [(8, 6), (4, 3, 5)])
def test_scores_may_lie_in_memory_in_any_order(shape: tuple[int, ...]) -> None:
    scope = Scope({"a": shape})
    values = torch.randperm(scope.size).float()
    turned = values.view(*reversed(shape)).permute(*reversed(range(len(shape))))
    strided = torch.stack([turned, -turned], dim=-1)[..., 0]
    assert not turned.is_contiguous()
    assert not strided.is_contiguous()
    for scores in (turned, strided, turned.expand(shape)):
        agrees({"a": scores}, Mask.dense(scope), 0.5)


def test_an_expanded_score_of_one_number_is_a_constant() -> None:
    scope = Scope({"a": (5, 4)})
    got = prune({"a": torch.tensor(2.0).expand(5, 4)}, Mask.dense(scope), 0.25)
    assert got["a"].view(-1).tolist() == [True] * 15 + [False] * 5


def test_scores_with_a_gradient_are_read_without_one() -> None:
    scope = Scope({"a": (40,)})
    weight = torch.nn.Parameter(torch.randn(40))
    assert prune({"a": weight}, Mask.dense(scope), 0.5) == prune(
        {"a": weight.detach()}, Mask.dense(scope), 0.5
    )


def test_pruning_leaves_the_scores_and_the_mask_as_they_were() -> None:
    scope = scope_of()
    scores, mask = noise(scope, torch.float32), some_mask(scope, 0.3)
    before, digest = (
        {name: tensor.clone() for name, tensor in scores.items()},
        mask.digest,
    )
    prune(scores, mask, 0.7)
    assert all(torch.equal(scores[name], before[name]) for name in scope)
    assert Mask(scope, dict(mask)).digest == digest


def test_scores_of_names_out_of_scope_are_left_alone() -> None:
    scope = scope_of()
    scores = noise(scope, torch.float32)
    extra = {**scores, "head": torch.full((2, 2), nan)}
    assert prune(extra, Mask.dense(scope), 0.5) == prune(scores, Mask.dense(scope), 0.5)


@pytest.mark.parametrize("across", ["model", "layer"])
def test_a_higher_sparsity_keeps_a_part_of_what_a_lower_one_keeps(
    across: room.Across,
) -> None:
    scope = scope_of()
    scores = picked(scope, [0.0, 0.0, 0.0, 1.0, 2.0], torch.float32)
    masks = [
        prune(scores, Mask.dense(scope), sparsity, across=across)
        for sparsity in SPARSITIES
    ]
    assert all(
        after <= before and after.kept < before.kept for before, after in pairwise(masks)
    )


def test_rounds_of_cuts_with_the_same_scores_end_where_one_cut_does() -> None:
    scope = scope_of()
    scores, mask = noise(scope, torch.float16), Mask.dense(scope)
    for sparsity in (0.2, 0.35, 0.36, 0.8):
        mask = prune(scores, mask, sparsity)
    assert mask == prune(scores, Mask.dense(scope), 0.8)


@pytest.mark.parametrize("size", [1, 2, 7, 8, 9, 10, 63, 64, 65, 1000])
def test_the_count_is_the_rounded_share_of_the_scope(size: int) -> None:
    scope = Scope({"a": (size,)})
    scores = {"a": torch.randn(size)}
    for percent in range(0, 100, 7):
        sparsity = percent / 100
        if keep := round((1 - sparsity) * size):
            assert prune(scores, Mask.dense(scope), sparsity).kept == keep


# layer by layer


def test_a_dense_mask_keeps_the_same_share_of_each_layer_to_the_weight() -> None:
    scope = Scope({"a": (10, 10), "b": (333,), "c": (7,), "d": (1,), "e": (48,)})
    for sparsity in SPARSITIES:
        got = prune(
            noise(scope, torch.float32), Mask.dense(scope), sparsity, across="layer"
        )
        assert got.kept == round((1 - sparsity) * scope.size)
        for name in scope:
            assert abs(got.kept_by_name[name] - (1 - sparsity) * scope.numel(name)) <= 1.5


def test_the_weights_that_a_thin_layer_lacks_are_kept_in_others() -> None:
    scope = Scope({"full": (100,), "thin": (100,), "fuller": (100,)})
    thin = torch.zeros(100, dtype=torch.bool)
    thin[:10] = True
    mask = Mask(
        scope,
        {
            "full": torch.ones(100, dtype=torch.bool),
            "thin": thin,
            "fuller": torch.ones(100).bool(),
        },
    )
    got = agrees_by_layer(noise(scope, torch.float32), mask, 0.5)
    assert got.kept == 150
    assert got.kept_by_name["thin"] == 10
    assert got.kept_by_name["full"] >= 50
    assert got.kept_by_name["fuller"] >= 50


def test_a_layer_with_nothing_left_stays_empty() -> None:
    scope = Scope({"dead": (50,), "alive": (50,)})
    mask = Mask(scope, {"dead": torch.zeros(50).bool(), "alive": torch.ones(50).bool()})
    got = agrees_by_layer(noise(scope, torch.float32), mask, 0.6)
    assert got.kept_by_name == {"dead": 0, "alive": 40}


@settings(deadline=None, max_examples=60)
@given(st.data())
def test_layer_shares_add_up_and_no_layer_gives_way_to_another(
    data: st.DataObject,
) -> None:
    sizes = data.draw(st.lists(st.integers(1, 40), min_size=1, max_size=6))
    scope = Scope({f"p{i}": (size,) for i, size in enumerate(sizes)})
    alive = [data.draw(st.integers(0, size)) for size in sizes]
    if not sum(alive):
        alive[0] = sizes[0]
    mask = Mask(
        scope, {f"p{i}": torch.arange(size) < alive[i] for i, size in enumerate(sizes)}
    )
    keep = data.draw(st.integers(1, sum(alive)))
    got = prune(
        {name: torch.randn(scope.shapes[name]) for name in scope},
        mask,
        1 - keep / scope.size,
        across="layer",
    )
    assert got.kept == keep
    assert got <= mask
    for i, size in enumerate(sizes):
        kept, fair = got.kept_by_name[f"p{i}"], keep * size / scope.size
        # below its share only where it has no more to give
        assert kept == alive[i] or kept >= fair - 1


# brackets that miss, overfill and drown in ties


@pytest.mark.parametrize("tiny", TINY, indirect=True)
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_the_answer_does_not_depend_on_the_sample(tiny: None, dtype: torch.dtype) -> None:
    scope = scope_of()
    for sparsity in SPARSITIES:
        agrees(noise(scope, dtype), Mask.dense(scope), sparsity)
        agrees_by_layer(noise(scope, dtype), some_mask(scope, 0.005), sparsity)


@pytest.mark.parametrize("tiny", TINY, indirect=True)
@pytest.mark.parametrize("ties", TIES)
def test_ties_are_told_apart_by_order_whatever_the_sample(tiny: None, ties: str) -> None:
    scope = scope_of()
    mask = some_mask(scope, 0.005)
    for dtype in (torch.float32, torch.float16):
        for sparsity in SPARSITIES:
            agrees(picked(scope, TIES[ties], dtype), mask, sparsity)


@pytest.mark.parametrize("tiny", TINY, indirect=True)
def test_tied_integers_are_told_apart_by_order_whatever_the_sample(tiny: None) -> None:
    scope = scope_of()
    for values in ([7], [2**62, 2**62 + 1], [-(2**63), 2**63 - 1, 0]):
        pool = torch.tensor(values)
        dice = torch.Generator().manual_seed(3)
        scores = {
            n: pool[torch.randint(len(values), s, generator=dice)]
            for n, s in scope.shapes.items()
        }
        for sparsity in SPARSITIES:
            agrees(scores, some_mask(scope, 0.005), sparsity)


@pytest.mark.parametrize("high", [True, False])
def test_a_sample_that_sees_nothing_typical_is_overruled(
    high: bool, monkeypatch: pytest.MonkeyPatch, sweeps: list[room._Sweep]
) -> None:
    """Every weight that the first sample can see is far above, or far below, all others."""
    monkeypatch.setattr(room, "SAMPLE", 16)
    monkeypatch.setattr(room, "ASIDE", 4)
    scope = Scope({"a": (1600,)})
    scores = torch.randn(1600)
    scores[::100] = (1 if high else -1) * torch.linspace(50, 60, 16)
    agrees({"a": scores}, Mask.dense(scope), 0.5)
    assert len(sweeps) > 1


def test_a_good_sample_needs_one_sweep(sweeps: list[room._Sweep]) -> None:
    scope = Scope({"a": (700_001,), "b": (300_003,)})
    agrees(noise(scope, torch.float32), Mask.dense(scope), 0.7)
    assert len(sweeps) == 1


def test_dead_weights_do_not_mislead_the_sample(sweeps: list[room._Sweep]) -> None:
    """In later rounds most of what is read is the zeros of earlier ones."""
    scope = Scope({"a": (700_001,), "b": (300_003,)})
    mask = some_mask(scope, 0.8)
    agrees(
        {
            name: tensor.abs() * mask[name]
            for name, tensor in noise(scope, torch.float32).items()
        },
        mask,
        0.9,
    )
    assert len(sweeps) == 1


def test_an_overfull_bracket_is_narrowed(
    monkeypatch: pytest.MonkeyPatch, sweeps: list[room._Sweep]
) -> None:
    monkeypatch.setattr(room, "SAMPLE", 3)
    monkeypatch.setattr(room, "ASIDE", 1)
    scope = scope_of()
    agrees(noise(scope, torch.float32), Mask.dense(scope), 0.5)
    assert any(sweep.overfull for sweep in sweeps)


def test_a_sea_of_ties_is_not_set_aside(
    monkeypatch: pytest.MonkeyPatch, sweeps: list[room._Sweep]
) -> None:
    monkeypatch.setattr(room, "ASIDE", 4)
    scope = scope_of()
    agrees(picked(scope, [0.0], torch.float32), some_mask(scope, 0.2), 0.5)
    assert len(sweeps) == 1
    assert sweeps[0].overfull
    assert not sweeps[0].inside


@pytest.mark.parametrize("seed", range(40))
def test_any_sample_and_room_give_the_same_mask(
    seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    dice = torch.Generator().manual_seed(seed)

    def draw(high: int) -> int:
        return int(torch.randint(1, high, (), generator=dice))

    monkeypatch.setattr(room, "SAMPLE", draw(60))
    monkeypatch.setattr(room, "ASIDE", draw(6))
    monkeypatch.setattr(room, "CHUNK", 8 * draw(5))
    scope = Scope({f"p{i}": (draw(120),) for i in range(draw(6))})
    mask = some_mask(scope, seed % 4 * 0.2, seed)
    for levels in (2, 4, 30, 10_000):
        scores = {
            n: torch.randint(levels, s, generator=dice).float() - levels // 2
            for n, s in scope.shapes.items()
        }
        if keep := mask.kept - draw(mask.kept + 1):
            agrees(scores, mask, 1 - keep / scope.size)


VALUES = {
    torch.float32: st.floats(width=32, allow_nan=False),
    torch.float16: st.floats(width=16, allow_nan=False),
    torch.bfloat16: st.floats(width=16, allow_nan=False),
    torch.float64: st.floats(width=64, allow_nan=False),
    torch.int64: st.integers(-(2**63), 2**63 - 1),
}
FEW = {
    dtype: st.sampled_from(
        [0, 1, -1, 2**40] if dtype == torch.int64 else [0.0, -0.0, 1.0, -1.0, inf, -inf]
    )
    for dtype in DTYPES
}


@settings(deadline=None, max_examples=200)
@given(st.data())
def test_any_scores_at_all_are_cut_as_a_full_sort_would(data: st.DataObject) -> None:
    integer = data.draw(st.booleans(), label="integers")
    scores, kept = {}, {}
    for i in range(data.draw(st.integers(1, 4), label="parameters")):
        dtype = torch.int64 if integer else data.draw(st.sampled_from(FLOATS))
        size = data.draw(st.integers(1, 33))
        pool = data.draw(st.sampled_from([VALUES, FEW]))[dtype]
        scores[f"p{i}"] = torch.tensor(
            data.draw(st.lists(pool, min_size=size, max_size=size)), dtype=dtype
        )
        kept[f"p{i}"] = torch.tensor(
            data.draw(st.lists(st.booleans(), min_size=size, max_size=size))
        )
    kept["p0"][0] = True
    mask = Mask(
        Scope({name: tuple(tensor.shape) for name, tensor in scores.items()}), kept
    )
    keep = data.draw(st.integers(1, mask.kept), label="keep")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(room, "SAMPLE", data.draw(st.sampled_from([1, 4, 1 << 18])))
        patch.setattr(room, "ASIDE", data.draw(st.sampled_from([1, 3, 1 << 16])))
        patch.setattr(room, "CHUNK", data.draw(st.sampled_from([8, 24, 1 << 19])))
        agrees(scores, mask, 1 - keep / mask.scope.size)
        agrees_by_layer(scores, mask, 1 - keep / mask.scope.size)


# lazy scores


def lazy(scores: Mapping[str, Tensor], asked: list[str] | None = None) -> Lazy:
    def compute(name: str) -> Tensor:
        if asked is not None:
            asked.append(name)
        return scores[name].clone()

    return Lazy(scores, compute)


@pytest.mark.parametrize("tiny", TINY, indirect=True)
def test_scores_computed_when_asked_for_give_the_same_mask(tiny: None) -> None:
    scope = scope_of()
    scores, mask = noise(scope, torch.float32), some_mask(scope, 0.2)
    for across in ("model", "layer"):
        assert prune(lazy(scores), mask, 0.6, across=across) == prune(
            scores, mask, 0.6, across=across
        )


@pytest.mark.parametrize("dtype", FLOATS, ids=str)
@pytest.mark.parametrize("tiny", TINY, indirect=True)
def test_elementwise_scores_give_the_mask_of_their_values(
    tiny: None, dtype: torch.dtype
) -> None:
    scope = scope_of()
    weights, mask = noise(scope, dtype), some_mask(scope, 0.2)
    values = {name: tensor.abs() for name, tensor in weights.items()}
    for sparsity in (0.3, 0.6, 0.95):
        assert prune(Elementwise(weights, torch.abs), mask, sparsity) == agrees(
            values, mask, sparsity
        )


def test_elementwise_scores_of_mixed_dtypes_give_the_mask_of_their_values() -> None:
    scope = scope_of()
    weights = {
        name: tensor.to(dtype)
        for (name, tensor), dtype in zip(
            noise(scope, torch.float64).items(), FLOATS, strict=True
        )
    }
    assert prune(Elementwise(weights, torch.abs), Mask.dense(scope), 0.6) == agrees(
        {name: tensor.abs() for name, tensor in weights.items()}, Mask.dense(scope), 0.6
    )


def test_elementwise_scores_leave_their_source_as_it_was() -> None:
    scope = scope_of()
    weights = noise(scope, torch.float32)
    before = {name: tensor.clone() for name, tensor in weights.items()}
    prune(Elementwise(weights, torch.abs), Mask.dense(scope), 0.5)
    assert all(torch.equal(weights[name], before[name]) for name in scope)


def test_elementwise_scores_are_never_computed_for_a_whole_parameter(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(room, "SAMPLE", 256)
    monkeypatch.setattr(room, "ASIDE", 1024)
    monkeypatch.setattr(room, "CHUNK", 128)
    scope = Scope({"a": (4096,), "b": (4096,)})
    spans = []

    def size(source: Tensor, *, out: Tensor) -> Tensor:
        spans.append(len(source))
        return torch.abs(source, out=out)

    prune(Elementwise(noise(scope, torch.float32), size), Mask.dense(scope), 0.5)
    assert max(spans) < 2048
    assert sum(spans) >= scope.size


class Watched(Mapping[str, Tensor]):
    """Lazy scores that know how many of their tensors are alive in memory at once."""

    def __init__(self, values: Mapping[str, np.ndarray]) -> None:
        self.values_, self.alive, self.most = values, 0, 0

    def __getitem__(self, name: str) -> Tensor:
        whole = self.values_[name].copy()
        self.alive += 1
        self.most = max(self.most, self.alive)
        weakref.finalize(whole, self._gone)
        return torch.from_numpy(whole)

    def _gone(self) -> None:
        self.alive -= 1

    def __iter__(self) -> Iterator[str]:
        return iter(self.values_)

    def __len__(self) -> int:
        return len(self.values_)

    def __contains__(self, name: object) -> bool:
        return name in self.values_


@pytest.mark.parametrize("levels", [3, 10_000], ids=["ties", "no ties"])
def test_no_two_lazy_tensors_are_alive_at_once(
    levels: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is never concatenated must not pile up either: one tensor is dropped before the next is asked for."""
    monkeypatch.setattr(room, "SAMPLE", 32)
    monkeypatch.setattr(room, "ASIDE", 8)
    monkeypatch.setattr(room, "CHUNK", 64)
    scope = Scope({f"p{i}": (500,) for i in range(6)})
    dice = np.random.default_rng(0)
    values = {name: dice.integers(levels, size=500).astype(np.float32) for name in scope}
    gc.collect()
    scores = Watched(values)
    got = prune(scores, Mask.dense(scope), 0.5)
    assert got == prune(
        {n: torch.from_numpy(v) for n, v in values.items()}, Mask.dense(scope), 0.5
    )
    assert scores.alive == 0
    assert scores.most == 1


# what cannot be pruned


@pytest.mark.parametrize("place", [0, 1, 57, 98, 99])
@pytest.mark.parametrize("sparsity", [0.1, 0.5, 0.9])
@pytest.mark.parametrize("dtype", FLOATS, ids=str)
def test_a_nan_is_refused_wherever_it_is(
    place: int, sparsity: float, dtype: torch.dtype
) -> None:
    scope = Scope({"a": (60,), "b": (40,)})
    scores = {name: tensor.clone() for name, tensor in noise(scope, dtype).items()}
    scores["a" if place < 60 else "b"][place % 60] = nan
    for across in ("model", "layer"):
        with pytest.raises(ScopeError, match="NaN"):
            prune(scores, Mask.dense(scope), sparsity, across=across)


@pytest.mark.parametrize("tiny", TINY, indirect=True)
def test_a_nan_is_refused_whatever_the_sample(tiny: None) -> None:
    scope = scope_of()
    for place in (0, 100, 256):
        scores = noise(scope, torch.float32)
        scores["fourth"][place] = nan
        with pytest.raises(ScopeError, match="NaN"):
            prune(scores, Mask.dense(scope), 0.5)


@pytest.mark.parametrize("sparsity", SPARSITIES)
def test_scores_that_are_all_nan_are_refused(sparsity: float) -> None:
    scope = scope_of()
    with pytest.raises(ScopeError, match="NaN"):
        prune(
            {name: torch.full(shape, nan) for name, shape in scope.shapes.items()},
            Mask.dense(scope),
            sparsity,
        )


@pytest.mark.parametrize("nans", [1, 20])
@pytest.mark.parametrize("sparsity", [0.1, 0.5, 0.9])
def test_a_nan_in_a_sea_of_ties_is_refused(
    nans: int, sparsity: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(room, "ASIDE", 4)
    scope = Scope({"a": (200,)})
    scores = torch.zeros(200)
    scores[200 - nans :] = nan
    with pytest.raises(ScopeError, match="NaN"):
        prune({"a": scores}, Mask.dense(scope), sparsity)


def test_a_nan_where_the_mask_has_pruned_does_no_harm() -> None:
    scope = Scope({"a": (100,)})
    mask = Mask(scope, {"a": torch.arange(100) >= 10})
    scores = torch.arange(100.0)
    clean = prune({"a": scores}, mask, 0.5)
    scores[:10] = nan
    assert prune({"a": scores}, mask, 0.5) == clean


def test_a_missing_score_is_named() -> None:
    scope = scope_of()
    scores = noise(scope, torch.float32)
    del scores["third"]
    with pytest.raises(ScopeError, match="'third'"):
        prune(scores, Mask.dense(scope), 0.5)


@pytest.mark.parametrize("shape", [(7, 13), (91,), (13, 7, 1), (13, 8)])
def test_a_score_of_another_shape_is_named_with_both_shapes(
    shape: tuple[int, ...],
) -> None:
    scope = scope_of()
    scores = {**noise(scope, torch.float32), "first": torch.randn(shape)}
    with pytest.raises(ScopeError, match=r"'first' is .*; expected \(13, 7\)"):
        prune(scores, Mask.dense(scope), 0.5)


def test_integers_and_floats_are_not_mixed() -> None:
    scope = scope_of()
    scores = {**noise(scope, torch.float32), "second": torch.ones(1, dtype=torch.int64)}
    with pytest.raises(ScopeError, match="mix integers and floating-point"):
        prune(scores, Mask.dense(scope), 0.5)


@pytest.mark.parametrize("sparsity", [-0.1, -1e-9, 1.0, 1.5, 70, inf, -inf, nan])
def test_a_sparsity_out_of_range_is_refused_with_its_value(sparsity: float) -> None:
    scope = scope_of()
    with pytest.raises(SparsityError, match=f"sparsity is {sparsity!r}"):
        prune(noise(scope, torch.float32), Mask.dense(scope), sparsity)


def test_a_sparsity_that_would_keep_nothing_is_refused() -> None:
    scope = Scope({"a": (10,)})
    with pytest.raises(SparsityError, match="keeps none of 10"):
        prune({"a": torch.randn(10)}, Mask.dense(scope), 0.96)


def test_a_sparsity_that_needs_pruned_weights_is_refused() -> None:
    scope = Scope({"a": (10,)})
    mask = Mask(scope, {"a": torch.arange(10) < 4})
    with pytest.raises(SparsityError, match="keeps 5 weights and only 4 are left"):
        prune({"a": torch.randn(10)}, mask, 0.5)


def test_the_errors_of_pruning_are_value_errors_too() -> None:
    scope = Scope({"a": (10,)})
    with pytest.raises(ValueError, match="sparsity"):
        prune({"a": torch.randn(10)}, Mask.dense(scope), 2)
    with pytest.raises(ValueError, match="no score"):
        prune({}, Mask.dense(scope), 0.5)


def test_an_unknown_way_across_is_met_with_the_nearest_one() -> None:
    scope = Scope({"a": (10,)})
    with pytest.raises(UnknownName, match="did you mean 'layer'"):
        prune({"a": torch.randn(10)}, Mask.dense(scope), 0.5, across="layers")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("sparsity", "example"),
    [
        (90, "such as 0.9 for 90 %"),
        (62.5, "such as 0.625 for 62.5 %"),
        (-1, "such as 0.7"),
    ],
)
def test_a_percentage_is_answered_with_the_share(sparsity: float, example: str) -> None:
    with pytest.raises(SparsityError, match=re.escape(example)):
        survivors(sparsity, 10)
