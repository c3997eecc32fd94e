"""Skeleton: a language model without weights, and the checkpoint that has them."""

from __future__ import annotations

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
from ..core.stored import Stored
from ..models import decoder
from ..models.classifier import loading
from ..training.blocks import Block, blocks_of
from .assembly import Assemblies, Assembly
from .checkpoint import Checkpoint
from .quantised import refuse_quantised


@dataclass
class Skeleton:
    """A model without weights, and the checkpoint that has them.

    Attributes:
        assemblies: how each parameter is made of the checkpoint's tensors, but for those of a head.
        outside: the parameters among them that are in no block.
    """

    model: nn.Module
    checkpoint: Checkpoint
    scope: Scope
    assemblies: Mapping[str, Assembly]
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
        scope = Scope.of(model)
        # other lists of modules are run before the blocks or after them, as embeddings are
        stacks = tuple({f"{block.stack}." for block in blocks_of(model, scope)})
        if not stacks:
            raise DataError(
                f"{type(model).__name__} has no list of blocks, so there is nothing to prune block by block"
            )
        # blocks need no head, and one that shares its weights with the embeddings is written with those
        head = {id(parameter) for parameter in _head(model)}

        conversions = Assemblies(model, checkpoint)
        in_blocks: dict[str, Assembly] = {}
        outside: dict[str, Assembly] = {}
        for name, parameter in model.named_parameters():
            if name.startswith(stacks):
                in_blocks[name] = conversions.of(name)
            elif id(parameter) not in head:
                outside[name] = conversions.of(name)

        return cls(model, checkpoint, scope, in_blocks | outside, tuple(outside))

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
            tensor = self.in_float32(name).to(self.device)
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
        return [name for name in self.assemblies if name.startswith(f"{block.path}.")]

    def in_float32(self, name: str) -> Tensor:
        """The parameter *name*, in float32."""
        return self.assemblies[name].put_together(self.checkpoint, torch.float32)

    def as_stored(self, name: str) -> Tensor:
        """The parameter *name*, in the dtype that the checkpoint has."""
        return self.assemblies[name].put_together(self.checkpoint)

    def parts(self, name: str) -> dict[str, Stored]:
        """Where the tensors lie that the parameter *name* is made of."""
        return {
            part: self.checkpoint.parts[part] for part in self.assemblies[name].places
        }

    def numel(self, name: str) -> int:
        """How many weights the parameter *name* has."""
        return sum(part.numel for part in self.parts(name).values())

    def nbytes(self, name: str) -> int:
        """How many bytes the parameter *name* has in the checkpoint."""
        return sum(part.nbytes for part in self.parts(name).values())


def _head(model: nn.Module) -> list[nn.Parameter]:
    """What the head has for its own."""
    head = model.get_output_embeddings()  # type: ignore[operator]
    if head is None:
        return []

    embeddings = model.get_input_embeddings()  # type: ignore[operator]
    shared = {id(parameter) for parameter in embeddings.parameters()}
    return [parameter for parameter in head.parameters() if id(parameter) not in shared]
