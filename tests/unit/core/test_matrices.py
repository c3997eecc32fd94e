"""Matrices: what is a matrix of weights, by where it stands, its dimensions and its name."""

from __future__ import annotations

import pytest
from torch import nn

from instant_soup.core.names.matrices import VECTOR, is_in_block, left_out, role, unusual
from instant_soup.core.scope import Scope

BLOCK = {"h.0.attn.c_attn.weight": (8, 24)}
LEFT_OUT = {
    # biases
    "model.layers.0.mlp.experts.gate_up_proj_bias": ((4, 16), "bias"),
    "layer.0.rel_attn.r_w_bias": ((4, 8), "bias"),
    "attn.bias_k": ((1, 1, 8), VECTOR),
    "blocks.0.attn.bias_v": ((2, 8), "bias"),
    "h.0.attn.bias": ((1, 1, 16, 16), "bias"),
    "encoder.block.0.layer.0.SelfAttention.relative_attention_bias.weight": (
        (32, 8),
        "bias",
    ),
    "layers.0.blocks.1.attention.relative_position_bias.relative_position_bias_table": (
        (49, 4),
        "bias",
    ),
    "final_logits_bias": ((1, 50265), "bias"),
    # tokens and vectors
    "vit.embeddings.cls_token": ((1, 1, 8), VECTOR),
    "class_token": ((1, 1, 8), VECTOR),
    "transformer.mask_emb": ((1, 1, 8), VECTOR),
    "register_tokens": ((1, 4, 8), "token"),
    "blocks.0.query_tokens": ((1, 4, 8), "token"),
    "model.layers.0.mlp.shared_expert_gate.weight": ((1, 8), VECTOR),
    "encoder.layers.0.layer_scale": ((8,), VECTOR),
    # embeddings
    "model.shared.weight": ((99, 8), "embedding"),
    "transformer.wpe.weight": ((64, 8), "embedding"),
    "visual.positional_embedding": ((50, 8), "embedding"),
    "model.embed_tokens.weight": ((99, 8), "embedding"),
    "encoder.layer.0.attention.self.distance_embedding.weight": ((99, 8), "embedding"),
    "vit.embeddings.patch_embeddings.projection.weight": ((8, 3, 4, 4), "embedding"),
    # heads, under every name
    "output.weight": ((99, 8), "head"),
    "transformer.output_layer.weight": ((99, 8), "head"),
    "proj_out.weight": ((99, 8), "head"),
    "lm_head.weight": ((99, 8), "head"),
    "score.weight": ((3, 8), "head"),
    "classifier.0.weight": ((3, 8), "head"),
    "classifier.out_proj.weight": ((3, 8), "head"),
    "heads.0.dense.weight": ((3, 8), "head"),
    "cls.predictions.transform.dense.weight": ((8, 8), "head"),
    "logits_proj.weight": ((3, 8), "head"),
    # what else stands around the blocks
    "bert.pooler.dense.weight": ((8, 8), "pooler"),
    "visual_projection.weight": ((8, 8), "outside of the blocks"),
    "proj": ((8, 8), "outside of the blocks"),
    # states, routers, norms, scales, convolutions
    "backbone.layers.0.mixer.A_log": ((16, 4), "state"),
    "backbone.layers.0.mixer.conv1d.weight": ((16, 1, 4), "a convolution"),
    "model.layers.0.mlp.gate.weight": ((4, 8), "router"),
    "model.layers.0.block_sparse_moe.router.layer.weight": ((4, 8), "router"),
    "encoder.block.1.layer.1.mlp.router.classifier.weight": ((4, 8), "router"),
    "transformer.blocks.0.ffn.router.layer.weight": ((8, 8), "router"),
    "model.layers.0.feed_forward.router.weight": ((4, 8), "router"),
    "model.layers.0.mlp.gate.proj.weight": ((4, 8), "router"),
    "model.layers.0.mlp.gate.wg.weight": ((4, 8), "router"),
    "model.layers.0.odd_norm.weight": ((4, 4), "norm"),
    "model.layers.0.mlp.down_proj.weight_scale": ((4, 4), "scale"),
    "encoder.layer.0.conv.conv.weight": ((8, 8, 3), "a convolution"),
}
MATRICES = {
    "model.layers.0.mlp.experts.gate_up_proj": (4, 16, 8),
    "model.layers.10.self_attn.qkv_proj.weight": (24, 8),
    "model.layers.0.mlp.gate.proj.weight": (24, 8),
    "model.layers.0.mlp.gate_proj.weight": (24, 8),
    "visual.transformer.resblocks.0.attn.in_proj_weight": (24, 8),
    "funnel.encoder.blocks.0.1.attention.q_head.weight": (8, 8),
    "h.0.multi_head_attention.Wq.weight": (8, 8),
    "decoder.layers.0.multihead_attn.out_proj.weight": (8, 8),
    "transformer.layer.0.rel_attn.q": (8, 2, 4),
    "encoder.layers.encoder_layer_0.mlp.0.weight": (16, 8),
    "blocks.0.norm1.linear.weight": (48, 8),
    "encoder.layer.0.attention.self.pos_proj.weight": (8, 8),
    "transformer.encoder.layers.0.attention.query.weight": (8, 8, 1),
}


