"""Prunable: what `prune` takes of a file is what `draw` takes of the model that is built from it."""

from __future__ import annotations

import json
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
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
    MambaConfig,
    MambaForCausalLM,
    PreTrainedModel,
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


@pytest.mark.parametrize("kind", zoo.TEXT)
def test_prune_takes_what_draw_takes_of_texts(kind: str, tmp_path: Path) -> None:
    drawn = text.load(str(zoo.text(tmp_path, kind)), labels=3, seed=0).scope
    pruned, _ = prunable(Checkpoint.open(tmp_path).parts)
    assert pruned.size == drawn.size
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
    }


@pytest.mark.parametrize(
    "kind", ["bert", "vit", "clip", "gpt2", "llama", "bart", "whisper", "mamba"]
)
def test_only_matrices_of_blocks_are_pruned_of_whole_models(
    kind: str, tmp_path: Path
) -> None:
    model, size = whole_models()[kind]
    model.save_pretrained(tmp_path)
    scope, left_out = prunable(Checkpoint.open(tmp_path).parts)
    assert scope.size == size
    assert soup.Scope.of(model).size == size
    assert not any("bias" in name or "token" in name or "embed" in name for name in scope)
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
