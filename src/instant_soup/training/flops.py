"""FLOPs: what one forward pass costs, counted by torch on the model itself."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
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
        leaves = tree_flatten(batch)[0]
        signature: Signature = tuple(tuple(leaf.shape[1:]) for leaf in leaves if isinstance(leaf, Tensor))
        if signature not in self._known:
            self._known[signature] = self._count(batch, examples, indices)
        return self._known[signature] * len(indices)

    def _count(self, batch: Any, examples: Any, indices: list[int]) -> int:
        count = len(indices)
        if examples.lengths is not None:  # the longest alone is padded as all are, and costs less to count
            batch, count = examples.batch([max(indices, key=examples.lengths.__getitem__)]), 1
        self._model.eval()
        with borrowed(), torch.no_grad(), _countable(), FlopCounterMode(display=False) as counter:
            self._predict(self._model, batch)
        return int(counter.get_total_flops()) // count


@contextmanager
def _countable() -> Iterator[None]:
    """Compute attention in its plain form: the fused ones of CPUs are not in torch's table of formulas."""
    fast = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        with sdpa_kernel(SDPBackend.MATH):
            yield
    finally:
        torch.backends.mha.set_fastpath_enabled(fast)
