"""Prunable: what `prune` takes of a file is what `draw` takes of the model that is built from it."""

from __future__ import annotations

import json
import warnings
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import (
    BartConfig,
    BartForConditionalGeneration,
    BertConfig,
    BertForSequenceClassification,
    CLIPConfig,
    CLIPModel,
    DbrxConfig,
    DbrxForCausalLM,
    DeepseekV3Config,
    DeepseekV3ForCausalLM,
    GPT2Config,
    GPT2LMHeadModel,
    GraniteMoeConfig,
    GraniteMoeForCausalLM,
    JetMoeConfig,
    JetMoeForCausalLM,
    LlamaConfig,
    LlamaForCausalLM,
    Mamba2Config,
    Mamba2ForCausalLM,
    MambaConfig,
    MambaForCausalLM,
    PreTrainedModel,
    RwkvConfig,
    RwkvForCausalLM,
    SwitchTransformersConfig,
    SwitchTransformersForConditionalGeneration,
    ViTConfig,
    ViTForImageClassification,
    WhisperConfig,
    WhisperForConditionalGeneration,
)

import instant_soup as soup
from instant_soup.checkpoints.checkpoint import Checkpoint
from instant_soup.checkpoints.prunable import prunable
from instant_soup.core.errors import DataError
from instant_soup.models import text, vision

from ..models import zoo

BLOCKS = {
    "albert": 8192,
    "bert": 16384,
    "big_bird": 16384,
    "camembert": 16384,
    "canine": 32768,
    "convbert": 14528,
    "deberta": 20480,
    "deberta-v2": 16384,
    "distilbert": 16384,
    "electra": 16384,
    "fnet": 8192,
    "funnel": 18432,
    "longformer": 22528,
    "modernbert": 20480,
    "mpnet": 16384,
    "rembert": 16384,
    "roberta": 16384,
    "roformer": 16384,
    "xlm": 24576,
    "xlnet": 18432,
    "yoso": 16384,
    "bloom": 24576,
    "falcon": 21504,
    "gemma2": 18432,
    "gpt2": 24576,
    "gpt_bigcode": 21504,
    "gpt_neo": 24576,
    "gpt_neox": 16384,
    "gptj": 24576,
    "llama": 18432,
    "mistral": 18432,
    "mpt": 24576,
    "openai-gpt": 24576,
    "opt": 16384,
    "phi3": 18432,
    "qwen2": 18432,
    "qwen3": 18432,
    "gpt_oss": 55296,
    "mixtral": 55296,
    "qwen2_moe": 36864,
    "qwen3_moe": 30720,
    "bart": 40960,
    "mbart": 40960,
    "mt5": 49152,
    "t5": 40960,
    "umt5": 49152,
    "jamba": 86016,
    "qwen3_next": 36096,
    "zamba2": 50944,
}
"""How many weights the matrices of the blocks have, of each kind of text model, heads, tables and routers left out."""


def test_every_kind_of_text_model_has_its_count() -> None:
    assert BLOCKS.keys() == zoo.TEXT.keys()


@pytest.mark.parametrize("kind", zoo.TEXT)
def test_prune_takes_what_draw_takes_of_texts(kind: str, tmp_path: Path) -> None:
    drawn = text.load(str(zoo.text(tmp_path, kind)), labels=3, seed=0).scope
    pruned, _ = prunable(Checkpoint.open(tmp_path).parts)
    assert pruned.size == drawn.size == BLOCKS[kind]
    # whose files hold each expert by itself
    if kind not in zoo.EXPERTS and kind not in zoo.STATES:
        assert {*pruned} == {*drawn}


@pytest.mark.parametrize("kind", zoo.VISION)
def test_prune_takes_what_draw_takes_of_images(kind: str, tmp_path: Path) -> None:
    model = zoo.image_classifier(kind)
    model.save_pretrained(tmp_path)
    # under the names that files have
    pruned, _ = prunable(Checkpoint.open(tmp_path).parts)
    assert pruned.size == vision.scope_of(model, kind).size


SMALL = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 64,
}
BART = {"d_model": 32, "encoder_layers": 1, "decoder_layers": 1, "encoder_ffn_dim": 64, "decoder_ffn_dim": 64,
        "encoder_attention_heads": 4, "decoder_attention_heads": 4, "vocab_size": 40}  # fmt: skip
TOWERS = {
    "text_config": {**SMALL, "vocab_size": 50},
    "vision_config": {**SMALL, "image_size": 16, "patch_size": 8},
}


