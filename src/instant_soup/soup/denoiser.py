"""Denoiser: a brief, slightly different training whose mask is weak but cheap.

Instant Soup Pruning, Algorithm 2 (Jaiswal et al., 2023). The paper does not say which protocols
it varies over; the ranges here are ours and a knob.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial, reduce
from itertools import combinations
from operator import and_, or_

from torch import Tensor

from ..core import score
from ..core.errors import KnobError
from ..core.mask import Mask
from ..core.prune import Across, prune
from ..core.task import Brief, Learner, Training
from ..core.weights import Weights

Range = tuple[float, float]


@dataclass(frozen=True)
class Protocols:
    """What look-aheads may vary, each drawn evenly from its range (low, high).

    *rate* is a factor on the main line's current learning rate and is drawn on a log scale.
    """

    rate: Range = (1.0, 3.0)
    weight_decay: Range = (0.0, 0.1)
    label_smoothing: Range = (0.0, 0.0)
    subset: Range = (0.5, 0.5)

    def __post_init__(self) -> None:
        for knob, low, high in (
            ("rate", 0.0, 1e3),
            ("weight_decay", 0.0, 10.0),
            ("label_smoothing", 0.0, 0.99),
            ("subset", 0.0, 1.0),
        ):
            given = getattr(self, knob)
            if not isinstance(given, (tuple, list)) or len(given) != 2:
                raise KnobError(f"{knob} range is {given!r}; expected two numbers, (low, high)")
            first, last = given
            if not (low <= first <= last <= high) or (knob in ("rate", "subset") and first == 0):
                raise KnobError(f"{knob} range is {(first, last)}; expected (low, high) within {low:g} and {high:g}")

    def draw(self, dice: random.Random) -> Training:
        """One way to train for a moment."""
        low, high = self.rate
        return Training(
            rate=low * (high / low) ** dice.random(),
            weight_decay=dice.uniform(*self.weight_decay),
            label_smoothing=dice.uniform(*self.label_smoothing),
            subset=dice.uniform(*self.subset),
            seed=dice.randrange(2**31),
        )


def briefs(
    count: int, steps: int, protocols: Protocols, seed: int, *, carry_optimizer: bool = False, warmup: int = 0
) -> list[Brief]:
    """*count* look-aheads of *steps* steps that differ in their training."""
    dice = random.Random(seed)
    return [Brief(steps, protocols.draw(dice), carry_optimizer, warmup) for _ in range(count)]


@dataclass(frozen=True)
class Outlook:
    """What a round's look-aheads saw: their weak masks and, where asked for, means over them.

    The means are sums made as look-aheads come in, so memory does not grow with their number.
    """

    masks: tuple[Mask, ...]
    magnitude: Weights | None = None
    weights: Weights | None = None

    @property
    def union(self) -> Mask:
        """What any of the masks keeps."""
        return reduce(or_, self.masks)

    @property
    def intersection(self) -> Mask:
        """What all of the masks keep."""
        return reduce(and_, self.masks)

    @property
    def unanimous(self) -> float:
        """Share of the scope on which all masks agree; 1 without masks."""
        return 1 - self.union.distance(self.intersection) if self.masks else 1.0

    @property
    def agreement(self) -> float:
        """Share of the scope on which two masks agree, on average over all pairs; 1 below two masks."""
        pairs = [1 - one.distance(other) for one, other in combinations(self.masks, 2)]
        return sum(pairs) / len(pairs) if pairs else 1.0


@dataclass
class Settled:
    """Tells whether one more mask still changes the ticket by *share* of what it keeps, or more."""

    blend: Callable[[Outlook], Mask]
    share: float
    _last: Mask | None = field(default=None, init=False)

    def __call__(self, outlook: Outlook) -> bool:
        """Whether the last mask of *outlook* changed the blend by less than the share."""
        last, self._last = self._last, self.blend(outlook)
        return last is not None and (last ^ self._last).kept < self.share * self._last.kept


def denoise(
    learner: Learner,
    looks: Sequence[Brief],
    sparsity: float,
    *,
    across: Across = "model",
    magnitude: bool = False,
    weights: bool = False,
    enough: Callable[[Outlook], bool] | None = None,
) -> Outlook:
    """Look ahead once per brief and prune what is seen there by magnitude to *sparsity*.

    Where *magnitude* or *weights* is set, the mean of the look-ahead weights' absolute values, or
    of the weights themselves, comes back too. *enough* is asked after each look-ahead whether the
    rest may be left out.
    """
    see = partial(_see, sparsity=sparsity, across=across, magnitude=magnitude, weights=weights)
    masks: list[Mask] = []
    sizes, places = _Mean(), _Mean()
    for mask, seen in learner.look_ahead(looks, see):
        masks.append(mask)
        if magnitude:
            sizes.add({name: seen[name].abs() for name in learner.scope} if weights else seen)
        if weights:
            places.add(seen)
        if enough is not None and enough(Outlook(tuple(masks), sizes.value)):
            break
    return Outlook(tuple(masks), sizes.value, places.value)


def _see(learner: Learner, sparsity: float, across: Across, magnitude: bool, weights: bool) -> tuple[Mask, Weights]:
    """The weak mask, and a copy of what is asked for: all weights, or the sizes of the prunable ones alone."""
    sizes = score.magnitude(learner)
    mask = prune(sizes, learner.mask, sparsity, across=across)
    if weights:
        return mask, learner.weights()
    return mask, dict(sizes) if magnitude else {}


class _Mean:
    """The mean of weights, added up as they come. Nothing it is given is written to."""

    def __init__(self) -> None:
        self.count = 0
        self.total: dict[str, Tensor] = {}

    def add(self, weights: Weights) -> None:
        self.count += 1
        for name, tensor in weights.items():
            if name not in self.total:
                self.total[name] = tensor
            elif tensor.is_floating_point():  # of an integer buffer the first is kept
                self.total[name] = self.total[name] + tensor

    @property
    def value(self) -> Weights | None:
        if not self.count:
            return None
        return {name: total / self.count if total.is_floating_point() else total for name, total in self.total.items()}
