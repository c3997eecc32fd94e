"""Pick: which kernel multiplies a sparse layer fastest, here and for so many tokens."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from statistics import median

import torch

from .sparse import KERNELS, SparseLinear
from .timing import in_turns

LENGTHS = (8, 32, 128, 512)
TURNS = 5


@dataclass(frozen=True)
class Picked:
    """Layers of one shape and about as many zeros.

    Attributes:
        shape: (height, width) of the matrix.
        layers: how many there are.
        sparsity: of the one that was timed.
        tokens: how many were multiplied.
        seconds: median time of each kernel.
    """

    shape: tuple[int, int]
    layers: int
    sparsity: float
    tokens: int
    seconds: dict[str, float]

    @property
    def fastest(self) -> str:
        """The kernel to be used."""
        return min(self.seconds, key=lambda name: self.seconds[name])


def pick(
    layers: Iterable[SparseLinear], lengths: Sequence[int] = LENGTHS, turns: int = TURNS
) -> list[Picked]:
    """Time every kernel at each number of tokens, once for layers that are alike, and have them use the fastest.

    Changes nothing where *lengths* is empty.
    """
    picked: list[Picked] = []
    for alike in _alike(layers):
        timed = [_timed(alike, tokens, turns) for tokens in lengths]
        kernels = _reach({choice.tokens: choice.fastest for choice in timed})
        for layer in alike:
            layer.choose(kernels)
        picked += timed
    return picked


def _alike(layers: Iterable[SparseLinear]) -> list[list[SparseLinear]]:
    """Layers of one shape whose survivors are within a factor of 1.4."""
    groups: dict[tuple[int, int, int], list[SparseLinear]] = {}
    for layer in layers:
        size = round(2 * math.log2(max(1, len(layer.values))))
        groups.setdefault((layer.out_features, layer.in_features, size), []).append(layer)
    return list(groups.values())


@torch.inference_mode()
def _timed(alike: list[SparseLinear], tokens: int, turns: int) -> Picked:
    layer = alike[0]
    shape = (layer.out_features, layer.in_features)
    dice = torch.Generator().manual_seed(0)
    x = torch.randn((tokens, layer.in_features), generator=dice)

    contenders = {name: partial(kernel, layer, x) for name, kernel in KERNELS.items()}
    times_of = in_turns(contenders, turns, warm=1)
    seconds = {name: median(times) for name, times in times_of.items()}

    sparsity = 1 - len(layer.values) / (shape[0] * shape[1])
    return Picked(shape, len(alike), sparsity, tokens, seconds)


def _reach(fastest: dict[int, str]) -> dict[int, str]:
    """Each choice reaches half-way, in orders of magnitude, to the next."""
    lengths = sorted(fastest)
    ends = [round(math.sqrt(shorter * longer)) for shorter, longer in pairwise(lengths)]
    ends += lengths[-1:]
    return {end: fastest[tokens] for end, tokens in zip(ends, lengths, strict=True)}
