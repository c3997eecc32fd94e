"""Workspace: where `prune` scores chunks and puts its results, laid out once for all parameters.

Tensors made anew for each parameter break up the C library's heap: what is kept of one lands in the
hole that its chunks left, so the next chunks go elsewhere, and a prune of BERT-base came to hold
half the weights once more (benchmarks/prune_speed.py).
"""

from __future__ import annotations

from math import prod

import torch
from torch import Tensor

from .mask import Mask


class Workspace:
    """Room for one call of `prune`.

    Attributes:
        packed: uint8 [ceil(n / 8)] per parameter, of what is here of it, not filled; views of one tensor.
    """

    def __init__(self, mask: Mask, chunk: int) -> None:
        held = [prod(mask.scope.here(name)) for name in mask]
        sizes = [-(-count // 8) for count in held]
        self.packed = dict(zip(mask, torch.split(torch.empty(sum(sizes), dtype=torch.uint8), sizes), strict=True))
        self._length = min(chunk, sum(held))
        self._chunks: dict[tuple[torch.device, torch.dtype | None], Tensor] = {}

    def chunk(self, device: torch.device, dtype: torch.dtype | None) -> Tensor:
        """Room for the scores of a chunk, not filled: the same at each call."""
        if (device, dtype) not in self._chunks:
            self._chunks[device, dtype] = torch.empty(self._length, dtype=dtype, device=device)
        return self._chunks[device, dtype]
