"""Pick: finds the kernel that multiplies a sparse layer fastest on this machine, by the number of tokens."""

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
    """The times of the kernels on layers of one shape and about as many zeros.

    Attributes:
        shape: (height, width) of the matrix.
        layers: how many such layers there are.
        sparsity: that of the layer that was timed.
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
        """The name of the fastest kernel."""
        return min(self.seconds, key=lambda name: self.seconds[name])


def pick(
    layers: Iterable[SparseLinear], lengths: Sequence[int] = LENGTHS, turns: int = TURNS
) -> list[Picked]:
    """Time every kernel at each number of tokens, and have *layers* use the fastest.

    Layers that are alike are timed once.

    Args:
        lengths: numbers of tokens; nothing is changed where there is none.
        turns: how often each kernel is timed.
    """
    picked: list[Picked] = []
    for group in _group_alike(layers):
        timed = [_time_kernels(group, tokens, turns) for tokens in lengths]
        fastest = {result.tokens: result.fastest for result in timed}
        kernels = _up_to(fastest)
        for layer in group:
            layer.choose(kernels)
        picked += timed
    return picked


def _group_alike(layers: Iterable[SparseLinear]) -> list[list[SparseLinear]]:
    """Groups of layers of one shape, whose survivors are within a factor of 1.4."""
    groups: dict[tuple[int, int, int], list[SparseLinear]] = {}
    for layer in layers:
        # half steps of the logarithm: 1.4 is the root of 2
        size = round(2 * math.log2(max(1, len(layer.values))))
        key = (layer.out_features, layer.in_features, size)
        groups.setdefault(key, []).append(layer)
    return list(groups.values())


@torch.inference_mode()
def _time_kernels(group: list[SparseLinear], tokens: int, turns: int) -> Picked:
    """Time every kernel on the first layer of a *group*."""
    layer = group[0]
    shape = (layer.out_features, layer.in_features)
    generator = torch.Generator().manual_seed(0)
    x = torch.randn((tokens, layer.in_features), generator=generator)

    contenders = {name: partial(kernel, layer, x) for name, kernel in KERNELS.items()}
    # the warm-up makes each kernel's copy of the matrix
    times_of = in_turns(contenders, turns)
    seconds = {name: median(times) for name, times in times_of.items()}

    sparsity = 1 - len(layer.values) / (shape[0] * shape[1])
    return Picked(shape, len(group), sparsity, tokens, seconds)


def _up_to(fastest: dict[int, str]) -> dict[int, str]:
    """The kernel by the largest number of tokens that it multiplies, from the *fastest* at the timed numbers.

    The bound between two numbers is their geometric mean.
    """
    lengths = sorted(fastest)
    kernels = {}
    for shorter, longer in pairwise(lengths):
        kernels[round(math.sqrt(shorter * longer))] = fastest[shorter]
    for last in lengths[-1:]:
        kernels[last] = fastest[last]
    return kernels