GRANITE = {
    **SMALL, "vocab_size": 40, "num_key_value_heads": 2, "num_local_experts": 4, "num_experts_per_tok": 2,
}  # fmt: skip
JET = {
    "vocab_size": 40, "hidden_size": 32, "num_hidden_layers": 2, "num_key_value_heads": 2, "kv_channels": 8,
    "num_local_experts": 4, "num_experts_per_tok": 2, "intermediate_size": 64,
}  # fmt: skip
SWITCH = {
    "vocab_size": 40, "d_model": 32, "d_kv": 8, "d_ff": 64, "num_layers": 2, "num_decoder_layers": 2, "num_heads": 4,
    "num_experts": 4, "num_sparse_encoder_layers": 1, "num_sparse_decoder_layers": 1,
}  # fmt: skip
DBRX = {
    "d_model": 32, "n_heads": 4, "n_layers": 2, "max_seq_len": 64, "vocab_size": 40,
    "ffn_config": {"ffn_hidden_size": 64, "moe_num_experts": 4, "moe_top_k": 2},
    "attn_config": {"kv_n_heads": 2, "clip_qkv": 8.0, "rope_theta": 1e4},
}  # fmt: skip
DEEPSEEK = {
    **SMALL, "vocab_size": 40, "num_key_value_heads": 4, "n_routed_experts": 4, "moe_intermediate_size": 32,
    "num_experts_per_tok": 2, "n_group": 1, "topk_group": 1, "q_lora_rank": 16, "kv_lora_rank": 8,
    "qk_rope_head_dim": 4, "qk_nope_head_dim": 4, "v_head_dim": 8, "first_k_dense_replace": 1,
}  # fmt: skip
STATE = {"hidden_size": 32, "num_hidden_layers": 2, "vocab_size": 40}


def whole_models() -> dict[str, tuple[PreTrainedModel, int]]:
    """Models with all that stands around their blocks, and how many weights their blocks hold."""
    layer = 4 * 32 * 32 + 2 * 32 * 64
    return {
        "bert": (
            BertForSequenceClassification(BertConfig(**SMALL, vocab_size=40)),
            2 * layer,
        ),
        "vit": (
            ViTForImageClassification(ViTConfig(**SMALL, image_size=16, patch_size=8)),
            2 * layer,
        ),
        "clip": (CLIPModel(CLIPConfig(**TOWERS, projection_dim=16)), 4 * layer),
        "gpt2": (
            GPT2LMHeadModel(GPT2Config(n_embd=32, n_layer=2, n_head=4, vocab_size=40)),
            2 * 12 * 32 * 32,
        ),
        "llama": (
            LlamaForCausalLM(LlamaConfig(**SMALL, vocab_size=40)),
            2 * (layer + 32 * 64),
        ),
        "bart": (
            BartForConditionalGeneration(BartConfig(**BART)),
            2 * layer + 4 * 32 * 32,
        ),
        "whisper": (
            WhisperForConditionalGeneration(
                WhisperConfig(**BART, num_mel_bins=8, pad_token_id=0)
            ),
            2 * layer + 4 * 32 * 32,
        ),
        "mamba": (
            MambaForCausalLM(
                MambaConfig(
                    hidden_size=32, num_hidden_layers=2, vocab_size=40, state_size=4
                )
            ),
            2 * (128 * 32 + 10 * 64 + 64 * 2 + 32 * 64),
        ),
        "mamba2": (
            Mamba2ForCausalLM(
                Mamba2Config(**STATE, state_size=4, num_heads=4, head_dim=16, n_groups=1)
            ),
            2 * (140 * 32 + 32 * 64),
        ),
        "rwkv": (
            RwkvForCausalLM(
                RwkvConfig(**STATE, attention_hidden_size=32, intermediate_size=64)
            ),
            2 * (5 * 32 * 32 + 2 * 32 * 64),
        ),
        # one of two layers of each half has four experts, and every one a router
        "switch": (
            SwitchTransformersForConditionalGeneration(
                SwitchTransformersConfig(**SWITCH)
            ),
            (2 + 4) * 4 * 32 * 32 + 2 * 2 * 32 * 64 + 2 * 4 * 2 * 32 * 64,
        ),
        # experts in attention, too
        "jetmoe": (
            JetMoeForCausalLM(JetMoeConfig(**JET)),
            2 * (4 * (128 + 64) * 32 + 4 * 2 * 16 * 32 + 32 * 32),
        ),
        "dbrx": (
            DbrxForCausalLM(DbrxConfig(**DBRX)),
            2 * ((64 + 32) * 32 + 3 * 4 * 64 * 32),
        ),
        "granitemoe": (
            GraniteMoeForCausalLM(GraniteMoeConfig(**GRANITE)),
            2 * (2 * (32 + 16) * 32 + 4 * 3 * 64 * 32),
        ),
        # the first layer is dense, the second has four experts and one that all share
        "deepseek": (
            DeepseekV3ForCausalLM(DeepseekV3Config(**DEEPSEEK)),
            2 * (16 * 32 + 32 * 16 + 12 * 32 + 48 * 8 + 32 * 32)
            + 3 * 64 * 32
            + 5 * 3 * 32 * 32,
        ),
    }


