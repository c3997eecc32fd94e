"""Tiny decoders: seeded miniatures of language models that read letters, for tests. Nothing is pre-trained."""

from __future__ import annotations

import string
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Split
from transformers import (
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
    MixtralConfig,
    MixtralForCausalLM,
    PreTrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerFast,
    Qwen2MoeConfig,
    Qwen2MoeForCausalLM,
    Qwen3MoeConfig,
    Qwen3MoeForCausalLM,
)

LETTERS = ("<unk>", *string.ascii_lowercase, " ", ".", ",", "\n")
WIDTH = 32
LIMIT = 64  # tokens that a model reads at most


def _llama_like(layers: int, width: int) -> dict[str, Any]:
    """What the configurations of Llama and of its mixtures of experts have in common."""
    return {
        "vocab_size": len(LETTERS),
        "hidden_size": width,
        "num_hidden_layers": layers,
        "num_attention_heads": 2,
        "num_key_value_heads": 1,
        "max_position_embeddings": LIMIT,
        "bos_token_id": None,
        "eos_token_id": None,
    }


def llama(folder: Path, *, seed: int = 0, layers: int = 2, width: int = WIDTH) -> Path:
    """Save a miniature Llama into *folder*, and return it."""
    config = LlamaConfig(
        intermediate_size=2 * width,
        **_llama_like(layers, width),
    )

    return _save(folder, LlamaForCausalLM, config, seed)


def gpt2(folder: Path, *, seed: int = 0, layers: int = 2, width: int = WIDTH) -> Path:
    """Save a miniature GPT-2, whose matrices have inputs first, into *folder*, and return it."""
    config = GPT2Config(
        vocab_size=len(LETTERS),
        n_embd=width,
        n_layer=layers,
        n_head=2,
        n_positions=LIMIT,
        bos_token_id=None,
        eos_token_id=None,
        resid_pdrop=0.0,
        embd_pdrop=0.0,
        attn_pdrop=0.0,
    )

    return _save(folder, GPT2LMHeadModel, config, seed)


def mixtral(
    folder: Path, *, seed: int = 0, layers: int = 2, width: int = WIDTH, experts: int = 4
) -> Path:
    """Save a miniature mixture of experts, whose experts are stacked in one tensor, into *folder*, and return it."""
    config = MixtralConfig(
        intermediate_size=width,
        num_local_experts=experts,
        num_experts_per_tok=2,
        **_llama_like(layers, width),
    )

    return _save(folder, MixtralForCausalLM, config, seed)


def qwen2_moe(
    folder: Path, *, seed: int = 0, layers: int = 2, width: int = WIDTH, experts: int = 4
) -> Path:
    """Save a miniature whose experts, one of them shared, follow a dense block into *folder*, and return it."""
    config = Qwen2MoeConfig(
        intermediate_size=2 * width,
        moe_intermediate_size=width // 2,
        shared_expert_intermediate_size=width,
        num_experts=experts,
        num_experts_per_tok=2,
        mlp_only_layers=[0],
        **_llama_like(layers, width),
    )

    return _save(folder, Qwen2MoeForCausalLM, config, seed)


def qwen3_moe(
    folder: Path, *, seed: int = 0, layers: int = 2, width: int = WIDTH, experts: int = 12
) -> Path:
    """Save a miniature with more experts than digits, so that their order is no order of names, into *folder*."""
    # its class does not annotate all that it takes
    facts = {**_llama_like(layers, width), "head_dim": width // 2}
    config = Qwen3MoeConfig(
        intermediate_size=2 * width,
        moe_intermediate_size=width // 2,
        num_experts=experts,
        num_experts_per_tok=2,
        **facts,
    )

    return _save(folder, Qwen3MoeForCausalLM, config, seed)


def tokenizer() -> PreTrainedTokenizerFast:
    """A tokenizer that makes one token of each letter."""
    unknown = LETTERS[0]
    ids = {letter: number for number, letter in enumerate(LETTERS)}
    model = Tokenizer(WordLevel(ids, unk_token=unknown))
    # WordLevel looks words up, so each letter has to become a word first
    model.pre_tokenizer = Split("", "isolated")
    return PreTrainedTokenizerFast(tokenizer_object=model, unk_token=unknown)  # type: ignore[no-untyped-call]


def _save(
    folder: Path, kind: type[PreTrainedModel], config: PreTrainedConfig, seed: int
) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer().save_pretrained(folder)

    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = kind(config)
        with torch.no_grad():
            for parameter in model.parameters():
                if parameter.ndim > 1:
                    # so that inputs differ in size, as they do in trained models
                    parameter.normal_(std=0.15)

    model.save_pretrained(folder)
    return folder
