"""Ends: encoder-decoders that read their answer at the end of a text need every text to have one, and all as many.

T5 and BART do. Where a tokenizer of another model puts no end behind texts, they fail in the midst of the first step.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import mode

import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from ..core.errors import DataError


def end_read_at(model: PreTrainedModel) -> int | None:
    """The token at which *model* reads its answer; None where a text may do without."""
    end = getattr(model.config, "eos_token_id", None)
    if not getattr(model.config, "is_encoder_decoder", False) or not isinstance(end, int):
        return None

    # tried and not looked up, because no configuration states it
    other = 0 if end else 1
    model.eval()  # type: ignore[no-untyped-call]  # transformers does not annotate it
    try:
        with torch.no_grad():
            model(input_ids=torch.tensor([[other, other]]))
    except ValueError:
        return end
    except (RuntimeError, IndexError):
        # two tokens may be too few for it, and then the training itself will tell what is wrong
        return None
    return None


def check_ends(
    name: str,
    tokenizer: PreTrainedTokenizerBase,
    end: int,
    ends_by_split: Mapping[str, Sequence[int]],
) -> None:
    """Check that all texts have the token *end* equally often, and once at least.

    Args:
        name: of the model that reads its answer there.
        ends_by_split: how often each text has it.

    Raises:
        DataError: they have not, or texts are padded with it.
    """
    word = tokenizer.convert_ids_to_tokens(end)
    whose = f"the tokenizer of model {name!r}, a {type(tokenizer).__name__},"
    remedy = "take the tokenizer that the model was trained with"
    if tokenizer.pad_token_id == end:
        raise DataError(
            f"{whose} pads texts with {word!r}, at which the model reads its answer; {remedy}, or set another pad_token"
        )

    usual = mode(count for ends in ends_by_split.values() for count in ends)
    if not usual:
        raise DataError(
            f"{whose} puts no {word!r} at the end of a text, and there the model reads its answer; {remedy}, or have "
            f"the post_processor in tokenizer.json add {word!r}"
        )

    for split, ends in ends_by_split.items():
        for row, count in enumerate(ends):
            if count != usual:
                raise DataError(
                    f"text {row} of the {split} split, counted from 0, has {word!r} {count} times, and others have it "
                    f"{usual} times: the model reads its answer there, so all must have as many; take {word!r} out of "
                    f"the text, or leave the row out"
                )
