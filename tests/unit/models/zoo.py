"""Miniatures of many architectures with random weights, in folders as save_pretrained writes them."""

from __future__ import annotations

import string
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from torch import nn
from transformers import (
    AutoConfig,
    AutoModelForImageClassification,
    AutoModelForSequenceClassification,
    PreTrainedModel,
    PreTrainedTokenizerFast,
)

PAD, END = 0, 1
WORDS = ("good", "bad", "not", "very", "a", "the", "film", "plot", "is", "was")
VOCABULARY = 32

_SIZES = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 64,
}
_POSITIONS = {"max_position_embeddings": 64}
_ENCODER = _SIZES | _POSITIONS
_DECODER = _SIZES | _POSITIONS | {"num_key_value_heads": 2}
_GPT = {"n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 64}
_XLM = {"emb_dim": 32, "n_layers": 2, "n_heads": 4} | _POSITIONS
_T5 = {
    "d_model": 32,
    "d_kv": 8,
    "d_ff": 64,
    "num_layers": 2,
    "num_heads": 4,
    "decoder_start_token_id": PAD,
}
_BART = {
    "d_model": 32, "encoder_layers": 2, "decoder_layers": 2, "encoder_attention_heads": 4,
    "decoder_attention_heads": 4, "encoder_ffn_dim": 64, "decoder_ffn_dim": 64, "decoder_start_token_id": PAD,
} | _POSITIONS  # fmt: skip
_EXPERTS = {"num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 32}
_DEBERTA = {
    "relative_attention": True,
    "pos_att_type": ["c2p", "p2c"],
    "position_biased_input": False,
}

ENCODERS: dict[str, dict[str, Any]] = {
    "albert": _ENCODER | {"embedding_size": 16},
    "bert": _ENCODER,
    "big_bird": _ENCODER | {"block_size": 4, "num_random_blocks": 1},
    "camembert": _ENCODER,
    "canine": _ENCODER | {
        "num_hash_buckets": 16, "num_hash_functions": 2, "downsampling_rate": 2, "upsampling_kernel_size": 2,
        "local_transformer_stride": 8,
    },
    "convbert": _ENCODER | {"embedding_size": 32, "head_ratio": 2, "conv_kernel_size": 3},
    "deberta": _ENCODER | _DEBERTA,
    "deberta-v2": _ENCODER | _DEBERTA | {"position_buckets": 8, "share_att_key": True, "norm_rel_ebd": "layer_norm"},
    "distilbert": {"dim": 32, "n_layers": 2, "n_heads": 4, "hidden_dim": 64} | _POSITIONS,
    "electra": _ENCODER | {"embedding_size": 16},
    "fnet": _ENCODER,
    "funnel": {
        "d_model": 32, "n_head": 4, "d_head": 8, "d_inner": 64, "block_sizes": [1, 1], "num_decoder_layers": 1,
    },
    "longformer": _ENCODER | {"attention_window": [8, 8]},
    "modernbert": _ENCODER | {"global_attn_every_n_layers": 2, "local_attention": 8},
    "mpnet": _ENCODER,
    "rembert": _ENCODER | {"input_embedding_size": 16, "output_embedding_size": 16},
    "roberta": _ENCODER,
    "roformer": _ENCODER | {"embedding_size": 32},
    "xlm": _XLM,
    "xlnet": {"d_model": 32, "n_layer": 2, "n_head": 4, "d_inner": 64},
    "yoso": _ENCODER,
}  # fmt: skip
DECODERS: dict[str, dict[str, Any]] = {
    "bloom": {"hidden_size": 32, "n_layer": 2, "n_head": 4},
    "falcon": {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4},
    "gemma2": _DECODER | {"head_dim": 8},
    "gpt2": _GPT,
    "gpt_bigcode": _GPT,
    "gpt_neo": {
        "hidden_size": 32, "num_layers": 2, "num_heads": 4, "attention_types": [[["global", "local"], 1]],
    } | _POSITIONS,
    "gpt_neox": _ENCODER,
    "gptj": _GPT | {"rotary_dim": 4},
    "llama": _DECODER,
    "mistral": _DECODER,
    "mpt": {"d_model": 32, "n_layers": 2, "n_heads": 4, "max_seq_len": 64},
    "openai-gpt": _GPT | {"afn": "gelu"},
    "opt": {
        "hidden_size": 32, "word_embed_proj_dim": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "ffn_dim": 64,
    } | _POSITIONS,
    "phi3": _DECODER,
    "qwen2": _DECODER,
    "qwen3": _DECODER | {"head_dim": 8},
}  # fmt: skip
EXPERTS: dict[str, dict[str, Any]] = {
    "gpt_oss": _DECODER
    | {"num_local_experts": 4, "num_experts_per_tok": 2, "head_dim": 8},
    "mixtral": _DECODER | {"num_local_experts": 4},
    "qwen2_moe": _DECODER
    | _EXPERTS
    | {"shared_expert_intermediate_size": 32, "decoder_sparse_step": 1},
    "qwen3_moe": _DECODER | _EXPERTS | {"head_dim": 8},
}
PAIRS: dict[str, dict[str, Any]] = {
    "bart": _BART,
    "mbart": _BART,
    "mt5": _T5,
    "t5": _T5,
    "umt5": _T5,
}
STATES: dict[str, dict[str, Any]] = {
    "jamba": _DECODER | {
        "num_hidden_layers": 4, "attn_layer_period": 4, "attn_layer_offset": 1, "expert_layer_period": 2,
        "expert_layer_offset": 1, "num_experts": 4, "mamba_d_state": 4, "mamba_dt_rank": 4, "use_mamba_kernels": False,
    },
    "qwen3_next": _DECODER | _EXPERTS | {
        "head_dim": 8, "shared_expert_intermediate_size": 16, "linear_num_key_heads": 2, "linear_num_value_heads": 4,
        "linear_key_head_dim": 8, "linear_value_head_dim": 8, "layer_types": ["linear_attention", "full_attention"],
    },
    "zamba2": _DECODER | {
        "mamba_d_state": 4, "mamba_ngroups": 1, "n_mamba_heads": 4, "mamba_headdim": 16, "use_mamba_kernels": False,
        "layers_block_type": ["mamba", "hybrid"], "num_mem_blocks": 1, "chunk_size": 16, "use_mem_rope": False,
    },
}  # fmt: skip
TEXT = ENCODERS | DECODERS | EXPERTS | PAIRS | STATES

_PICTURE = {"image_size": 16, "patch_size": 8}
VISION: dict[str, dict[str, Any]] = {
    "beit": _SIZES | _PICTURE,
    "deit": _SIZES | _PICTURE | {"architectures": ["DeiTForImageClassification"]},
    "dinov2": {
        "hidden_size": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "mlp_ratio": 2,
    }
    | _PICTURE,
    "swin": {
        "image_size": 16,
        "patch_size": 2,
        "embed_dim": 16,
        "depths": [1, 1],
        "num_heads": [2, 2],
        "window_size": 4,
    },
    "vit": _SIZES | _PICTURE,
    "vit_msn": _SIZES | _PICTURE,
}


def text(folder: Path, kind: str, *, seed: int = 0, **changes: Any) -> Path:
    """Save a classifier of three classes of texts, with a tokenizer of words, into *folder*, and return it."""
    has_pad = kind in ENCODERS or kind in PAIRS
    (
        letters() if kind == "qwen2" else tokenizer(pad=has_pad, end=kind in PAIRS)
    ).save_pretrained(folder)
    classifier(
        kind, seed=seed, **{"pad_token_id": PAD if has_pad else None, **changes}
    ).save_pretrained(folder)
    return folder


def tokenizer(*, pad: bool, end: bool) -> PreTrainedTokenizerFast:
    """Words to numbers.

    Args:
        pad: whether it names its pad token.
        end: whether each text ends with an end of text.
    """
    vocabulary = {
        word: number for number, word in enumerate(("<pad>", "</s>", "<unk>", *WORDS))
    }
    words = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))  # noqa: S106 - no password
    words.pre_tokenizer = pre_tokenizers.Whitespace()
    if end:
        words.post_processor = processors.TemplateProcessing(
            single="$A </s>", special_tokens=[("</s>", END)]
        )
    marks = {"unk_token": "<unk>", "eos_token": "</s>"} | (
        {"pad_token": "<pad>"} if pad else {}
    )
    return PreTrainedTokenizerFast(tokenizer_object=words, **marks)


