"""Padding: one place decides by which token, and on which side, short texts are made as long as their neighbours.

A classifier finds the last token of a text by its configuration's pad id, batches are padded with the tokenizer's.
Where the two differ, or one is missing, what a model says of a text depends on the texts beside it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from transformers import PreTrainedConfig, PreTrainedModel, PreTrainedTokenizerBase

from ..core.errors import DataError

DEPENDS = frozenset({"canine", "convbert", "fnet", "nystromformer", "yoso"})
"""Kinds of model that mix padding into what they say, whatever the attention mask: their texts are all made as long."""


def agree(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, stated: Mapping[str, Any]
) -> None:
    """Give *model*'s configuration and *tokenizer* one pad id and the side on which the model wants it.

    The pad id is the first of these that both know: the one that the configuration states, the tokenizer's, the one
    that is the default of the configuration, and the end of text. Texts are padded at their end, except for models
    that read the last position whatever stands there.

    Args:
        stated: the configuration as it stands in config.json, without defaults.

    Raises:
        DataError: there is none.
    """
    text_config = model.config.get_text_config()
    rows = _rows(text_config)
    candidates = [
        stated.get("pad_token_id"),
        tokenizer.pad_token_id,
        getattr(text_config, "pad_token_id", None),
        tokenizer.eos_token_id,
        *_listed(getattr(text_config, "eos_token_id", None)),
    ]

    pad = next(
        (number for number in candidates if _is_known(number, rows, tokenizer)), None
    )
    if pad is None:
        raise DataError(
            "the model has no token to pad texts with: neither its config.json nor its tokenizer names a pad token or "
            "an end of text; add pad_token to tokenizer_config.json and pad_token_id to config.json"
        )

    tokenizer.pad_token = tokenizer.convert_ids_to_tokens(pad)
    model.config.pad_token_id = text_config.pad_token_id = pad
    reads_last = getattr(model.config, "summary_type", None) == "last"
    tokenizer.padding_side = "left" if reads_last else "right"


def forget_unknown(config: PreTrainedConfig) -> None:
    """Take a pad id that is no token of the model out of its *config*, before a table of tokens is made with it."""
    text_config = config.get_text_config()
    rows = _rows(text_config)
    pad = getattr(text_config, "pad_token_id", None)
    if pad is not None and not 0 <= pad < (pad + 1 if rows is None else rows):
        text_config.pad_token_id = None


def _rows(text_config: PreTrainedConfig) -> int | None:
    """How many tokens a model knows; None where tokens have no table."""
    return getattr(text_config, "vocab_size", None)


def _listed(number: int | list[int] | None) -> list[int]:
    """The ids of an end of text, of which some models have several."""
    if number is None:
        return []
    return [number] if isinstance(number, int) else list(number)


def _is_known(number: Any, rows: int | None, tokenizer: PreTrainedTokenizerBase) -> bool:
    """Whether *number* is an id of the model and of the tokenizer."""
    if not isinstance(number, int) or number < 0 or (rows is not None and number >= rows):
        return False
    return bool(tokenizer.convert_ids_to_tokens(number))
