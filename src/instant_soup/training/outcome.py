"""Outcome: what a whole training ends with, and the key under which it is kept so that none is done twice."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Self

from torch import Tensor

from ..core.budget import Cost, Meter
from ..core.content import content_key
from ..core.task import Variation
from ..core.weights import Weights, digest
from .feed import Feed
from .place import inside, under

# the parts of an outcome on the shelf; keys name them too
_WEIGHTS = "weights"
_MOMENTS = "second moments"


@dataclass(frozen=True)
class Outcome:
    """The end of a whole training.

    Attributes:
        weights: parameters and buffers, masked.
        second_moments: Adam's, over the scope.
        cost: what the training was charged.
        seconds: how long it took whoever did it.
        reused: whether another run did it.
    """

    weights: Weights
    second_moments: Weights
    cost: Cost
    seconds: float
    reused: bool = False

    def packed(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """The outcome as a shelf keeps it. Who takes it tells by the owner whether it is reused."""
        tensors = under(_WEIGHTS, self.weights) | under(_MOMENTS, self.second_moments)
        return tensors, {"cost": asdict(self.cost), "seconds": self.seconds}

    @classmethod
    def unpacked(cls, tensors: Mapping[str, Tensor], facts: Mapping[str, Any]) -> Self:
        """The outcome that a shelf gives."""
        return cls(
            weights=inside(_WEIGHTS, tensors),
            second_moments=inside(_MOMENTS, tensors),
            cost=Cost(**facts["cost"]),
            seconds=facts["seconds"],
            reused=facts["reused"],
        )

    @classmethod
    def reached(cls, feed: Feed, cost_before: Cost, seconds_before: float) -> Self:
        """Where the model of *feed* stands now, after a training that began when the meter stood at these figures."""
        cost, seconds = trained_so_far(feed.meter)
        return cls(
            weights=feed.model.view(),
            second_moments=dict(feed.model.second_moments()),
            cost=cost - cost_before,
            seconds=seconds - seconds_before,
        )

    def take_over(self, feed: Feed) -> None:
        """Have the model of *feed* stand here, charged in full."""
        feed.meter.charge("train", self.cost, reused=self.reused, seconds=self.seconds)
        feed.tell("train")
        feed.model.restore(self.weights)
        feed.model.keep_moments(self.second_moments)


def trained_so_far(meter: Meter) -> tuple[Cost, float]:
    """What all training has been charged, and the seconds that it took."""
    return meter.bill.get("train", Cost()), meter.seconds.get("train", 0.0)


def training_key(
    feed: Feed, seed: int, variation: Variation | None, line: tuple[int, int]
) -> str:
    """What a whole training depends on, in one hash.

    Args:
        feed: what is trained and on what, as it stands at the start.
        seed: of the run.
        variation: how it differs from the main line; None for the main line itself.
        line: the step of the learning-rate line that it begins at, and how long the line is.
    """
    weights = feed.model.view()
    facts = {
        "course": feed.course.name,
        "regime": feed.regime.asked(),
        "seed": seed,
        "training": asdict(variation) if variation else None,
        "line": list(line),
        "mask": feed.model.mask.digest,
        "weights": digest(weights, sorted(weights)),
        "outcome": [_WEIGHTS, _MOMENTS],
    }
    return content_key(facts)
