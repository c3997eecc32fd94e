"""Padding: one place decides by which token, and on which side, short texts are made as long as their neighbours.

A classifier finds the last token of a text by the pad id of its configuration, but batches are padded with the pad id
of the tokenizer. Where the two differ, or one is missing, a text's logits depend on the texts beside it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from transformers import PreTrainedConfig, PreTrainedModel, PreTrainedTokenizerBase

from ..core.errors import DataError

PADDING_MATTERS = frozenset({"canine", "convbert", "fnet", "nystromformer", "yoso"})
"""Kinds of model whose logits depend on padding, whatever the attention mask: all their texts get one length."""


def set_padding(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, stated: Mapping[str, Any]
) -> None:
    """Give *model*'s configuration and *tokenizer* one pad id and the side on which the model wants it.

    The pad id is the first of these that both know: the one that the configuration states, the tokenizer's, the one
    that is the default of the configuration, and the end of text. Texts are padded at their end, except for models
    that read the last position whatever stands there.

    Args:
        stated: the configuration as it stands in config.json, without defaults.

    Raises:
        DataError: both know none of these.
    """
    text_config = model.config.get_text_config()
    rows = _rows(text_config)
    candidates = [
        stated.get("pad_token_id"),
        tokenizer.pad_token_id,
        getattr(text_config, "pad_token_id", None),
        tokenizer.eos_token_id,
        *_as_list(getattr(text_config, "eos_token_id", None)),
    ]

    known = [number for number in candidates if _knows(number, rows, tokenizer)]
    if not known:
        raise DataError(
            "the model has no token to pad texts with: neither its config.json nor its tokenizer names a pad token or "
            "an end of text; add pad_token to tokenizer_config.json and pad_token_id to config.json"
        )

    pad = known[0]
    tokenizer.pad_token = tokenizer.convert_ids_to_tokens(pad)
    # both, because models of several towers read their text part's, and others the outer one
    model.config.pad_token_id = pad
    text_config.pad_token_id = pad

    reads_last = getattr(model.config, "summary_type", None) == "last"
    tokenizer.padding_side = "left" if reads_last else "right"


def drop_unknown_pad(config: PreTrainedConfig) -> None:
    """Take a pad id that is no token of the model out of its *config*, before a table of tokens is made with it."""
    text_config = config.get_text_config()
    rows = _rows(text_config)
    pad = getattr(text_config, "pad_token_id", None)
    if pad is None:
        return

    is_too_large = rows is not None and pad >= rows
    if pad < 0 or is_too_large:
        # nn.Embedding refuses a padding_idx outside of its rows
        text_config.pad_token_id = None


def _rows(text_config: PreTrainedConfig) -> int | None:
    """How many tokens a model knows; None where tokens have no table."""
    return getattr(text_config, "vocab_size", None)


def _as_list(number: int | list[int] | None) -> list[int]:
    """The ids of an end of text, of which some models have several."""
    if number is None:
        return []
    return [number] if isinstance(number, int) else list(number)


def _knows(number: Any, rows: int | None, tokenizer: PreTrainedTokenizerBase) -> bool:
    """Whether *number* is an id of the model and of the tokenizer."""
    if not isinstance(number, int) or number < 0:
        return False
    if rows is not None and number >= rows:
        return False
    return bool(tokenizer.convert_ids_to_tokens(number))
