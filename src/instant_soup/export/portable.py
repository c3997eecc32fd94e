"""Portable: a model at the weights that are exported, with all that an export needs to know of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from inspect import signature
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedTokenizerBase
from transformers.image_processing_utils import BaseImageProcessor

from ..core.apply import named
from ..core.ticket import Ticket
from ..core.weights import Weights
from ..store.record import Record

_CHARACTERS = 128  # of models that read characters and have no table of tokens


@dataclass(frozen=True)
class Portable:
    """What is exported.

    Attributes:
        model: on the CPU, in evaluation mode and float32, zero where the ticket prunes. It takes `inputs` by name and
            gives an output with ``logits``.
        ticket: what it is made of.
        processor: the tokenizer or image processor that makes its inputs; None where that is not transformers' own.
        shape: of one image, (channels, height, width); None for text.
        trained: whether the weights are fine-tuned.
        record: of the run that fine-tuned them, if it is known.
        classes: in words, in the order of their numbers; none where they are not known.
        positions: how many tokens the model can read at most; None without a limit, and for images.
    """

    model: nn.Module
    ticket: Ticket
    processor: PreTrainedTokenizerBase | BaseImageProcessor | None
    shape: tuple[int, int, int] | None
    trained: bool
    record: Record | None = None
    classes: tuple[str, ...] = ()
    positions: int | None = None

    @property
    def config(self) -> Any:
        """Of transformers' models."""
        return self.model.config

    @cached_property
    def tensors(self) -> Weights:
        """The parameters and the buffers that belong to a checkpoint, each tensor once, and a zero-shot head."""
        stored = {*self.model.state_dict(), "head", "scale"}
        tensors: dict[str, Tensor] = {}
        seen: set[int] = set()
        for name, tensor in named(self.model).items():
            if name in stored and id(tensor) not in seen:
                seen.add(id(tensor))
                tensors[name] = tensor.detach()
        return tensors

    @property
    def longest(self) -> int:
        """How many tokens a text may have; 1 for images."""
        if self.shape is not None:
            return 1
        if not isinstance(self.processor, PreTrainedTokenizerBase):
            return 1

        most = int(self.processor.model_max_length)
        # some count positions from the padding on
        return min(self.positions or most, most) - 2

    def inputs(self, batch: int, length: int = 1, seed: int = 0) -> dict[str, Tensor]:
        """Inputs drawn from *seed*: *batch* texts of up to *length* tokens, or images.

        ``pixel_values`` float32 [batch, channels, height, width]; or ``input_ids``, ``attention_mask`` and, where the
        model wants them, ``token_type_ids``, int64 [batch, length]. The last of several texts is half as long.
        """
        dice = torch.Generator().manual_seed(seed)
        if self.shape is not None:
            return {"pixel_values": torch.randn((batch, *self.shape), generator=dice)}

        config = self.config.get_text_config()
        padding = getattr(config, "pad_token_id", None) or 0
        vocabulary = getattr(config, "vocab_size", None) or _CHARACTERS
        words = torch.randint(vocabulary - 1, (batch, length), generator=dice)
        words += (words >= padding).long()  # no word is padding

        shown = torch.ones_like(words)
        if batch > 1:
            shown[-1, (length + 1) // 2 :] = 0
        if getattr(self.config, "is_encoder_decoder", False):
            words = _ended(words, shown, config.eos_token_id, padding)
        words = words.masked_fill(shown == 0, padding)

        tensors = {
            "input_ids": words,
            "attention_mask": shown,
            "token_type_ids": torch.zeros_like(words),
        }
        return {key: tensors[key] for key in self.takes}

    @cached_property
    def takes(self) -> tuple[str, ...]:
        """The names of its inputs."""
        if self.shape is not None or self.processor is None:
            return ("pixel_values",)

        # processors give what some models of their kind do not take
        offered = self.processor.model_input_names
        taken = signature(self.model.forward).parameters
        keys = ("input_ids", "attention_mask", "token_type_ids")
        return tuple(key for key in keys if key in offered and key in taken)

    @torch.inference_mode()
    def logits(self, inputs: Mapping[str, Tensor]) -> Tensor:
        """Float32 [n, classes], or scores [n, 1]."""
        outputs: Tensor = self.model(**inputs).logits
        return outputs


def _ended(words: Tensor, shown: Tensor, end: int, padding: int) -> Tensor:
    """The same texts, each with one end of text, as its last word: that is where encoder-decoders read their answer."""
    other = next(number for number in range(3) if number not in (end, padding))
    words = words.masked_fill(words == end, other)
    last = shown.sum(1, keepdim=True) - 1
    return words.scatter(1, last, end)
