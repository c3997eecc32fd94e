"""Blend: from a round's weak masks to one score, which one `prune` then cuts exactly.

Where a blend ranks weights by how many masks keep them, the current score settles ties. The two
travel in one integer score, the rank in its upper half and the bits of the score in its
lower half, so that a rank outweighs any score and none of a float32's precision is lost.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from ..core.errors import ScopeError
from ..core.mask import Mask
from ..core.score import Scores
from ..core.table import Table
from ..core.votes import ranked as votes_first
from ..core.weights import Lazy, Weights
from .denoiser import NOTHING, Outlook, Wanted

REACH = 3.0
"""How many times the mean displacement of the look-aheads `extrapolated` goes on."""


@dataclass(frozen=True)
class Standing:
    """Where a learner stands when its look-aheads are blended.

    Attributes:
        scores: of its weights as they are; not below zero.
        before: its weights before the look-aheads, which they all started from.
        score: scores of any weights in place of its own.
    """

    scores: Scores
    before: Weights
    score: Callable[[Weights], Scores]


@dataclass(frozen=True)
class Blend:
    """A way to blend.

    Attributes:
        score: from an outlook and where the learner stands to scores.
        wanted: what it reads of the look-aheads beside their masks.
        deferred: whether a round keeps whatever any mask keeps, and only the last one trims to
            the exact count. Trimming each round by the magnitudes that the union was made of
            would undo the union and leave plain one-shot pruning.
    """

    score: Callable[[Outlook, Standing], Scores]
    wanted: Wanted = NOTHING
    deferred: bool = False


def votes(outlook: Outlook, standing: Standing) -> Scores:
    """How many masks keep each weight."""
    # small numbers are added up several times faster
    dtype = torch.uint8 if len(outlook.masks) < 256 else torch.int64
    scope = outlook.masks[0].scope

    def count(name: str) -> Tensor:
        total = torch.zeros(scope.here(name), dtype=dtype)
        for mask in outlook.masks:
            total += mask[name].view(torch.uint8)
        return total

    return _ranked(outlook, count, standing.scores)


def union(outlook: Outlook, standing: Standing) -> Scores:
    """Whether any mask keeps it, as in the paper's Algorithm 2."""
    return _kept(outlook, outlook.union, standing.scores)


def intersection(outlook: Outlook, standing: Standing) -> Scores:
    """Whether every mask keeps it, as in one of the authors' scripts."""
    return _kept(outlook, outlook.intersection, standing.scores)


def lookahead(outlook: Outlook, standing: Standing) -> Scores:
    """The mean score that the look-aheads reach; the masks have no say.

    By curvature this is the mean of |w_n| v_n^1/4, each factor as one look-ahead saw it.
    """
    return outlook.scores if outlook.scores is not None else standing.scores


def bound(outlook: Outlook, standing: Standing) -> Scores:
    """The mean score plus its spread over the look-aheads, so that what they disagree on is kept.

    An upper confidence bound of the score, as in PLATON (Zhang et al., 2022).
    """
    mean = outlook.scores
    spread = outlook.spread
    if mean is None or spread is None:
        return standing.scores
    return Lazy(mean, lambda name: mean[name] + spread[name])


def extrapolated(outlook: Outlook, standing: Standing) -> Scores:
    """The score of w + k mean(w_n - w): where the mean displacement of the look-aheads leads when it goes on."""
    reached = outlook.weights
    if reached is None:
        return standing.scores

    before = standing.before

    def beyond(name: str) -> Tensor:
        return torch.lerp(before[name], reached[name], REACH)

    return standing.score(Lazy(outlook.masks[0].scope, beyond))


BLENDS: Mapping[str, Blend] = Table(
    "blend",
    {
        "votes": Blend(votes),
        "lookahead": Blend(lookahead, Wanted(scores=True)),
        "bound": Blend(bound, Wanted(scores=True, spread=True)),
        "extrapolated": Blend(extrapolated, Wanted(weights=True)),
        "union": Blend(union, deferred=True),
        "intersection": Blend(intersection),
    },
)


def _kept(outlook: Outlook, mask: Mask, scores: Scores) -> Scores:
    """What *mask* keeps before all else, each by its score."""
    return _ranked(outlook, lambda name: mask[name].view(torch.uint8), scores)


def _ranked(outlook: Outlook, rank: Callable[[str], Tensor], scores: Scores) -> Scores:
    """Weights by *rank* first and by their score among equals; worked out as `prune` asks for them."""

    def ranked(name: str) -> Tensor:
        score = scores[name].detach().float().cpu()
        if bool(score.isnan().any()):
            raise ScopeError(
                f"{name!r} holds NaN, which has no rank; training has diverged: lower the learning rate"
            )

        return votes_first(rank(name), score)

    return Lazy(outlook.masks[0].scope, ranked)
