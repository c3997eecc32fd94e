"""Denoiser: a brief, slightly different training whose mask is weak but cheap.

Instant Soup Pruning, Algorithm 2 (Jaiswal et al., 2023). The paper does not say which protocols
it varies over; the ranges here are ours and a knob.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial, reduce
from itertools import combinations
from operator import and_, or_
from typing import Literal

from torch import Tensor

from ..core.errors import KnobError, unknown
from ..core.mask import Mask
from ..core.pattern import UNSTRUCTURED
from ..core.prune import Across, prune
from ..core.score import Saliency, magnitude
from ..core.task import Brief, Learner, Portion, Variation
from ..core.weights import Weights

Range = tuple[float, float]
Subsets = Literal["random", "disjoint", "classes", "lengths"]
SUBSETS: tuple[Subsets, ...] = ("random", "disjoint", "classes", "lengths")

# knob -> the least and the largest value that either end of its range may have
_BOUNDS = {
    "rate": (0.0, 1e3),
    "weight_decay": (0.0, 10.0),
    "label_smoothing": (0.0, 0.99),
    "subset": (0.0, 1.0),
}


@dataclass(frozen=True)
class Protocols:
    """What look-aheads may vary, each drawn evenly from its range (low, high).

    Attributes:
        rate: a factor on the main line's current learning rate, drawn on a log scale.
        weight_decay: of AdamW, in place of the main line's.
        label_smoothing: of the loss.
        subset: the share of the training examples that a look-ahead draws from.
        subsets: how the look-aheads' subsets differ. ``"random"`` ones are, to a few steps, all alike;
            ``"disjoint"`` ones share no example within a round; ``"classes"`` have other shares of the classes,
            ``"lengths"`` longer or shorter texts, and need a *subset* below 1.
    """

    rate: Range = (1.0, 3.0)
    weight_decay: Range = (0.0, 0.1)
    label_smoothing: Range = (0.0, 0.0)
    subset: Range = (0.5, 0.5)
    subsets: Subsets = "random"

    def __post_init__(self) -> None:
        for knob, (low, high) in _BOUNDS.items():
            interval = getattr(self, knob)
            if not isinstance(interval, (tuple, list)) or len(interval) != 2:
                raise KnobError(
                    f"{knob} range is {interval!r}; expected two numbers, (low, high)"
                )

            first, last = interval
            positive = first > 0 or knob not in ("rate", "subset")
            if not (low <= first <= last <= high and positive):
                raise KnobError(
                    f"{knob} range is {(first, last)}; expected (low, high) within {low:g} and {high:g}"
                )

        if self.subsets not in SUBSETS:
            raise unknown("subsets", str(self.subsets), SUBSETS)
        if self.subsets in ("classes", "lengths") and self.subset[1] == 1:
            raise KnobError(
                f"subsets are by {self.subsets!r} and subset is {self.subset}, which may leave nothing out; "
                f"set subset to (0.5, 0.5) for example"
            )

    def draw(self, dice: random.Random) -> Variation:
        """One way to train for a moment."""
        low, high = self.rate
        return Variation(
            rate=low * (high / low) ** dice.random(),
            weight_decay=dice.uniform(*self.weight_decay),
            label_smoothing=dice.uniform(*self.label_smoothing),
            subset=dice.uniform(*self.subset),
            seed=dice.randrange(2**31),
            lean=self.subsets if self.subsets in ("classes", "lengths") else "none",
        )


def briefs(
    count: int,
    steps: int,
    protocols: Protocols,
    seed: int,
    *,
    carry_optimizer: bool = False,
    warmup: int = 0,
) -> list[Brief]:
    """*count* look-aheads of *steps* steps that differ in their training."""
    dice = random.Random(seed)
    variations = [protocols.draw(dice) for _ in range(count)]

    # with one seed for all, which divides the examples for them together
    if protocols.subsets == "disjoint":
        variations = [
            replace(variation, portion=Portion(index, count, seed))
            for index, variation in enumerate(variations)
        ]

    return [Brief(steps, variation, carry_optimizer, warmup) for variation in variations]


@dataclass(frozen=True)
class Outlook:
    """What a round's look-aheads saw: their weak masks and, where asked for, means over them.

    The means are sums made as look-aheads come in, so memory does not grow with their number.

    Attributes:
        masks: one of each look-ahead.
        scores: the mean of what the look-aheads' weights score, float32 of the weights' shapes.
        spread: the standard deviation of that over the look-aheads.
        weights: the mean of the look-aheads' weights.
    """

    masks: tuple[Mask, ...]
    scores: Weights | None = None
    spread: Weights | None = None
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
        pairs = [
            1 - first.distance(second) for first, second in combinations(self.masks, 2)
        ]
        return sum(pairs) / len(pairs) if pairs else 1.0


@dataclass
class Settled:
    """Tells whether one more mask still changes the ticket by *share* of what it keeps, or more."""

    blend: Callable[[Outlook], Mask]
    share: float
    _last: Mask | None = field(default=None, init=False)

    def __call__(self, outlook: Outlook) -> bool:
        """Whether the last mask of *outlook* changed the blend by less than the share."""
        last = self._last
        mask = self.blend(outlook)
        self._last = mask
        if last is None:
            return False

        changed = (last ^ mask).kept
        return changed < self.share * mask.kept


@dataclass(frozen=True)
class Wanted:
    """What of a look-ahead comes back beside its mask."""

    scores: bool = False
    spread: bool = False
    weights: bool = False


NOTHING = Wanted()


@dataclass(frozen=True)
class Seen:
    """What came back of one look-ahead."""

    mask: Mask
    scores: Weights
    weights: Weights


def denoise(
    learner: Learner,
    looks: Sequence[Brief],
    sparsity: float,
    *,
    score: Saliency = magnitude,
    across: Across = "model",
    pattern: str = UNSTRUCTURED,
    wanted: Wanted = NOTHING,
    enough: Callable[[Outlook], bool] | None = None,
) -> Outlook:
    """Look ahead once per brief and prune what is seen there by *score* to *sparsity*.

    *wanted* says which means over the look-aheads come back too. *enough* is asked after each look-ahead whether
    the rest may be left out.
    """
    look = partial(
        _see,
        sparsity=sparsity,
        score=score,
        across=across,
        pattern=pattern,
        wanted=wanted,
    )
    masks: list[Mask] = []
    scores = _Mean()
    squares = _Mean()
    weights = _Mean()

    for seen in learner.look_ahead(looks, look):
        masks.append(seen.mask)
        scores.add(seen.scores)
        weights.add(seen.weights)
        if wanted.spread:
            # a sum of squares, so that no look-ahead has to be kept for the spread
            squares.add({name: part.square() for name, part in seen.scores.items()})

        if enough is not None and enough(_outlook(masks, scores, squares, weights)):
            break

    return _outlook(masks, scores, squares, weights)


def _outlook(
    masks: Sequence[Mask], scores: _Mean, squares: _Mean, weights: _Mean
) -> Outlook:
    """What has come in so far."""
    mean = scores.value
    return Outlook(tuple(masks), mean, _deviation(mean, squares.value), weights.value)


def _see(
    learner: Learner,
    sparsity: float,
    score: Saliency,
    across: Across,
    pattern: str,
    wanted: Wanted,
) -> Seen:
    """The weak mask, and a copy of what is wanted."""
    scores = score(learner)
    mask = prune(scores, learner.mask, sparsity, across=across, pattern=pattern)

    # worked out now, because scores are lazy and the look-ahead's weights go when it ends
    values: Weights = dict(scores) if wanted.scores or wanted.spread else {}
    weights = learner.weights() if wanted.weights else {}
    return Seen(mask, values, weights)


def _deviation(mean: Weights | None, mean_square: Weights | None) -> Weights | None:
    """The standard deviation of what has this mean and this mean square."""
    if mean is None or mean_square is None:
        return None

    deviation = {}
    for name, part in mean.items():
        variance = mean_square[name] - part.square()
        # rounding may leave a little less than nothing
        deviation[name] = variance.clamp_min(0).sqrt()
    return deviation


class _Mean:
    """The mean of weights, added up as they come. Nothing that is added is written to."""

    def __init__(self) -> None:
        self.count = 0
        self.total: dict[str, Tensor] = {}

    def add(self, weights: Weights) -> None:
        self.count += 1
        for name, tensor in weights.items():
            if name not in self.total:
                self.total[name] = tensor
            elif tensor.is_floating_point():
                # a new tensor, because the first one is whoever's it was; of an integer buffer the first is kept
                self.total[name] = self.total[name] + tensor

    @property
    def value(self) -> Weights | None:
        """The mean; None where nothing was added."""
        if not self.total:
            return None
        return {
            name: total / self.count if total.is_floating_point() else total
            for name, total in self.total.items()
        }


def votes_noted(
    target: float, mask: Mask, own: Mask, outlook: Outlook
) -> dict[str, float]:
    """How far the look-aheads' masks agree, and how far the blend moved from the plain cut.

    All are shares of the scope: *unanimous* that on which all masks agree, *agreement* that on
    which two of them do, on average; *moved* that on which the blend and the plain cut differ.
    """
    return {
        "target": target,
        "sparsity": mask.sparsity,
        "look-aheads": len(outlook.masks),
        "unanimous": outlook.unanimous,
        "agreement": outlook.agreement,
        "moved": mask.distance(own),
    }