def letters() -> PreTrainedTokenizerFast:
    """Letters to numbers, for kinds of model whose own tokenizer is made of whatever is in their folder."""
    marks = ["<pad>", "</s>", "<|endoftext|>", "Ġ"]
    vocabulary = {
        letter: number for number, letter in enumerate([*marks, *string.ascii_lowercase])
    }
    tokens = Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
    tokens.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    return PreTrainedTokenizerFast(tokenizer_object=tokens, eos_token="</s>")  # noqa: S106 - no password


def classifier(kind: str, *, seed: int = 0, **changes: Any) -> PreTrainedModel:
    """A classifier of three classes of texts."""
    marks = {"bos_token_id": END, "eos_token_id": END}
    config = AutoConfig.for_model(
        kind,
        **{"vocab_size": VOCABULARY, "num_labels": 3, **marks, **TEXT[kind], **changes},
    )
    return _seeded(AutoModelForSequenceClassification, config, seed)


def image_classifier(kind: str, *, seed: int = 0) -> PreTrainedModel:
    """A classifier of three classes of images."""
    return _seeded(
        AutoModelForImageClassification,
        AutoConfig.for_model(kind, num_labels=3, **VISION[kind]),
        seed,
    )


def _seeded(auto: Any, config: Any, seed: int) -> PreTrainedModel:
    """A model whose answers differ from text to text by more than rounding."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model: PreTrainedModel = auto.from_config(config)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim > 1 and isinstance(parameter, nn.Parameter):
                parameter.mul_(3)
    return model.eval()
