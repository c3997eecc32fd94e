"""Workspace: where `prune` scores chunks and puts its results, laid out once for all parameters.

Tensors made anew for each parameter break up the C library's heap: what is kept of one lands in the hole that its
chunks left, so the next chunks go elsewhere. A prune of BERT-base came to hold half the weights once more
(benchmarks/prune_speed.py).
"""

from __future__ import annotations

from math import prod

import torch
from torch import Tensor

from . import bits
from .mask import Mask


class Workspace:
    """Room for one call of `prune`.

    Attributes:
        packed: uint8 [ceil(n / 8)] per parameter, of what is here of it, not filled; views of one tensor.
    """

    def __init__(self, mask: Mask, chunk: int) -> None:
        counts = [prod(mask.scope.here(name)) for name in mask]
        lengths = [bits.length(count) for count in counts]
        room = torch.empty(sum(lengths), dtype=torch.uint8)
        self.packed = dict(zip(mask, torch.split(room, lengths), strict=True))

        self._length = min(chunk, sum(counts))
        self._chunks: dict[tuple[torch.device, torch.dtype | None], Tensor] = {}

    def chunk(self, device: torch.device, dtype: torch.dtype | None) -> Tensor:
        """Room for the scores of a chunk, not filled: the same at each call."""
        key = (device, dtype)
        if key not in self._chunks:
            self._chunks[key] = torch.empty(self._length, dtype=dtype, device=device)
        return self._chunks[key]
