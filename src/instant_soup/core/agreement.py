"""Agreement: how alike two masks are, beyond what chance would give.

Two masks that keep half of the weights at random already share a quarter of them. So beside the
cosine and the Jaccard index (Jaiswal et al., ICML 2023, compare masks by cosine in Figure 3b) stand
their values corrected for chance: 0 for masks that share no more than chance has them share, 1 for
masks that share all they can. Chance places the survivors of each mask anywhere in the *model*, or
within each *layer* as many as the mask keeps there; against the second, two masks that only agree
on how much to keep in which layer agree on nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import sqrt

from .mask import Mask


@dataclass(frozen=True)
class Agreement:
    """How alike two masks are.

    Attributes:
        one, other, both: how many weights each keeps, and how many both keep.
        cosine: both / sqrt(one * other); 0 where one of them keeps nothing.
        jaccard: both / either; 1 where neither keeps anything.
        distance: share of the weights on which they disagree (normalised Hamming distance).
        cosine_in_model, jaccard_in_model, cosine_in_layers, jaccard_in_layers: corrected for chance in
            the model or in each layer; 1 for equal masks, 0 where chance leaves nothing to agree on.
    """

    one: int
    other: int
    both: int
    cosine: float
    jaccard: float
    distance: float
    cosine_in_model: float
    jaccard_in_model: float
    cosine_in_layers: float
    jaccard_in_layers: float


def agreement(one: Mask, other: Mask) -> Agreement:
    """How alike *one* and *other* are. Raises ScopeError when they are of different scopes."""
    return _agreement(one, other, tuple(one.scope))


def by_layer(one: Mask, other: Mask) -> dict[str, Agreement]:
    """The same for each parameter, within which both baselines of chance are one. Raises ScopeError."""
    return {name: _agreement(one, other, (name,)) for name in one.scope}


def _agreement(one: Mask, other: Mask, names: tuple[str, ...]) -> Agreement:
    shared = (one & other).kept_by_name
    sizes = [one.scope.numel(name) for name in names]
    mine, theirs = ([mask.kept_by_name[name] for name in names] for mask in (one, other))
    a, b, both, n = sum(mine), sum(theirs), sum(shared[name] for name in names), sum(sizes)
    layers = sum(x * y / size for x, y, size in zip(mine, theirs, sizes, strict=True))
    most_by_layer = sum(min(pair) for pair in zip(mine, theirs, strict=True))
    model, most = a * b / n, min(a, b)
    same = both == a == b
    return Agreement(
        a,
        b,
        both,
        _cosine(a, b, both),
        _jaccard(a, b, both),
        (a + b - 2 * both) / n,
        _beyond(_cosine(a, b, both), _cosine(a, b, model), _cosine(a, b, most), same),
        _beyond(_jaccard(a, b, both), _jaccard(a, b, model), _jaccard(a, b, most), same),
        _beyond(_cosine(a, b, both), _cosine(a, b, layers), _cosine(a, b, most_by_layer), same),
        _beyond(_jaccard(a, b, both), _jaccard(a, b, layers), _jaccard(a, b, most_by_layer), same),
    )


def _cosine(a: int, b: int, both: float) -> float:
    return both / sqrt(a * b) if a and b else 0.0


def _jaccard(a: int, b: int, both: float) -> float:
    return both / (a + b - both) if a or b else 1.0


def _beyond(found: float, chance: float, most: float, same: bool) -> float:
    """What is found above chance, as a share of what could be found above it."""
    if same:
        return 1.0
    return (found - chance) / (most - chance) if most - chance > 1e-12 else 0.0
