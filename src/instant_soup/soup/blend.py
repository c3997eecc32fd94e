"""Blend: from a round's weak masks to one score, which one `prune` then cuts exactly.

Where a blend ranks weights by how many masks keep them, the current magnitude settles ties. The
two travel in one integer score, the rank in its upper half and the bits of the magnitude in its
lower half, so that a rank outweighs any magnitude and none of a float32's precision is lost.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

import torch
from torch import Tensor

from ..core.errors import ScopeError
from ..core.mask import Mask
from ..core.prune import Scores
from ..core.weights import Lazy, Weights
from .denoiser import Outlook


@dataclass(frozen=True)
class Blend:
    """A way to blend.

    Attributes:
        score: from an outlook and the current weights to scores.
        magnitude: whether it reads the mean look-ahead magnitude of the outlook.
        deferred: whether a round keeps whatever any mask keeps, and only the last one trims to
            the exact count. Trimming each round by the magnitudes that the union was made of
            would undo the union and leave plain one-shot pruning.
    """

    score: Callable[[Outlook, Weights], Scores]
    magnitude: bool = False
    deferred: bool = False


def votes(outlook: Outlook, weights: Weights) -> Scores:
    """How many masks keep each weight."""
    whole = torch.uint8 if len(outlook.masks) < 256 else torch.int64  # small numbers are added up several times faster

    def count(name: str) -> Tensor:
        total = torch.zeros(outlook.masks[0].scope.here(name), dtype=whole)
        for mask in outlook.masks:
            total += mask[name].view(torch.uint8)
        return total

    return _ranked(outlook, count, weights)


def union(outlook: Outlook, weights: Weights) -> Scores:
    """Whether any mask keeps it, as in the paper's Algorithm 2."""
    return _kept(outlook, outlook.union, weights)


def intersection(outlook: Outlook, weights: Weights) -> Scores:
    """Whether every mask keeps it, as in one of the authors' scripts."""
    return _kept(outlook, outlook.intersection, weights)


def lookahead(outlook: Outlook, weights: Weights) -> Scores:
    """The mean magnitude that the look-aheads reach; the masks have no say."""
    return outlook.magnitude if outlook.magnitude is not None else Lazy(weights, lambda name: weights[name].abs())


BLENDS: Mapping[str, Blend] = MappingProxyType(
    {
        "votes": Blend(votes),
        "lookahead": Blend(lookahead, magnitude=True),
        "union": Blend(union, deferred=True),
        "intersection": Blend(intersection),
    }
)


def _kept(outlook: Outlook, mask: Mask, weights: Weights) -> Scores:
    return _ranked(outlook, lambda name: mask[name].view(torch.uint8), weights)


def _ranked(outlook: Outlook, rank: Callable[[str], Tensor], weights: Weights) -> Scores:
    def score(name: str) -> Tensor:
        size = weights[name].detach().float().abs().cpu()
        if bool(size.isnan().any()):
            raise ScopeError(f"{name!r} holds NaN, which has no rank; training has diverged: lower the learning rate")
        above = rank(name).long().bitwise_left_shift_(32)
        return above.add_(size.view(torch.int32))  # the bits are ordered as the floats are

    return Lazy(outlook.masks[0].scope, score)
