"""StandIn: a learner of one small matrix that learns nothing and charges everything.

The matrix changes at random with every piece of training, so that a method that stops once things
have settled never does, and each evaluation is better than all before, so that a method that takes
what helps takes everything: what is charged is the most that a run can cost.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import ceil
from typing import Any

import torch

from ..core.budget import Cost, Meter, Purpose
from ..core.mask import Mask
from ..core.pattern import UNSTRUCTURED, Pattern
from ..core.scope import Scope
from ..core.task import Base, Brief, Item, Learner, Sample, Seen, Variation
from ..core.weights import Weights
from ..engine import wire
from ..recipes.recipe import Recipe
from ..training.inputs import PASSES
from ..training.seeds import stream
from ..training.sensitivity import CURVATURE, GRADIENT
from .sizes import Sizes

_SIDE = 512


@dataclass(frozen=True)
class Round:
    """The look-aheads that a method asked for at once.

    Attributes:
        steps: of each.
        returned: bytes that come back from each, per weight in scope.
        carried: whether the optimiser's memory goes with them.
    """

    steps: tuple[int, ...]
    returned: float
    carried: bool


def _scope(pattern: str) -> Scope:
    """One matrix, which the pattern called *pattern* divides as it does the matrices of a real model."""
    groups = Pattern.named(pattern)
    width = _SIDE
    if groups:
        width = groups.of * ceil(_SIDE / groups.of)
    return Scope({"stand-in": (_SIDE, width)})


class StandIn:
    """A learner that charges and does not learn.

    Args:
        rounds: where to note the look-aheads that are asked for; nowhere if None.
        pattern: that the method cuts by.
    """

    base = Base("stand-in", "")
    fresh = frozenset[str]()

    def __init__(
        self,
        meter: Meter,
        sizes: Sizes,
        rounds: list[Round] | None = None,
        horizon: int | None = None,
        pattern: str = UNSTRUCTURED,
    ) -> None:
        self.scope = _scope(pattern)
        self.meter = meter
        self.horizon = horizon or sizes.horizon
        self.epoch = sizes.epoch
        self.steps_taken = 0

        self._sizes = sizes
        self._rounds = rounds
        # how often it has trained, and how good its last evaluation was
        self._drift = 0
        self._value = 0.0

        self.mask = Mask.dense(self.scope)
        self.origin = self._drifted()
        self.notes: Mapping[str, Sequence[Any]] = {}
        self.aside: Sequence[Mask] = ()

    def seed(self, *purpose: str | int) -> int:
        return stream(0, *purpose)

    def view(self) -> Weights:
        masked = {}
        for name, tensor in self._drifted().items():
            masked[name] = tensor * self.mask[name]
        return masked

    weights = view

    def restore(self, weights: Weights) -> None:
        del weights  # nothing here learns

    def apply_mask(self, mask: Mask) -> None:
        self.mask = mask

    def train(self, steps: int, purpose: Purpose = "train") -> None:
        self._charge(steps, purpose)
        self.steps_taken += steps

    def complete(self, variation: Variation | None = None, *, at: int = 0) -> None:
        del variation
        self._charge(self.horizon - at, "train")
        self.steps_taken = self.horizon

    def look_ahead(
        self, briefs: Sequence[Brief], look: Callable[[Learner], Seen]
    ) -> Iterator[Seen]:
        if self._rounds is not None and briefs:
            returned = wire.pack(look(self)).size / self.scope.size
            noted = Round(
                steps=tuple(brief.steps for brief in briefs),
                returned=returned,
                carried=any(brief.carry_optimizer for brief in briefs),
            )
            self._rounds.append(noted)

        # charged one by one, because a method may stop before it has asked for all

        for brief in briefs:
            self._charge(brief.steps, "look-ahead")
            yield look(self)

    def advance(self, weights: Weights, steps: int) -> None:
        del weights
        self.steps_taken += steps

    def evaluate(self) -> float:
        examples = self._sizes.validation
        self.meter.charge("select", Cost(examples=examples, passes=examples))
        self._value += 1
        return self._value

    # charged alike: both read the validation split once
    loss = evaluate

    def gradient(self, sample: Sample) -> Weights:
        self._charge_sample(sample, GRADIENT)
        return self._drifted()

    def curvature(self, sample: Sample, temperature: float = 1.0) -> Weights:
        del temperature
        self._charge_sample(sample, GRADIENT)
        self._charge_sample(sample, CURVATURE)
        return self._drifted()

    def inputs(
        self,
        examples: int,
        seed: int,
        *,
        second_moment: bool = False,
        subset: tuple[int, int] = (0, 1),
    ) -> Iterator[Weights]:
        del seed
        index, count = subset
        available = min(examples, self._sizes.train)
        # every count-th example from the index-th on, as the learner takes them
        in_subset = len(range(index, available, count))
        self.meter.charge("score", Cost(0, in_subset, PASSES * in_subset))

        for name, (_, width) in self.scope.shapes.items():
            yield {name: torch.eye(width) if second_moment else torch.ones(width)}

    def second_moments(self) -> Weights:
        return {name: tensor.square() for name, tensor in self._drifted().items()}

    def rounds(self, items: Iterable[Item]) -> Iterator[Item]:
        yield from items

    def note(self, key: str, value: Any) -> None:
        pass

    def set_aside(self, masks: Sequence[Mask]) -> None:
        self.aside = tuple(masks)

    def _charge(self, steps: int, purpose: Purpose) -> None:
        examples = steps * self._sizes.batch
        # a step passes forward once, and backward at twice the cost
        self.meter.charge(purpose, Cost(steps, examples, 3 * examples))
        self._drift += 1

    def _charge_sample(self, sample: Sample, ways: int) -> None:
        train = sample.split == "train"
        most = self._sizes.train if train else self._sizes.validation
        examples = min(sample.per_class * self._sizes.groups, most)
        purpose: Purpose = "score" if train else "select"
        self.meter.charge(purpose, Cost(0, examples, ways * examples))

    def _drifted(self) -> Weights:
        dice = torch.Generator().manual_seed(self._drift)
        weights = {}
        for name, shape in self.scope.shapes.items():
            weights[name] = torch.randn(shape, generator=dice)
        return weights


@dataclass(frozen=True)
class StandInTask:
    """A task of the real one's sizes."""

    sizes: Sizes
    rounds: list[Round] | None = None
    pattern: str = UNSTRUCTURED

    @property
    def name(self) -> str:
        return self.sizes.name

    @property
    def horizon(self) -> int:
        return self.sizes.horizon

    def learner(self, meter: Meter, *, horizon: int | None = None) -> StandIn:
        return StandIn(meter, self.sizes, self.rounds, horizon, self.pattern)


def pattern_of(recipe: Recipe) -> str:
    """The pattern that the method of *recipe* cuts by."""
    return str(recipe.method.get("pattern", UNSTRUCTURED))
