"""FLOPs: what one forward pass costs, counted by torch on the model itself."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils._pytree import tree_flatten
from torch.utils.flop_counter import FlopCounterMode

from .seeds import borrowed

Signature = tuple[tuple[int, ...], ...]


class ForwardCost:
    """FLOPs of a forward pass per example, by the shape of its batch; each shape is counted once.

    A multiply-add is two operations. Matrix products and attention are counted, element-wise
    work is not, as is customary.
    """

    def __init__(self, model: nn.Module, predict: Callable[[nn.Module, Any], object]) -> None:
        self._model, self._predict = model, predict
        self._known: dict[Signature, int] = {}

    def of(self, batch: Any, examples: Any, indices: list[int]) -> int:
        """FLOPs of one forward pass over *batch*, which is made of *indices* of *examples*."""
        signature: Signature = tuple(
            tuple(leaf.shape[1:]) for leaf in tree_flatten(batch)[0] if isinstance(leaf, Tensor)
        )
        if signature not in self._known:
            longest = max(indices, key=examples.lengths.__getitem__) if examples.lengths is not None else indices[0]
            self._known[signature] = self._count(examples.batch([longest]))
        return self._known[signature] * len(indices)

    def _count(self, batch: Any) -> int:
        self._model.eval()
        # the fused attention of CPUs is not in torch's table of formulas; its plain form is
        with borrowed(), torch.no_grad(), sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
            self._predict(self._model, batch)
        return int(counter.get_total_flops())
