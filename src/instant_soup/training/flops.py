"""FLOPs: what one forward pass costs, counted by torch on the model itself."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from fractions import Fraction
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils._pytree import tree_flatten
from torch.utils.flop_counter import FlopCounterMode

from ..core.errors import SoupError
from .seeds import borrowed

Signature = tuple[tuple[int, ...], ...]


class ForwardCost:
    """FLOPs of a forward pass per example, by the shape of its batch; each shape is counted once.

    A multiply-add is two operations. Matrix products and attention are counted, element-wise
    work is not, as is customary.

    Where examples tell their lengths, few of these are counted: what layers and attention cost grows
    with the first and second power of the length, so as soon as four counts lie on one parabola, it
    gives the lengths between them, to the operation. While they do not, each length is counted.
    """

    def __init__(
        self, model: nn.Module, predict: Callable[[nn.Module, Any], object]
    ) -> None:
        self._model = model
        self._predict = predict
        self._known: dict[Signature, int] = {}
        # by all of the shape but the length, then by length
        self._counted: dict[object, dict[int, int]] = {}

    def of(self, batch: Any, examples: Any, indices: list[int]) -> int:
        """FLOPs of one forward pass over *batch*, which is made of *indices* of *examples*."""
        signature = _signature(batch)
        if signature not in self._known:
            if examples.lengths is None:
                self._known[signature] = self._count(batch) // len(indices)
            else:
                longest = max(indices, key=examples.lengths.__getitem__)
                self._known[signature] = self._at_length(signature, examples, longest)
        return self._known[signature] * len(indices)

    def _at_length(self, signature: Signature, examples: Any, index: int) -> int:
        """FLOPs of one example that batches of this shape are padded to the length of."""
        lengths: Sequence[int] = examples.lengths
        counted = self._counted.setdefault(_family(signature, lengths[index]), {})
        between = _on_parabola(counted, lengths[index])
        if between is not None:
            return between

        to_count = [index]
        if not counted:
            # first both ends, so that all other lengths lie between what is counted
            indices = range(len(lengths))
            shortest = min(indices, key=lengths.__getitem__)
            longest = max(indices, key=lengths.__getitem__)
            to_count = [shortest, longest, index]

        for example in to_count:
            # alone an example is padded as all are, and costs less to count
            if lengths[example] not in counted:
                counted[lengths[example]] = self._count(examples.batch([example]))
        return counted[lengths[index]]

    def _count(self, batch: Any) -> int:
        """FLOPs of a forward pass over *batch*; 0, with a warning, where torch cannot count them."""
        self._model.eval()
        counter = FlopCounterMode(display=False)
        try:
            with borrowed(), torch.no_grad(), _frozen(self._model), _countable(), counter:
                self._predict(self._model, batch)
        except (SoupError, torch.OutOfMemoryError):
            raise
        # a count is for the reader of a record, and no model has to be built so that it can be made
        except Exception as reason:
            warnings.warn(
                f"FLOPs of this model cannot be counted ({type(reason).__name__}: {reason}) and are given as 0",
                stacklevel=2,
            )
            return 0
        return int(counter.get_total_flops())


def _signature(batch: Any) -> Signature:
    leaves, _ = tree_flatten(batch)
    return tuple(tuple(leaf.shape[1:]) for leaf in leaves if isinstance(leaf, Tensor))


def _family(signature: Signature, length: int) -> object:
    """The shape with its length left open."""
    shapes = []
    for shape in signature:
        shapes.append(tuple(None if size == length else size for size in shape))
    return tuple(shapes)


def _on_parabola(counted: Mapping[int, int], length: int) -> int | None:
    """What the parabola that all of four counts or more lie on is at a *length* among theirs; None without one."""
    if len(counted) < 4 or not min(counted) <= length <= max(counted):
        return None

    lengths = sorted(counted)
    middle = lengths[len(lengths) // 2]
    corners = [(at, counted[at]) for at in (lengths[0], middle, lengths[-1])]
    # the fourth count is the proof: a parabola goes through any three
    if any(_parabola(corners, at) != cost for at, cost in counted.items()):
        return None

    value = _parabola(corners, length)
    return int(value) if value.denominator == 1 else None


def _parabola(corners: Sequence[tuple[int, int]], at: int) -> Fraction:
    """The parabola through three points, exactly (Lagrange)."""
    (a, at_a), (b, at_b), (c, at_c) = corners
    of_a = Fraction((at - b) * (at - c), (a - b) * (a - c))
    of_b = Fraction((at - a) * (at - c), (b - a) * (b - c))
    of_c = Fraction((at - a) * (at - b), (c - a) * (c - b))
    return at_a * of_a + at_b * of_b + at_c * of_c


@contextmanager
def _frozen(model: nn.Module) -> Iterator[None]:
    """No parameter asks for a gradient: the hooks of torch's counter stop at a view of one that does."""
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    for parameter in trained:
        parameter.requires_grad_(False)
    try:
        yield
    finally:
        for parameter in trained:
            parameter.requires_grad_(True)


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
