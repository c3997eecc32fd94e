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

_CHARACTERS = 128  # ids for models that read characters and have no table of tokens


@dataclass(frozen=True)
class Portable:
    """A model that is ready to be exported.

    Attributes:
        model: on the CPU, in evaluation mode and float32, zero where the ticket prunes. It takes `inputs` by name and
            gives an output with ``logits``.
        ticket: the ticket that is in the model.
        processor: the tokenizer or image processor that makes its inputs; None where that is not transformers' own.
        shape: of one image, (channels, height, width); None for text.
        trained: whether the weights are fine-tuned.
        record: of the run that fine-tuned them, if it is known.
        classes: their names, in the order of their numbers; empty where they are not known.
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
        """The configuration, which models of transformers have."""
        return self.model.config

    @cached_property
    def tensors_by_every_name(self) -> dict[str, Tensor]:
        """The parameters and the buffers that belong to a checkpoint, and a zero-shot head; tied ones by each name."""
        # head and scale are in no state dict, so that nothing trains or averages them, but an export needs them
        stored = {*self.model.state_dict(), "head", "scale"}
        detached: dict[int, Tensor] = {}
        tensors: dict[str, Tensor] = {}
        for name, tensor in named(self.model).items():
            if name in stored:
                # tied names have one tensor here, too
                tensors[name] = detached.setdefault(id(tensor), tensor.detach())
        return tensors

    @cached_property
    def tensors(self) -> Weights:
        """The same, each tensor once, by the first of its names."""
        tensors: dict[str, Tensor] = {}
        seen: set[int] = set()
        for name, tensor in self.tensors_by_every_name.items():
            if id(tensor) not in seen:
                seen.add(id(tensor))
                tensors[name] = tensor
        return tensors

    @property
    def longest(self) -> int:
        """The most tokens that a text may have; 1 for images."""
        if self.shape is not None:
            return 1
        if not isinstance(self.processor, PreTrainedTokenizerBase):
            return 1

        # very large where a tokenizer states no limit
        most = int(self.processor.model_max_length)
        # RoBERTa and its kind count positions from the pad id on
        return min(self.positions or most, most) - 2

    def inputs(self, batch: int, length: int = 1, seed: int = 0) -> dict[str, Tensor]:
        """Inputs drawn from *seed*: *batch* texts of up to *length* tokens, or images.

        ``pixel_values`` float32 [batch, channels, height, width]; or ``input_ids``, ``attention_mask`` and, where the
        model wants them, ``token_type_ids``, int64 [batch, length]. The last of several texts is half as long.
        """
        generator = torch.Generator().manual_seed(seed)
        if self.shape is not None:
            pixels = torch.randn((batch, *self.shape), generator=generator)
            return {"pixel_values": pixels}

        config = self.config.get_text_config()
        pad = getattr(config, "pad_token_id", None) or 0
        vocabulary = getattr(config, "vocab_size", None) or _CHARACTERS
        ids = torch.randint(vocabulary - 1, (batch, length), generator=generator)
        # the pad id is left out, because classifiers find the last token of a text by it
        ids += (ids >= pad).long()

        attended = torch.ones_like(ids)
        if batch > 1:
            attended[-1, (length + 1) // 2 :] = 0
        if getattr(self.config, "is_encoder_decoder", False):
            ids = _end_texts(ids, attended, config.eos_token_id, pad)
        ids = ids.masked_fill(attended == 0, pad)

        tensors = {
            "input_ids": ids,
            "attention_mask": attended,
            "token_type_ids": torch.zeros_like(ids),
        }
        return {key: tensors[key] for key in self.takes}

    @cached_property
    def takes(self) -> tuple[str, ...]:
        """The names of the model's inputs."""
        if self.shape is not None or self.processor is None:
            return ("pixel_values",)

        # a tokenizer may make token types that not every model of its kind takes
        offered = self.processor.model_input_names
        accepted = signature(self.model.forward).parameters
        names = ("input_ids", "attention_mask", "token_type_ids")
        return tuple(name for name in names if name in offered and name in accepted)

    @torch.inference_mode()
    def logits(self, inputs: Mapping[str, Tensor]) -> Tensor:
        """Float32 [n, classes], or scores [n, 1]."""
        outputs: Tensor = self.model(**inputs).logits
        return outputs


def _end_texts(ids: Tensor, attended: Tensor, end: int, pad: int) -> Tensor:
    """The same texts, each with *end* as its last token and nowhere else."""
    # encoder-decoders read their answer at the end of text, and refuse texts with several of them
    other = next(number for number in range(3) if number not in (end, pad))
    ids = ids.masked_fill(ids == end, other)
    last = attended.sum(1, keepdim=True) - 1
    return ids.scatter(1, last, end)
