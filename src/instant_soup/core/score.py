"""Score: how much a weight matters. Higher means keep.

A score is a function of a learner; what it returns is lazy, one parameter at a time.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

import torch

from .prune import Scores
from .task import Learner
from .weights import Elementwise, Lazy

Score = Callable[[Learner], Scores]


def magnitude(learner: Learner) -> Scores:
    """The absolute value of each weight (Han et al., 2015; global over the scope as in BERT-Tickets)."""
    view = learner.view()
    return Elementwise({name: view[name] for name in learner.scope}, torch.abs)


def chance(learner: Learner) -> Scores:
    """A number drawn at random for each weight, from the run's seed and the parameter's name."""

    def draw(name: str) -> torch.Tensor:
        dice = torch.Generator().manual_seed(learner.seed("random score", name))
        return torch.randint(2**62, learner.scope.shapes[name], generator=dice)

    return Lazy(learner.scope, draw)


SCORES: Mapping[str, Score] = MappingProxyType({"magnitude": magnitude, "random": chance})
