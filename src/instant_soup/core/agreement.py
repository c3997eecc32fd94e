"""Agreement: how alike two masks are, beyond what chance would give.

Two masks that keep half of the weights at random already share a quarter of them. So beside the
cosine and the Jaccard index (Jaiswal et al., ICML 2023, compare masks by cosine in Figure 3b) stand
their values corrected for chance: 0 for masks that share no more than chance has them share, 1 for
masks that share all they can. Chance places the survivors of each mask anywhere in the *model*, or
within each *layer* as many as the mask keeps there; against the second, two masks that only agree
on how much to keep in which layer agree on nothing.
"""

from __future__ import annotations

from collections.abc import Callable
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


def agreement(mask: Mask, other: Mask) -> Agreement:
    """How alike *mask* and *other* are. Raises ScopeError when they are of different scopes."""
    return _agreement(mask, other, tuple(mask.scope))


def by_layer(mask: Mask, other: Mask) -> dict[str, Agreement]:
    """The same for each parameter, within which both baselines of chance are one. Raises ScopeError."""
    return {name: _agreement(mask, other, (name,)) for name in mask.scope}


def _agreement(mask: Mask, other: Mask, names: tuple[str, ...]) -> Agreement:
    """How alike two masks are on the parameters *names*."""
    shared = (mask & other).kept_by_name
    both = sum(shared[name] for name in names)
    a = sum(mask.kept_by_name[name] for name in names)
    b = sum(other.kept_by_name[name] for name in names)
    size = sum(mask.scope.numel(name) for name in names)

    # how many weights both keep if chance places the survivors in each layer, and at most
    by_chance = 0.0
    at_most = 0
    for name in names:
        kept = mask.kept_by_name[name]
        kept_too = other.kept_by_name[name]
        by_chance += kept * kept_too / mask.scope.numel(name)
        at_most += min(kept, kept_too)

    in_model = _Chance(a, b, both, by_chance=a * b / size, at_most=min(a, b))
    in_layers = _Chance(a, b, both, by_chance, at_most)
    return Agreement(
        one=a,
        other=b,
        both=both,
        cosine=_cosine(a, b, both),
        jaccard=_jaccard(a, b, both),
        distance=(a + b - 2 * both) / size,
        cosine_in_model=in_model.corrected(_cosine),
        jaccard_in_model=in_model.corrected(_jaccard),
        cosine_in_layers=in_layers.corrected(_cosine),
        jaccard_in_layers=in_layers.corrected(_jaccard),
    )


@dataclass(frozen=True)
class _Chance:
    """How many weights two masks keep, of which both keep some; and how many both would keep by chance, and at most."""

    a: int
    b: int
    both: int
    by_chance: float
    at_most: int

    def corrected(self, index: Callable[[int, int, float], float]) -> float:
        """What *index* finds above chance, as a share of what it could find above chance."""
        if self.both == self.a == self.b:
            return 1.0

        chance = index(self.a, self.b, self.by_chance)
        most = index(self.a, self.b, self.at_most)
        if most - chance <= 1e-12:
            return 0.0
        return (index(self.a, self.b, self.both) - chance) / (most - chance)


def _cosine(a: int, b: int, both: float) -> float:
    return both / sqrt(a * b) if a and b else 0.0


def _jaccard(a: int, b: int, both: float) -> float:
    return both / (a + b - both) if a or b else 1.0
