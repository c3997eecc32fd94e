"""Mask: valid from birth, never changes, and a plain Boolean algebra."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from instant_soup.core.errors import ScopeError
from instant_soup.core.mask import Mask
from instant_soup.core.scope import Scope

SHAPES = {"a": (3, 5), "b": (17,), "c": (2, 2, 3)}


def flags(scope: Scope, seed: int, share: float = 0.5) -> dict[str, Tensor]:
    dice = torch.Generator().manual_seed(seed)
    return {
        name: torch.rand(shape, generator=dice) < share
        for name, shape in scope.shapes.items()
    }


def drawn(seed: int, share: float = 0.5) -> Mask:
    scope = Scope(SHAPES)
    return Mask(scope, flags(scope, seed, share))


def equal(mask: Mask, wanted: dict[str, Tensor]) -> bool:
    return list(mask) == list(wanted) and all(
        torch.equal(mask[name], wanted[name]) for name in wanted
    )


# immutability


def test_writing_to_a_tensor_of_the_mask_changes_nothing() -> None:
    mask = drawn(0)
    before, digest = (
        {name: mask[name].clone() for name in mask},
        Mask(mask.scope, dict(mask)).digest,
    )
    for name in mask:
        mask[name].logical_not_()
        mask[name].fill_(True)
    assert equal(mask, before)
    assert mask.digest == digest


def test_writing_to_the_packed_bits_changes_nothing() -> None:
    mask = drawn(0)
    before = {name: mask[name].clone() for name in mask}
    for name in mask:
        mask.packed(name).fill_(255)
    assert equal(mask, before)


def test_writing_to_what_a_mask_was_made_from_changes_nothing() -> None:
    scope = Scope(SHAPES)
    kept = flags(scope, 0)
    mask = Mask(scope, kept)
    packed = {name: mask.packed(name) for name in mask}
    copy = Mask.from_packed(scope, packed)
    before = {name: tensor.clone() for name, tensor in kept.items()}
    for name in scope:
        kept[name].logical_not_()
        packed[name].fill_(0)
    assert equal(mask, before)
    assert equal(copy, before)


def test_a_mask_takes_no_new_tensor() -> None:
    with pytest.raises(TypeError):
        drawn(0)["a"] = torch.ones(3, 5, dtype=torch.bool)  # type: ignore[index]


def test_combining_masks_leaves_them_as_they_were() -> None:
    first, second = drawn(0), drawn(1)
    before = first.digest, second.digest
    for how in (Mask.__and__, Mask.__or__, Mask.__xor__):
        how(first, second)
    assert (
        Mask(first.scope, dict(first)).digest,
        Mask(second.scope, dict(second)).digest,
    ) == before


# what it is


@pytest.mark.parametrize("size", range(1, 71))
def test_a_parameter_of_any_size_comes_back_as_it_went_in(size: int) -> None:
    scope = Scope({"a": (size,)})
    kept = flags(scope, size)
    mask = Mask(scope, kept)
    assert torch.equal(mask["a"], kept["a"])
    assert mask.kept == int(kept["a"].sum())
    assert torch.equal(Mask.from_packed(scope, {"a": mask.packed("a")})["a"], kept["a"])


def test_tensors_have_the_shape_of_their_parameter() -> None:
    mask = drawn(0)
    assert {name: tuple(mask[name].shape) for name in mask} == SHAPES
    assert {tensor.dtype for tensor in mask.values()} == {torch.bool}


def test_a_mask_of_any_memory_order_is_the_same_mask() -> None:
    scope = Scope({"a": (3, 5)})
    kept = flags(scope, 0)["a"]
    turned = kept.T.contiguous().T
    assert not turned.is_contiguous()
    assert Mask(scope, {"a": turned}) == Mask(scope, {"a": kept})


def test_counts_and_sparsity_are_those_of_the_tensors() -> None:
    scope = Scope(SHAPES)
    kept = flags(scope, 3)
    mask = Mask(scope, kept)
    counts = {name: int(tensor.sum()) for name, tensor in kept.items()}
    assert mask.kept_by_name == counts
    assert mask.kept == sum(counts.values())
    assert mask.sparsity == pytest.approx(1 - sum(counts.values()) / 44)


def test_a_parameter_of_which_nothing_is_kept_has_collapsed() -> None:
    kept = flags(Scope(SHAPES), 3)
    assert Mask(Scope(SHAPES), kept).collapsed == ()
    kept["a"].fill_(False)
    kept["c"].fill_(False)
    assert Mask(Scope(SHAPES), kept).collapsed == ("a", "c")
    kept["a"][2, 4] = True
    assert Mask(Scope(SHAPES), kept).collapsed == ("c",)


def test_a_dense_mask_keeps_every_weight() -> None:
    scope = Scope(SHAPES)
    assert equal(
        Mask.dense(scope),
        {name: torch.ones(shape).bool() for name, shape in SHAPES.items()},
    )
    assert Mask.dense(scope).sparsity == 0


def test_a_mask_is_a_mapping_in_the_order_of_its_scope() -> None:
    mask = drawn(0)
    assert list(mask) == ["a", "b", "c"]
    assert len(mask) == 3
    assert "a" in mask
    assert "d" not in mask
    assert mask.get("d") is None
    with pytest.raises(KeyError):
        mask["d"]


def test_a_mask_says_how_much_it_keeps() -> None:
    scope = Scope({"a": (2000,)})
    assert (
        repr(Mask(scope, {"a": torch.arange(2000) < 1500}))
        == "Mask(sparsity=0.2500, kept=1,500 of 2,000)"
    )


# algebra

OPERATIONS: list[
    tuple[Callable[[Mask, Mask], Mask], Callable[[Tensor, Tensor], Tensor]]
] = [
    (Mask.__and__, torch.logical_and),
    (Mask.__or__, torch.logical_or),
    (Mask.__xor__, torch.logical_xor),
]


@pytest.mark.parametrize(("ours", "torchs"), OPERATIONS, ids=["and", "or", "xor"])
def test_masks_combine_weight_by_weight(
    ours: Callable[[Mask, Mask], Mask], torchs: Callable[[Tensor, Tensor], Tensor]
) -> None:
    scope = Scope(SHAPES)
    first, second = flags(scope, 0), flags(scope, 1)
    wanted = {name: torchs(first[name], second[name]) for name in scope}
    got = ours(Mask(scope, first), Mask(scope, second))
    assert equal(got, wanted)
    assert got.kept == sum(int(tensor.sum()) for tensor in wanted.values())


@settings(deadline=None, max_examples=50)
@given(st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1, max_size=70))
def test_order_and_distance_are_those_of_the_weights(
    pairs: list[tuple[bool, bool]],
) -> None:
    scope = Scope({"a": (len(pairs),)})
    first, second = (
        Mask(scope, {"a": torch.tensor([pair[side] for pair in pairs])})
        for side in (0, 1)
    )
    assert (first <= second) == all(b for a, b in pairs if a)
    assert (first >= second) == all(a for a, b in pairs if b)
    assert first.distance(second) == sum(a != b for a, b in pairs) / len(pairs)
    assert first.distance(second) == second.distance(first)
    assert (first == second) == all(a == b for a, b in pairs)


def test_the_laws_of_sets_hold() -> None:
    a, b, c = drawn(0), drawn(1), drawn(2)
    dense = Mask.dense(a.scope)
    assert a & b <= a
    assert a <= a | b
    assert a | (b & c) == (a | b) & (a | c)
    assert (a ^ dense) & a == a ^ a
    assert ((a ^ dense) | (b ^ dense)) ^ dense == a & b
    assert (a ^ dense).kept == a.scope.size - a.kept


def test_a_mask_does_not_contain_one_that_keeps_another_weight() -> None:
    scope = Scope({"a": (2,)})
    first, second = (
        Mask(scope, {"a": torch.tensor(kept)}) for kept in ([True, False], [False, True])
    )
    assert not first <= second
    assert first.distance(second) == 1


def test_masks_of_different_scopes_do_not_combine() -> None:
    other = Mask.dense(Scope({"a": (3, 5), "b": (17,)}))
    for how in (Mask.__and__, Mask.__or__, Mask.__xor__, Mask.__le__, Mask.distance):
        with pytest.raises(ScopeError, match="different scopes"):
            how(drawn(0), other)


# digest


def test_equal_masks_have_equal_digests_and_hashes() -> None:
    assert drawn(0).digest == drawn(0).digest
    assert drawn(0) == drawn(0)
    assert len({drawn(0), drawn(0), drawn(1)}) == 2


def test_any_single_weight_changes_the_digest() -> None:
    scope = Scope({"a": (9,), "b": (3,)})
    digests = {Mask.dense(scope).digest}
    for name, shape in scope.shapes.items():
        for i in range(shape[0]):
            kept = {n: torch.ones(s).bool() for n, s in scope.shapes.items()}
            kept[name][i] = False
            digests.add(Mask(scope, kept).digest)
    assert len(digests) == 1 + 12


def test_the_same_bits_in_another_scope_are_another_mask() -> None:
    shapes = [
        {"a": (4, 4)},
        {"a": (16,)},
        {"b": (4, 4)},
        {"a": (8,), "b": (8,)},
        {"b": (8,), "a": (8,)},
    ]
    assert len({Mask.dense(Scope(each)).digest for each in shapes}) == len(shapes)


def test_a_mask_is_not_equal_to_its_tensors() -> None:
    mask = drawn(0)
    assert mask != dict(mask)


# errors


def test_a_missing_parameter_is_named() -> None:
    scope = Scope(SHAPES)
    kept = flags(scope, 0)
    del kept["b"]
    with pytest.raises(ScopeError, match=r"lacks 'b'.*\(17,\)"):
        Mask(scope, kept)


def test_a_foreign_parameter_is_named() -> None:
    scope = Scope(SHAPES)
    with pytest.raises(ScopeError, match="'head', which is not in scope"):
        Mask(scope, {**flags(scope, 0), "head": torch.ones(2).bool()})


@pytest.mark.parametrize(
    "wrong",
    [
        torch.ones(5, 3).bool(),
        torch.ones(15).bool(),
        torch.ones(3, 5),
        torch.ones(3, 5, dtype=torch.uint8),
    ],
)
def test_a_wrong_shape_or_dtype_is_named_with_what_was_expected(wrong: Tensor) -> None:
    scope = Scope(SHAPES)
    with pytest.raises(
        ScopeError, match=r"mask of 'a' is torch\..*expected torch.bool of shape \(3, 5\)"
    ):
        Mask(scope, {**flags(scope, 0), "a": wrong})


def packed_of(mask: Mask) -> dict[str, Tensor]:
    return {name: mask.packed(name) for name in mask}


def test_packed_bits_must_name_the_scope_in_order() -> None:
    packed = packed_of(drawn(0))
    scope = Scope(SHAPES)
    for wrong in (
        {**packed, "d": packed["a"]},
        {n: packed[n] for n in ("a", "b")},
        dict(reversed(packed.items())),
    ):
        with pytest.raises(ScopeError, match="the 3 of the scope in order"):
            Mask.from_packed(scope, wrong)


@pytest.mark.parametrize(
    "wrong",
    [
        torch.zeros(2),
        torch.zeros(3, dtype=torch.uint8),
        torch.zeros(1, 2, dtype=torch.uint8),
    ],
)
def test_packed_bits_of_a_wrong_kind_are_named(wrong: Tensor) -> None:
    with pytest.raises(
        ScopeError, match=r"packed mask of 'a' .* expected torch.uint8 of shape \(2,\)"
    ):
        Mask.from_packed(Scope(SHAPES), {**packed_of(drawn(0)), "a": wrong})


def test_packed_bits_past_the_end_are_refused() -> None:
    """They would be counted as survivors that no parameter has."""
    packed = packed_of(drawn(0))
    packed["b"][-1] |= 2
    with pytest.raises(ScopeError, match="'b' keeps weights past the end"):
        Mask.from_packed(Scope(SHAPES), packed)
