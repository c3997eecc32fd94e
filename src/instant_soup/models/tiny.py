"""Tiny: seeded miniatures for tests. Nothing is downloaded and nothing is pre-trained."""

from __future__ import annotations

import string
from pathlib import Path

import torch
from transformers import BertConfig, BertForSequenceClassification, BertTokenizer

WORDS = ("good", "bad", "not", "very", "a", "the", "film", "plot", "is", "was")


def bert(folder: Path, *, seed: int = 0, layers: int = 2, width: int = 32) -> Path:
    """Save a miniature BERT with a word-and-letter vocabulary into *folder*, and return it."""
    folder.mkdir(parents=True, exist_ok=True)
    letters = [*string.ascii_lowercase, *(f"##{letter}" for letter in string.ascii_lowercase)]
    vocabulary = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *WORDS, *letters, "'", "-", ",", "."]
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
