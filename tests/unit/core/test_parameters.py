"""Survey: what a model is made of, and the three denominators that people take sparsity of."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn
from transformers import (
    AutoModelForSequenceClassification,
    BertConfig,
    BertForSequenceClassification,
)

from instant_soup.core.parameters import ParameterFacts, Survey
from instant_soup.core.scope import Scope
from instant_soup.models import text


class Tied(nn.Module):
    """Two layers that are one, and a decoder that is the embedding."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(5, 4)
        self.layers = nn.ModuleList([nn.Linear(4, 4), nn.Linear(4, 4)])
        self.layers[1].weight = self.layers[0].weight
        self.decoder = nn.Linear(4, 5, bias=False)
        self.decoder.weight = self.embed.weight


def surveyed(model: nn.Module, keep_dense: tuple[str, ...] = ()) -> Survey:
    return Survey.of(model, Scope.of(model, keep_dense))


# parameters


def test_a_tensor_of_several_names_is_one_part_that_says_them() -> None:
    found = surveyed(Tied())
    assert list(found.parameters) == [
        "embed.weight",
        "layers.0.weight",
        "layers.0.bias",
        "layers.1.bias",
    ]
    assert found.parameters["layers.0.weight"] == ParameterFacts(
        (4, 4), prunable=True, trained=True, names=("layers.1.weight",)
    )
    assert found.parameters["embed.weight"].names == ("decoder.weight",)
    assert not found.parameters["embed.weight"].prunable
    assert found.parameters["layers.1.bias"].names == ()


def test_a_tied_tensor_is_counted_once() -> None:
    found = surveyed(Tied())
    assert (found.prunable, found.encoder, found.whole) == (
        16,
        16 + 4 + 4,
        5 * 4 + 16 + 4 + 4,
    )


def test_a_projection_of_three_in_one_matrix_is_fused_and_prunable() -> None:
    found = surveyed(nn.MultiheadAttention(4, 2))
    assert found.parameters["in_proj_weight"] == ParameterFacts(
        (12, 4), prunable=True, trained=True, fused=True
    )
    assert not found.parameters["out_proj.weight"].fused
    assert not found.parameters["in_proj_bias"].fused
    assert found.prunable == 12 * 4 + 4 * 4


@pytest.mark.parametrize("name", ["query_key_value", "qkv", "qkv_proj", "c_attn"])
def test_fused_projections_go_by_several_names(name: str) -> None:
    found = surveyed(nn.ModuleDict({name: nn.Linear(2, 6), "out_proj": nn.Linear(2, 2)}))
    assert [part for part, facts in found.parameters.items() if facts.fused] == [
        f"{name}.weight"
    ]


def test_a_frozen_parameter_is_no_part_of_the_scope_but_of_the_model() -> None:
    model = nn.Sequential(nn.Linear(2, 3), nn.Linear(3, 2))
    model[0].weight.requires_grad_(False)
    found = surveyed(model)
    assert found.parameters["0.weight"] == ParameterFacts(
        (3, 2), prunable=False, trained=False
    )
    assert found.parameters["1.weight"] == ParameterFacts(
        (2, 3), prunable=True, trained=True
    )
    assert (found.prunable, found.whole) == (6, 6 + 3 + 6 + 2)


# the three denominators


def test_the_encoder_is_the_stacks_that_hold_what_is_prunable() -> None:
    """Both towers count, whole; what stands beside them does not."""
    model = nn.ModuleDict(
        {
            "seen": nn.ModuleList([nn.Linear(2, 2), nn.LayerNorm(2)]),
            "read": nn.ModuleList([nn.Linear(3, 3)]),
            "words": nn.Embedding(7, 3),
            "frozen": nn.ModuleList([nn.LayerNorm(5)]),
            "head": nn.Linear(3, 2),
        }
    )
    found = surveyed(model, ("head.*",))
    assert found.prunable == 4 + 9
    assert found.encoder == (4 + 2) + (2 + 2) + (9 + 3)
    assert found.whole == found.encoder + 7 * 3 + 2 * 5 + (6 + 2)


def test_a_matrix_outside_of_any_stack_stands_for_itself() -> None:
    model = nn.ModuleDict({"proj": nn.Linear(4, 3), "norm": nn.LayerNorm(3)})
    found = surveyed(model)
    assert (found.prunable, found.encoder, found.whole) == (12, 12, 12 + 3 + 6)


WIDTH, WIDE, LAYERS = 32, 64, 2
MATRICES = 4 * WIDTH * WIDTH + 2 * WIDTH * WIDE
# biases of the six matrices, and two norms
BESIDES = 4 * WIDTH + WIDE + WIDTH + 4 * WIDTH


@pytest.mark.parametrize("pooler", [False, True])
def test_the_denominators_of_a_bert_are_what_its_sizes_say(
    tiny_bert: Path, pooler: bool
) -> None:
    loaded = text.load(str(tiny_bert), labels=2, seed=0, pooler=pooler)
    found = Survey.of(loaded.model, loaded.scope)
    extra = WIDTH * WIDTH if pooler else 0
    assert found.prunable == loaded.scope.size == LAYERS * MATRICES + extra
    assert found.encoder == LAYERS * (MATRICES + BESIDES) + extra
    assert found.whole == sum(
        parameter.numel() for parameter in loaded.model.parameters()
    )
    assert found.parameters["bert.pooler.dense.weight"].prunable == pooler
    assert found.prunable < found.encoder < found.whole


@pytest.mark.parametrize(
    ("pooler", "prunable"), [(False, 84_934_656), (True, 85_524_480)]
)
def test_bert_base_has_as_many_prunable_weights_as_published(
    pooler: bool, prunable: int
) -> None:
    """On the meta device: shapes without a single weight. 85,524,480 is Chen et al. (2020)."""
    with torch.device("meta"):
        model = AutoModelForSequenceClassification.from_config(BertConfig())
    assert isinstance(model, BertForSequenceClassification)
    found = Survey.of(model, Scope.of(model, pooler=pooler))
    assert found.prunable == prunable
    assert found.encoder == 85_054_464 + (589_824 if pooler else 0)
    assert 109.4e6 <= found.whole <= 109.6e6
