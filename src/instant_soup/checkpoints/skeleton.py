"""Skeleton: a language model without weights, and the checkpoint that has them."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from accelerate import init_empty_weights
from torch import Tensor, nn
from transformers import AutoConfig, AutoModelForCausalLM

from ..core.errors import DataError
from ..core.scope import Scope
from ..models import decoder
from ..models.classifier import loading
from ..training.inputs import Block
from .checkpoint import Checkpoint
from .quantised import refuse_quantised

_EXPERT = re.compile(r"\bexperts\.\d+\.")
"""A step of the name of a tensor that belongs to one expert."""


@dataclass
class Skeleton:
    """A model without weights, and the checkpoint that has them."""

    model: nn.Module
    checkpoint: Checkpoint
    scope: Scope
    names: Mapping[str, str]
    outside: tuple[str, ...]
    device: str = "cpu"

    @classmethod
    def of(cls, source: Path) -> Skeleton:
        """Build it. Raises DataError where the checkpoint is of no causal language model, or names things otherwise."""
        checkpoint = Checkpoint.open(source)
        refuse_quantised(source, checkpoint.parts)

        with loading(str(source), "give a folder with config.json and safetensors"):
            config = AutoConfig.from_pretrained(source, trust_remote_code=False)
            decoder.check_causal(config, str(source))
            config._experts_implementation = "eager"
            with init_empty_weights(include_buffers=False):
                make: Any = AutoModelForCausalLM
                model = make.from_config(
                    config, dtype=torch.float32, trust_remote_code=False
                )

        model.eval()
        prefix = f"{model.base_model_prefix}."
        stacks = tuple(f"{path}." for path in decoder.stacks(model))
        # blocks need no head, and one that shares its weights with the embeddings is written with those
        head = {id(parameter) for parameter in _head(model)}

        names: dict[str, str] = {}
        outside: dict[str, str] = {}
        for name, parameter in model.named_parameters():
            if name.startswith(stacks):
                names[name] = _stored(name, prefix, checkpoint)
            elif id(parameter) not in head:
                outside[name] = _stored(name, prefix, checkpoint)

        scope = Scope.of(model)
        return cls(model, checkpoint, scope, names | outside, tuple(outside))

    def work_on(self, device: str) -> None:
        """Put what is loaded from now on, and the buffers, on *device*."""
        self.device = device
        for module in self.model.modules():
            for name, buffer in module.named_buffers(recurse=False):
                module._buffers[name] = buffer.to(device)

    def load(self, names: Sequence[str]) -> None:
        """Put parameters into the model, in float32."""
        for name in names:
            module, leaf = self._place(name)
            tensor = aligned(self.checkpoint[self.names[name]]).to(self.device)
            module._parameters[leaf] = nn.Parameter(tensor, requires_grad=False)

    def drop(self, names: Sequence[str]) -> None:
        """Take parameters out of memory again."""
        for name in names:
            module, leaf = self._place(name)
            shape = module.get_parameter(leaf).shape
            nothing = torch.empty(shape, device="meta")
            module._parameters[leaf] = nn.Parameter(nothing, requires_grad=False)

    def _place(self, name: str) -> tuple[nn.Module, str]:
        path, _, leaf = name.rpartition(".")
        return self.model.get_submodule(path), leaf

    def of_block(self, block: Block) -> list[str]:
        """The parameters of *block*."""
        return [name for name in self.names if name.startswith(f"{block.path}.")]

    def numel(self, name: str) -> int:
        """How many weights the parameter *name* has."""
        return self.checkpoint.parts[self.names[name]].numel


def aligned(tensor: Tensor) -> Tensor:
    """*tensor* in float32, in memory of torch's own.

    What is read from a file may lie at any address, and products of matrices are rounded otherwise there.
    """
    return torch.empty(tensor.shape, dtype=torch.float32).copy_(tensor)


def _stored(name: str, prefix: str, checkpoint: Checkpoint) -> str:
    """The name that the checkpoint has for the parameter *name*. Raises DataError."""
    for other in (name, name.removeprefix(prefix), prefix + name):
        if other in checkpoint:
            return other

    expert = next((other for other in checkpoint if _EXPERT.search(other)), None)
    if expert is not None:
        raise DataError(
            f"the checkpoint holds each expert in tensors of its own, such as {expert!r}, and the model is built of "
            f"experts in stacks, so it cannot be pruned block by block; draw a ticket in memory, with a recipe of kind "
            f"'language', or prune by magnitude across 'model' or 'layer'"
        )

    raise DataError(
        f"the checkpoint has no {name!r}, which the model is built of: its tensors are put together otherwise; "
        f"draw a ticket with a recipe of kind 'language' instead"
    )


def _head(model: nn.Module) -> list[nn.Parameter]:
    """What the head has for its own."""
    head = model.get_output_embeddings()  # type: ignore[operator]
    if head is None:
        return []

    embeddings = model.get_input_embeddings()  # type: ignore[operator]
    shared = {id(parameter) for parameter in embeddings.parameters()}
    return [parameter for parameter in head.parameters() if id(parameter) not in shared]
