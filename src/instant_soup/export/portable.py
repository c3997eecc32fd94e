"""Portable: a model at the weights that are exported, with all that an export needs to know of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedTokenizerBase
from transformers.image_processing_utils import BaseImageProcessor

from ..core.apply import named
from ..core.ticket import Ticket
from ..core.weights import Weights
from ..store.record import Record


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
    """

    model: nn.Module
    ticket: Ticket
    processor: PreTrainedTokenizerBase | BaseImageProcessor | None
    shape: tuple[int, int, int] | None
    trained: bool
    record: Record | None = None
    classes: tuple[str, ...] = ()

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
        if self.shape is not None or not isinstance(self.processor, PreTrainedTokenizerBase):
            return 1
        positions = getattr(self.config, "max_position_embeddings", None) or self.processor.model_max_length
        return int(min(positions, self.processor.model_max_length)) - 2  # some count positions from the padding on

    def inputs(self, batch: int, length: int = 1, seed: int = 0) -> dict[str, Tensor]:
        """Inputs drawn from *seed*: *batch* texts of up to *length* tokens, or images.

        ``pixel_values`` float32 [batch, channels, height, width]; or ``input_ids``, ``attention_mask`` and, where the
        model wants them, ``token_type_ids``, int64 [batch, length]. The last of several texts is half as long.
        """
        dice = torch.Generator().manual_seed(seed)
        if self.shape is not None:
            return {"pixel_values": torch.randn((batch, *self.shape), generator=dice)}
        padding = getattr(self.config, "pad_token_id", None) or 0
        words = torch.randint(self.config.vocab_size - 1, (batch, length), generator=dice)
        shown = torch.ones_like(words)
        if batch > 1:
            shown[-1, (length + 1) // 2 :] = 0
        words = (words + (words >= padding).long()).masked_fill(shown == 0, padding)
        found = {"input_ids": words, "attention_mask": shown, "token_type_ids": torch.zeros_like(words)}
        return {key: found[key] for key in self.takes}

    @cached_property
    def takes(self) -> tuple[str, ...]:
        """The names of its inputs."""
        if self.shape is not None or self.processor is None:
            return ("pixel_values",)
        known = self.processor.model_input_names
        return tuple(key for key in ("input_ids", "attention_mask", "token_type_ids") if key in known)

    @torch.inference_mode()
    def logits(self, inputs: Mapping[str, Tensor]) -> Tensor:
        """Float32 [n, classes], or scores [n, 1]."""
        outputs: Tensor = self.model(**inputs).logits
        return outputs
