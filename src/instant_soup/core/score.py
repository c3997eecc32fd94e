"""Score: how much a weight matters. Higher means keep.

A score is a function of a learner; what it returns is lazy, one parameter at a time. Those that
need examples take a `Sample` too.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

import torch

from .prune import Scores
from .task import Learner, Sample
from .weights import Elementwise, Lazy

Score = Callable[[Learner], Scores]


def magnitude(learner: Learner) -> Scores:
    """The absolute value of each weight (Han et al., 2015; global over the scope as in BERT-Tickets)."""
    view = learner.view()
    return Elementwise({name: view[name] for name in learner.scope}, torch.abs)


def chance(learner: Learner) -> Scores:
    """A number drawn at random for each weight, from the run's seed and the parameter's name."""

    def draw(name: str) -> torch.Tensor:
        scope, dice = learner.scope, torch.Generator().manual_seed(learner.seed("random score", name))
        return scope.shards.part(name, torch.randint(2**62, scope.shapes[name], generator=dice))

    return Lazy(learner.scope, draw)


def snip(learner: Learner, sample: Sample) -> Scores:
    """|g * theta|: how much the loss changes, to first order, when the weight goes (Lee et al., 2019).

    *g* is the gradient of the mean loss over the whole sample: summed first, absolute value last.
    Nothing is initialised anew, unlike in the authors' code, which scores untrained networks.
    """
    gradient, view = learner.gradient(sample), learner.view()
    return Lazy(learner.scope, lambda name: (gradient[name] * view[name]).abs())


def grasp(learner: Learner, sample: Sample, temperature: float = 1.0, *, absolute: bool = False) -> Scores:
    """What theta * (H g) says: how much gradient flow is lost when the weight goes (Wang et al., 2020).

    The paper removes the weights with the largest -theta * (H g), whose loss hurts gradient flow
    least or helps it; those have the lowest score here. *temperature* divides the logits; the
    authors' code has 200. *absolute* keeps what matters to gradient flow either way (Frankle et al., 2021).
    """
    curvature, view = learner.curvature(sample, temperature), learner.view()

    def score(name: str) -> torch.Tensor:
        flow = curvature[name] * view[name]
        return flow.abs() if absolute else flow

    return Lazy(learner.scope, score)


SCORES: Mapping[str, Score] = MappingProxyType({"magnitude": magnitude, "random": chance})