KINDS = (
    "bert", "vit", "clip", "gpt2", "llama", "bart", "whisper", "mamba", "mamba2", "rwkv", "switch", "jetmoe", "dbrx",
    "granitemoe", "deepseek",
)  # fmt: skip


def test_prune_warns_of_what_is_unusual_unless_it_is_named(tmp_path: Path) -> None:
    matrices = {f"layers.{i}.mixer.dt_proj.weight": torch.ones(256, 4) for i in range(2)}
    save_file(matrices, tmp_path / "model.safetensors")
    parts = Checkpoint.open(tmp_path).parts
    with pytest.warns(UserWarning, match="64 times as long as wide, 256 x 4"):
        prunable(parts)

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        scope, _ = prunable(parts, include=["*dt_proj*"])
    assert len(scope) == 2


@pytest.mark.parametrize("kind", KINDS)
def test_only_matrices_of_blocks_are_pruned_of_whole_models(
    kind: str, tmp_path: Path
) -> None:
    model, size = whole_models()[kind]
    model.save_pretrained(tmp_path)
    scope, left_out = prunable(Checkpoint.open(tmp_path).parts)
    assert scope.size == size
    assert soup.Scope.of(model).size == size
    words = ("bias", "token", "embed", "router")
    assert not any(word in name for word in words for name in scope)
    assert left_out


# quantised


@pytest.fixture
def bert(tmp_path: Path) -> Path:
    return zoo.text(tmp_path, "bert")


@pytest.mark.parametrize(
    "stated",
    [
        {"quant_method": "fp8", "weight_block_size": [128, 128]},
        {"quant_method": "gptq", "bits": 4},
        {"quant_method": "bitsandbytes", "load_in_4bit": True},
        {
            "quant_method": "compressed-tensors",
            "config_groups": {"group_0": {"weights": {"num_bits": 8}}},
        },
        {"bits": 8},
    ],
)
def test_a_configuration_that_says_quantised_is_refused_by_prune_and_by_draw(
    stated: dict[str, object], bert: Path
) -> None:
    config = json.loads((bert / "config.json").read_text())
    (bert / "config.json").write_text(
        json.dumps(config | {"quantization_config": stated})
    )
    with pytest.raises(DataError, match="is quantised"):
        soup.prune_checkpoint(bert, bert.parent / "out", 0.5)
    with pytest.raises(DataError, match="is quantised"):
        text.load(str(bert), labels=3, seed=0)


def test_zeros_alone_do_not_make_a_checkpoint_quantised(
    bert: Path, tmp_path: Path
) -> None:
    config = json.loads((bert / "config.json").read_text())
    stated = {
        "quant_method": "compressed-tensors",
        "config_groups": {},
        "format": "dense",
    }
    (bert / "config.json").write_text(
        json.dumps(config | {"quantization_config": stated})
    )
    assert soup.prune_checkpoint(bert, tmp_path / "out", 0.5).kept


@pytest.mark.parametrize(
    "sign",
    ["weight_scale_inv", "weight_scale", "qweight", "SCB", "absmax", "weight_packed"],
)
def test_tensors_that_belong_to_codes_are_refused_without_a_configuration(
    sign: str, bert: Path, tmp_path: Path
) -> None:
    weights = load_file(bert / "model.safetensors")
    weights[f"bert.encoder.layer.0.output.dense.{sign}"] = torch.ones(2, 2)
    save_file(weights, tmp_path / "alone.safetensors")
    with pytest.raises(
        DataError, match=f"dense.{sign}' says that the weights beside it are quantised"
    ):
        prunable(Checkpoint.open(tmp_path / "alone.safetensors").parts)


def test_weights_of_8_bits_are_refused(bert: Path, tmp_path: Path) -> None:
    weights = load_file(bert / "model.safetensors")
    name = "bert.encoder.layer.0.output.dense.weight"
    save_file(
        {name: weights[name].to(torch.float8_e4m3fn)}, tmp_path / "alone.safetensors"
    )
    with pytest.raises(
        DataError, match="holds numbers of 8 bits, which are codes beside a scale"
    ):
        prunable(Checkpoint.open(tmp_path / "alone.safetensors").parts)
