"""Weights: lazy tensors, means and the way between two snapshots."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

import instant_soup as soup
from instant_soup.core.errors import ScopeError, TicketError
from instant_soup.core.task import Base
from instant_soup.core.weights import Elementwise, Lazy, digest, lerp, mean


def test_a_lazy_tensor_is_computed_when_it_is_asked_for_and_not_before() -> None:
    asked: list[str] = []
    lazy = Lazy(
        ["a", "b"], lambda name: torch.tensor(float(asked.append(name) or len(asked)))
    )
    assert list(lazy) == ["a", "b"]
    assert len(lazy) == 2
    assert "a" in lazy
    assert asked == []
    assert lazy["b"].item() == 1
    assert lazy["b"].item() == 2
    assert asked == ["b", "b"]


def test_a_lazy_mapping_computes_no_name_that_it_does_not_list() -> None:
    lazy = Lazy(["a"], lambda _: torch.zeros(1))
    assert "b" not in lazy
    with pytest.raises(KeyError):
        lazy["b"]


def test_elementwise_applies_its_function_to_what_the_source_holds_now() -> None:
    source = {"a": torch.tensor([-1.0, 2.0])}
    lazy = Elementwise(source, torch.abs)
    assert lazy["a"].tolist() == [1.0, 2.0]
    source["a"][0] = -5
    assert lazy["a"].tolist() == [5.0, 2.0]
    assert source["a"].tolist() == [-5.0, 2.0]


def test_elementwise_gives_no_gradient() -> None:
    assert not Elementwise({"a": torch.nn.Parameter(torch.ones(2))}, torch.abs)[
        "a"
    ].requires_grad


def test_the_mean_is_that_of_each_weight() -> None:
    bowls = [
        {"a": torch.tensor([1.0, 2.0])},
        {"a": torch.tensor([3.0, 6.0])},
        {"a": torch.tensor([5.0, 1.0])},
    ]
    assert mean(bowls)["a"].tolist() == [3.0, 3.0]


def test_the_mean_of_weights_pruned_alike_is_pruned_alike() -> None:
    bowls = [{"a": torch.randn(50) * (torch.arange(50) % 3 > 0)} for _ in range(3)]
    assert mean(bowls)["a"][::3].tolist() == [0.0] * 17


def test_integer_buffers_are_taken_from_the_first() -> None:
    bowls = [{"n": torch.tensor(3)}, {"n": torch.tensor(10)}]
    assert mean(bowls)["n"].item() == 3
    assert lerp(*bowls, 0.9)["n"].item() == 3


def test_the_mean_is_a_copy_even_of_one_and_even_of_integers() -> None:
    bowl = {"a": torch.ones(2), "n": torch.tensor(3)}
    got = mean([bowl])
    got["a"].zero_()
    got["n"].zero_()
    assert bowl["a"].tolist() == [1.0, 1.0]
    assert bowl["n"].item() == 3


def test_weights_of_other_names_are_not_averaged() -> None:
    with pytest.raises(ScopeError, match="'b'"):
        mean([{"a": torch.ones(1)}, {"a": torch.ones(1), "b": torch.ones(1)}])


@pytest.mark.parametrize("share", [0.0, 0.25, 0.5, 1.0])
def test_lerp_goes_straight_from_start_to_end(share: float) -> None:
    start, end = {"a": torch.tensor([0.0, 4.0])}, {"a": torch.tensor([8.0, -4.0])}
    assert lerp(start, end, share)["a"].tolist() == [8 * share, 4 - 8 * share]


def test_a_digest_is_of_names_shapes_dtypes_and_bytes() -> None:
    base = {"a": torch.arange(4.0), "b": torch.zeros(2)}
    variants = [
        base,
        {**base, "a": torch.arange(4.0).view(2, 2)},
        {**base, "a": torch.arange(4.0).double()},
        {**base, "a": torch.arange(4.0).view(torch.int32)},
        {**base, "a": torch.tensor([0.0, 1.0, 2.0, 3.0000002])},
        {**base, "b": torch.tensor([0.0, -0.0])},
    ]
    digests = [digest(weights, ["a", "b"]) for weights in variants]
    assert (
        len({*digests, digest(base, ["b", "a"]), digest(base, ["a"])})
        == len(variants) + 2
    )


def test_a_digest_does_not_depend_on_memory_order_or_gradients() -> None:
    values = torch.arange(6.0).view(2, 3)
    turned = torch.nn.Parameter(values.T.contiguous().T)
    assert digest({"a": turned}, ["a"]) == digest({"a": values}, ["a"])


@pytest.mark.parametrize(
    "dtype", [torch.bfloat16, torch.float16, torch.int64, torch.bool], ids=str
)
def test_tensors_of_any_dtype_and_of_no_dimension_have_a_digest(
    dtype: torch.dtype,
) -> None:
    ones, zeros = torch.ones((), dtype=dtype), torch.zeros((), dtype=dtype)
    assert (
        digest({"a": ones}, ["a"])
        == digest({"a": ones.clone()}, ["a"])
        != digest({"a": zeros}, ["a"])
    )


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_a_ticket_of_a_checkpoint_of_16_bits_goes_into_it_as_it_is_stored(
    dtype: torch.dtype,
) -> None:
    """Tickets are drawn in float32, and transformers loads a checkpoint in the dtype that it is stored in."""
    torch.manual_seed(0)
    stored = nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 2)).to(dtype)
    loaded = copy.deepcopy(stored).float()
    scope = soup.Scope.of(loaded, keep_dense=())
    weights = dict(loaded.named_parameters())
    base = Base("stored", digest(weights, scope))
    scores = {name: weights[name].detach().abs() for name in scope}
    ticket = soup.Ticket(soup.prune(scores, soup.Mask.dense(scope), 0.5), {}, base)

    ticket.apply(stored)
    ticket.apply(loaded)
    for name in scope:
        zeroed = stored.get_parameter(name)
        assert not zeroed[~ticket.mask[name]].any()
        assert torch.equal(zeroed.float(), loaded.get_parameter(name))


def test_other_weights_of_16_bits_are_refused() -> None:
    torch.manual_seed(0)
    loaded = nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 2))
    scope = soup.Scope.of(loaded, keep_dense=())
    base = Base("full", digest(dict(loaded.named_parameters()), scope))
    ticket = soup.Ticket(soup.Mask.dense(scope), {}, base)

    # rounded on the way, and so no longer those that the ticket was drawn from
    with pytest.raises(TicketError, match=r"are others .*dtype=torch\.float32"):
        ticket.apply(copy.deepcopy(loaded).bfloat16())
