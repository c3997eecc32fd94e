"""Tiny: seeded miniatures for tests. Nothing is downloaded and nothing is pre-trained."""

from __future__ import annotations

import string
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from transformers import (
    BertConfig,
    BertForSequenceClassification,
    BertTokenizer,
    CLIPConfig,
    CLIPImageProcessorPil,
    CLIPModel,
    CLIPTokenizer,
    ViTConfig,
    ViTImageProcessorPil,
    ViTModel,
)

IMAGE = 16  # pixels along an edge
PATCH = 8
WORDS = ("good", "bad", "not", "very", "a", "the", "film", "plot", "is", "was")


def bert(folder: Path, *, seed: int = 0, layers: int = 2, width: int = 32) -> Path:
    """Save a miniature BERT with a word-and-letter vocabulary into *folder*, and return it."""
    folder.mkdir(parents=True, exist_ok=True)
    # "##" marks a letter within a word, so that every word can be spelt
    letters = string.ascii_lowercase
    inner_letters = [f"##{letter}" for letter in letters]
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    vocabulary = [*special, *WORDS, *letters, *inner_letters, "'", "-", ",", "."]
    (folder / "vocab.txt").write_text("\n".join(vocabulary), encoding="utf-8")
    BertTokenizer(vocab=str(folder / "vocab.txt")).save_pretrained(folder)

    with torch.random.fork_rng():
        torch.manual_seed(seed)
        config = BertConfig(
            vocab_size=len(vocabulary),
            hidden_size=width,
            num_hidden_layers=layers,
            num_attention_heads=2,
            intermediate_size=2 * width,
            max_position_embeddings=64,
        )
        encoder = BertForSequenceClassification(config).bert

    encoder.save_pretrained(folder)
    return folder


def clip(folder: Path, *, seed: int = 0, layers: int = 2, width: int = 32) -> Path:
    """Save a miniature CLIP that sees 16 x 16 pixels and reads letters into *folder*, and return it."""
    folder.mkdir(parents=True, exist_ok=True)
    start = "<|startoftext|>"
    end = "<|endoftext|>"
    letters = [*string.ascii_lowercase, *string.digits, *"'-,._"]
    # "</w>" marks the end of a word
    last_letters = [f"{letter}</w>" for letter in letters]
    vocabulary = [*letters, *last_letters, "re", "red</w>", start, end]
    ids = {token: number for number, token in enumerate(vocabulary)}
    # annotated as text upstream, and wanted in pairs
    merges: Any = [("r", "e"), ("re", "d</w>")]
    tokenizer = CLIPTokenizer(vocab=ids, merges=merges, model_max_length=64)
    tokenizer.save_pretrained(folder)
    processor = CLIPImageProcessorPil(
        size={"shortest_edge": IMAGE}, crop_size={"height": IMAGE, "width": IMAGE}
    )
    processor.save_pretrained(folder)

    body = {
        "hidden_size": width,
        "intermediate_size": 2 * width,
        "num_hidden_layers": layers,
        "num_attention_heads": 2,
    }
    text = {
        "vocab_size": len(vocabulary),
        "max_position_embeddings": 64,
        "bos_token_id": ids[start],
        "eos_token_id": ids[end],
        "pad_token_id": ids[end],
    }

    with torch.random.fork_rng():
        torch.manual_seed(seed)
        config = CLIPConfig(
            text_config=body | text,
            vision_config=body | {"image_size": IMAGE, "patch_size": PATCH},
            projection_dim=width // 2,
        )
        CLIPModel(config).save_pretrained(folder)

    return folder


def vit(folder: Path, *, seed: int = 0, layers: int = 2, width: int = 32) -> Path:
    """Save a miniature ViT without a head that sees 16 x 16 pixels into *folder*, and return it."""
    folder.mkdir(parents=True, exist_ok=True)
    ViTImageProcessorPil(size={"height": IMAGE, "width": IMAGE}).save_pretrained(folder)

    with torch.random.fork_rng():
        torch.manual_seed(seed)
        config = ViTConfig(
            hidden_size=width,
            num_hidden_layers=layers,
            num_attention_heads=2,
            intermediate_size=2 * width,
            image_size=IMAGE,
            patch_size=PATCH,
        )
        ViTModel(config, add_pooling_layer=False).save_pretrained(folder)

    return folder


def attention_tower(*, seed: int = 0, layers: int = 2, width: int = 32) -> nn.Module:
    """A miniature vision tower of nn.MultiheadAttention, its parameters named as open_clip names them.

    From float [n, 3, 16, 16] to float [n, width / 2].
    """
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return _AttentionTower(layers, width)


class _AttentionTower(nn.Module):
    def __init__(self, layers: int, width: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, width, PATCH, stride=PATCH, bias=False)
        self.positional_embedding = nn.Parameter(
            0.2 * torch.randn((IMAGE // PATCH) ** 2, width)
        )
        self.transformer = nn.ModuleDict(
            {"resblocks": nn.ModuleList(_Block(width) for _ in range(layers))}
        )
        self.proj = nn.Parameter(0.2 * torch.randn(width, width // 2))

    def forward(self, pixels: Tensor) -> Tensor:
        patches = self.conv1(pixels).flatten(2).transpose(1, 2)
        x = patches + self.positional_embedding
        for block in self.transformer["resblocks"]:  # type: ignore[attr-defined]
            x = block(x)
        projected: Tensor = x.mean(1) @ self.proj
        return projected


class _Block(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.ln_1 = nn.LayerNorm(width)
        self.ln_2 = nn.LayerNorm(width)
        self.attn = nn.MultiheadAttention(width, num_heads=2, batch_first=True)
        self.mlp = nn.ModuleDict(
            {"c_fc": nn.Linear(width, 2 * width), "c_proj": nn.Linear(2 * width, width)}
        )

    def forward(self, x: Tensor) -> Tensor:
        y = self.ln_1(x)
        attended, _ = self.attn(y, y, y, need_weights=False)
        x = x + attended
        hidden = nn.functional.gelu(self.mlp["c_fc"](self.ln_2(x)))
        output: Tensor = x + self.mlp["c_proj"](hidden)
        return output
