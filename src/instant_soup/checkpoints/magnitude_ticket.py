"""Magnitude ticket: what `prune_checkpoint` kept, as a ticket that belongs to the model which the checkpoint loads as.

A file has its tensors in the order of their names, and of a mixture of experts one for each expert. A model has its
parameters in the order in which it was built, experts in stacks, and tasks take its weights in float32. A ticket is in
the terms of the model wherever transformers builds one of config.json; else it is in those of the file.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
from accelerate import init_empty_weights
from torch import Tensor
from transformers import AutoConfig

from ..core import bits
from ..core.errors import DataError, SoupError
from ..core.mask import Mask
from ..core.scope import Scope
from ..core.task import Base
from ..core.ticket import Ticket
from ..core.weights import Lazy, digest
from ..models.classifier import loading
from .assembly import Assemblies, Assembly
from .checkpoint import Checkpoint, ahead
from .counts import keys, raw, width
from .prune import Pruned


def ticket_of(source: str | Path, pruned: Pruned) -> Ticket:
    """The ticket of what `prune_checkpoint` kept of *source*, from two more readings of its prunable weights.

    It holds its mask at one bit a weight in memory. Where transformers builds a model of config.json, it belongs to
    that model, and tasks whose model it is take it; else it belongs to models that have the weights of *source* in
    its order, dtypes and names. Raises DataError.
    """
    source = Path(source)
    checkpoint = Checkpoint.open(source)
    packed = _kept(checkpoint, pruned)
    name = source.resolve().name
    method = {"name": "magnitude"}

    model = _Model.of(source, checkpoint, pruned.scope)
    if model is None:
        mask = Mask.from_packed(pruned.scope, packed)
        base = Base(name, digest(checkpoint, pruned.scope))
        return Ticket(mask, {}, base, method=method)

    stacked = {parameter: model.stacked(parameter, packed) for parameter in model.scope}
    mask = Mask.from_packed(model.scope, stacked)
    weights = Lazy(model.scope, model.in_float32)
    return Ticket(mask, {}, Base(name, digest(weights, model.scope)), method=method)


def _kept(checkpoint: Checkpoint, pruned: Pruned) -> dict[str, Tensor]:
    """Which weights of each tensor are above its cut, as packed bits."""
    order = width(checkpoint.parts[name].dtype for name in pruned.scope)
    packed = {}
    for name, cut in pruned.cuts.items():
        part = checkpoint.parts[name]
        seen = 0
        flags = []
        for chunk in ahead(part.chunks()):
            magnitudes = keys(raw(chunk, part.dtype), part.dtype, order)
            kept, seen = cut.keep(magnitudes, seen)
            # chunks have a multiple of 8 weights
            flags.append(np.packbits(kept, bitorder="little"))
        packed[name] = torch.from_numpy(np.concatenate(flags))
    return packed


@dataclass(frozen=True)
class _Model:
    """The model that a checkpoint loads as, without its weights.

    Attributes:
        scope: its parameters that are made of what was pruned.
        assemblies: how each of them is made.
    """

    checkpoint: Checkpoint
    scope: Scope
    assemblies: Mapping[str, Assembly]

    @classmethod
    def of(cls, source: Path, checkpoint: Checkpoint, pruned: Scope) -> _Model | None:
        """None where transformers builds no model of *source*, or one that parts what was *pruned* otherwise."""
        try:
            model = _built(source)
            scope = Scope.of(model)
            conversions = Assemblies(model, checkpoint)
            assemblies = {name: conversions.of(name) for name in scope}
        except SoupError:
            return None

        # what --include or --exclude left out is in no ticket
        assemblies = {
            name: assembly
            for name, assembly in assemblies.items()
            if any(part in pruned for part in assembly.places)
        }
        covered = [part for assembly in assemblies.values() for part in assembly.places]
        if sorted(covered) != sorted(pruned):
            return None

        shapes = {name: scope.shapes[name] for name in assemblies}
        inputs = {name: dim for name, dim in scope.inputs.items() if name in shapes}
        return cls(checkpoint, Scope(shapes, inputs=inputs), assemblies)

    def stacked(self, name: str, packed: Mapping[str, Tensor]) -> Tensor:
        """The packed bits of the parameter *name*, of those of its parts."""
        assembly = self.assemblies[name]
        flags = torch.empty(assembly.shape, dtype=torch.bool)
        for part, place in assembly.places.items():
            stored = self.checkpoint.parts[part]
            flags[place] = bits.unpack(packed[part], stored.numel).view(stored.shape)
        return bits.pack(flags)

    def in_float32(self, name: str) -> Tensor:
        """The weights of the parameter *name*."""
        return self.assemblies[name].put_together(self.checkpoint, torch.float32)


def _built(source: Path) -> Any:
    """The model of config.json in *source*, without weights. Raises DataError where there is none."""
    with loading(str(source), "give a folder with config.json and safetensors"):
        config = AutoConfig.from_pretrained(source, trust_remote_code=False)
        architecture, *_ = getattr(config, "architectures", None) or [""]
        kind: Any = getattr(transformers, architecture, None)
        if kind is None:
            raise DataError(f"{source} does not say of which architecture it is")
        with init_empty_weights(include_buffers=False):
            return kind(config)
