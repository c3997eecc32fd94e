"""Scope: which parameters may be pruned."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from instant_soup.core.errors import ScopeError
from instant_soup.core.scope import Scope


class Small(nn.Module):
    """A body, an embedding and a head, without forward: a scope only reads names."""

    def __init__(self) -> None:
        super().__init__()
        self.tokens = nn.Embedding(11, 4)
        self.norm = nn.LayerNorm(4)
        self.body = nn.Sequential(nn.Linear(4, 6), nn.Linear(6, 4, bias=False))
        self.head = nn.Linear(4, 2)


def test_the_matrices_of_a_model_are_in_scope_in_its_own_order() -> None:
    assert Scope.of(Small()).shapes == {"body.0.weight": (6, 4), "body.1.weight": (4, 6)}
    assert list(Scope.of(Small())) == ["body.0.weight", "body.1.weight"]


def test_stacks_and_convolutions_are_in_scope_and_vectors_are_not() -> None:
    model = nn.Module()
    model.experts = nn.Parameter(torch.zeros(3, 4, 5))
    model.filters = nn.Conv2d(2, 3, 5)
    model.scale = nn.Parameter(torch.zeros(4))
    assert Scope.of(model).shapes == {
        "experts": (3, 4, 5),
        "filters.weight": (3, 2, 5, 5),
    }


class Thin(nn.Module):
    """Two layers of which each has a matrix for every step of time, as state-space models do."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList(nn.Sequential(nn.Linear(4, 256)) for _ in range(2))


def test_what_is_unusual_is_warned_of_once_for_all_layers() -> None:
    with pytest.warns(UserWarning, match="unusual") as warned:
        Scope.of(Thin())

    (warning,) = warned
    assert "layers.*.*.weight, a matrix 64 times as long as wide, 256 x 4;" in str(
        warning.message
    )


@pytest.mark.filterwarnings("error")
def test_whoever_says_what_is_meant_is_not_warned() -> None:
    assert len(Scope.of(Thin(), keep_dense=["layers.1.*"])) == 1


def test_fused_attention_projections_are_in_scope() -> None:
    scope = Scope.of(nn.MultiheadAttention(4, 2))
    assert scope.shapes == {"in_proj_weight": (12, 4), "out_proj.weight": (4, 4)}


def test_a_tied_matrix_is_listed_once_under_its_first_name() -> None:
    model = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4))
    model[1].weight = model[0].weight
    scope = Scope.of(model)
    assert scope.shapes == {"0.weight": (4, 4)}
    assert scope.size == 16


@pytest.mark.parametrize("embedding_first", [True, False])
def test_a_matrix_tied_to_an_embedding_is_not_in_scope(embedding_first: bool) -> None:
    """Whichever of its two names torch lists it under."""
    model = nn.Module()
    parts = {
        "tokens": nn.Embedding(5, 4),
        "out": nn.Linear(4, 5),
        "body": nn.Linear(4, 4),
    }
    for name in (
        ("tokens", "out", "body") if embedding_first else ("body", "out", "tokens")
    ):
        model.add_module(name, parts[name])
    parts["out"].weight = parts["tokens"].weight
    first = next(name for name, _ in model.named_parameters())
    assert first == ("tokens.weight" if embedding_first else "body.weight")
    assert list(Scope.of(model)) == ["body.weight"]


def test_embeddings_of_any_name_stay_dense_even_without_patterns() -> None:
    assert list(Scope.of(Small(), keep_dense=())) == [
        "body.0.weight",
        "body.1.weight",
        "head.weight",
    ]


def test_frozen_parameters_are_not_in_scope() -> None:
    model = Small()
    model.body[0].weight.requires_grad_(False)
    assert list(Scope.of(model)) == ["body.1.weight"]


def test_patterns_keep_what_they_match_dense() -> None:
    assert list(Scope.of(Small(), keep_dense=("*.1.*",))) == [
        "body.0.weight",
        "head.weight",
    ]
    assert list(Scope.of(Small(), keep_dense=("head.weight", "body.0.weight"))) == [
        "body.1.weight"
    ]


@pytest.mark.parametrize("name", ["pos_embedding", "lm_head_proj", "classifier_out"])
def test_the_usual_names_of_embeddings_and_heads_stay_dense_by_default(name: str) -> None:
    model = Small()
    model.register_parameter(name, nn.Parameter(torch.zeros(3, 3)))
    assert name not in Scope.of(model)


def test_a_model_with_nothing_to_prune_is_refused_and_named() -> None:
    with pytest.raises(ScopeError, match=r"Small.*keep_dense=\('\*',\)"):
        Scope.of(Small(), keep_dense=("*",))
    with pytest.raises(ScopeError, match="LayerNorm"):
        Scope.of(nn.LayerNorm(4))


def test_an_empty_scope_is_refused() -> None:
    with pytest.raises(ScopeError, match="empty"):
        Scope({})


def test_a_parameter_without_weights_is_refused() -> None:
    with pytest.raises(ScopeError, match=r"'a' has shape \(3, 0\)"):
        Scope({"a": (3, 0)})


def test_sizes_count_the_weights() -> None:
    scope = Scope({"a": (3, 5), "b": (7,), "c": (2, 2, 2)})
    assert (scope.numel("a"), scope.numel("b"), scope.numel("c"), scope.size) == (
        15,
        7,
        8,
        30,
    )
    assert repr(scope) == "Scope(3 parameters, 30 weights)"


def test_scopes_are_equal_when_names_shapes_and_order_are() -> None:
    scope = Scope({"a": (2, 3), "b": (4,)})
    assert scope == Scope({"a": (2, 3), "b": (4,)})
    assert hash(scope) == hash(Scope({"a": (2, 3), "b": (4,)}))
    for other in (
        {"b": (4,), "a": (2, 3)},
        {"a": (3, 2), "b": (4,)},
        {"a": (2, 3), "c": (4,)},
        {"a": (2, 3)},
    ):
        assert scope != Scope(other)
    assert scope != {"a": (2, 3), "b": (4,)}


def test_a_scope_does_not_follow_the_mapping_it_was_made_from() -> None:
    shapes: dict[str, tuple[int, ...]] = {"a": (2, 3)}
    scope = Scope(shapes)
    shapes["b"] = (4,)
    assert list(scope) == ["a"]
    with pytest.raises(TypeError):
        scope.shapes["b"] = (4,)  # type: ignore[index]


def test_shapes_may_come_as_lists_or_torch_sizes() -> None:
    scope = Scope({"a": [2, 3], "b": torch.zeros(4).shape})  # type: ignore[dict-item]
    assert scope == Scope({"a": (2, 3), "b": (4,)})


def test_what_another_scope_has_otherwise_is_named() -> None:
    scope = Scope({"a": (2, 3), "b": (4, 5)})
    assert scope.difference(Scope({"a": (2, 3), "b": (4, 5)})) == ""
    assert scope.difference(Scope({"a": (2, 3)})) == "has no 'b' in scope"
    wider = Scope({"a": (2, 3), "b": (4, 6)})
    assert scope.difference(wider) == "has 'b' of shape (4, 6) and not (4, 5)"
    more = Scope({"a": (2, 3), "b": (4, 5), "c": (1, 1)})
    assert scope.difference(more) == "has 'c' in scope, too"
    turned = Scope({"b": (4, 5), "a": (2, 3)})
    assert scope.difference(turned) == "has them in another order"