@pytest.mark.parametrize("name", LEFT_OUT)
def test_what_is_no_matrix_of_a_block_says_what_it_is(name: str) -> None:
    shape, reason = LEFT_OUT[name]
    assert left_out({**BLOCK, name: shape}).get(name, "") == reason


@pytest.mark.parametrize("name", MATRICES)
def test_a_matrix_of_a_block_is_one_whatever_stands_higher_up_in_its_name(
    name: str,
) -> None:
    assert left_out({**BLOCK, name: MATRICES[name]}) == {}
    assert is_in_block(name)


def test_the_pooler_is_in_where_it_is_asked_for() -> None:
    shapes = {**BLOCK, "bert.pooler.dense.weight": (8, 8), "classifier.weight": (2, 8)}
    assert left_out(shapes, pooler=True) == {"classifier.weight": "head"}


def test_a_model_without_blocks_gives_all_but_embeddings_and_heads() -> None:
    shapes = {
        "0.weight": (8, 4),
        "fc.weight": (4, 8),
        "filters.weight": (3, 2, 5, 5),
        "head.weight": (2, 4),
    }
    assert left_out(shapes) == {"head.weight": "head"}


def test_a_model_of_convolutions_gives_its_convolutions() -> None:
    shapes = {
        "layer1.0.conv1.weight": (8, 8, 3, 3),
        "layer1.0.downsample.0.weight": (8, 8, 1, 1),
        "fc.weight": (2, 8),
    }
    assert left_out(shapes) == {"fc.weight": "outside of the blocks"}


def test_a_scale_of_one_row_is_a_vector() -> None:
    assert role("layers.0.attn.temperature", (8, 1, 1)) == VECTOR
    assert role("layers.0.mlp.fc.weight", (8, 8)) == ""


def test_unusual_matrices_are_pointed_at() -> None:
    assert unusual("layers.0.mlp.experts.gate_up_proj", (8, 64, 32)) == ""
    assert unusual("layers.0.mlp.fc1.weight", (3072, 768)) == ""
    assert unusual("layers.0.block_sparse_moe.input_linear.weight", (8, 64, 32)) == ""
    assert (
        unusual("layer.0.rel_attn.q", (64, 4, 16))
        == "a stack of matrices that are no experts, 64 x 4 x 16"
    )
    assert (
        unusual("layers.0.mixer.dt_proj.weight", (2048, 16))
        == "a matrix 128 times as long as wide, 2048 x 16"
    )


def test_patterns_of_ones_own_take_matrices_outside_of_blocks_in_but_no_biases() -> None:
    layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
    model = nn.ModuleDict(
        {
            "encoder": nn.TransformerEncoder(layer, 2),
            "fc": nn.Linear(8, 8),
            "head": nn.Linear(8, 2),
        }
    )
    inside = [
        name for name, p in model.encoder.named_parameters(prefix="encoder") if p.ndim > 1
    ]
    assert [*Scope.of(model)] == inside
    assert [*Scope.of(model, keep_dense=("head*",))] == [*inside, "fc.weight"]


def test_keys_that_attention_adds_are_biases() -> None:
    assert "bias_k" not in Scope.of(nn.MultiheadAttention(4, 2, add_bias_kv=True))
