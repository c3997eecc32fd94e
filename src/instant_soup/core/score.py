"""Score: how much a weight matters. Higher means keep.

A score is a function of a learner; what it returns is lazy, one parameter at a time. Those that
need examples take a `Sample` too.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Protocol

import torch
from torch import Tensor

from .errors import unknown
from .table import Table
from .task import Learner, Sample
from .weights import Elementwise, Lazy, Weights

Scores = Mapping[str, Tensor]
"""A tensor of the parameter's shape for each parameter in scope; higher means keep."""
Score = Callable[[Learner], Scores]

POWER = 0.25
"""To what power `curved` raises the second moment: the square root of Adam's own curvature, its fourth root."""


class Saliency(Protocol):
    """A score that training alone provides, of the learner's own weights or of others in their place."""

    def __call__(self, learner: Learner, weights: Weights | None = None) -> Scores:
        """Scores of *weights*, or of the learner's own if None. They are not below zero."""


def magnitude(learner: Learner, weights: Weights | None = None) -> Scores:
    """The absolute value of each weight (Han et al., 2015; global over the scope as in BERT-Tickets)."""
    scored = learner.view() if weights is None else weights
    return Elementwise({name: scored[name] for name in learner.scope}, torch.abs)


def curved(
    learner: Learner, weights: Weights | None = None, power: float = POWER
) -> Scores:
    """|w| v^power: how much the loss rises when the weight goes, by the optimiser's memory of its gradients.

    Optimal brain damage (LeCun et al., 1990) removes the weight whose w^2 h / 2 is least, with h the curvature of
    the loss. Adam takes h = v^1/2, with v its running mean of squared gradients; the square root of w^2 v^1/2 is
    |w| v^1/4. *v* is a mean over hundreds of batches that training keeps anyway, so the score costs no pass.

    Where the learner has trained nothing there is no *v*. The score is the magnitude then, which is noted.
    """
    moments = learner.second_moments()
    if not moments:
        # once, though every round may ask
        if "score" not in learner.notes:
            reason = (
                "magnitude, for nothing was trained that curvature could be read from"
            )
            learner.note("score", reason)
        return magnitude(learner, weights)

    scored = learner.view() if weights is None else weights

    def compute(name: str) -> Tensor:
        return scored[name].detach().float().abs() * moments[name].pow(power)

    return Lazy(learner.scope, compute)


def chance(learner: Learner) -> Scores:
    """A number drawn at random for each weight, from the run's seed and the parameter's name."""
    scope = learner.scope

    def draw(name: str) -> Tensor:
        dice = torch.Generator().manual_seed(learner.seed("random score", name))
        # of the whole parameter, so that the mask does not depend on the number of ranks
        scores = torch.randint(2**62, scope.shapes[name], generator=dice)
        return scope.shards.part(name, scores)

    return Lazy(scope, draw)


def snip(learner: Learner, sample: Sample) -> Scores:
    """|g * theta|: how much the loss changes, to first order, when the weight goes (Lee et al., 2019).

    *g* is the gradient of the mean loss over the whole sample: summed first, absolute value last.
    Nothing is initialised anew, unlike in the authors' code, which scores untrained networks.
    """
    gradient = learner.gradient(sample)
    view = learner.view()
    return Lazy(learner.scope, lambda name: (gradient[name] * view[name]).abs())


def grasp(
    learner: Learner, sample: Sample, temperature: float = 1.0, *, absolute: bool = False
) -> Scores:
    """What theta * (H g) says: how much gradient flow is lost when the weight goes (Wang et al., 2020).

    The paper removes the weights with the largest -theta * (H g), whose loss hurts gradient flow
    least or helps it; those have the lowest score here. *temperature* divides the logits; the
    authors' code has 200. *absolute* keeps what matters to gradient flow either way (Frankle et al., 2021).
    """
    curvature = learner.curvature(sample, temperature)
    view = learner.view()

    def score(name: str) -> Tensor:
        flow = curvature[name] * view[name]
        return flow.abs() if absolute else flow

    return Lazy(learner.scope, score)


SALIENCIES: Mapping[str, Saliency] = Table(
    "score", {"magnitude": magnitude, "curved": curved}
)
"""What a method that trains before it cuts may cut by."""


def saliency(name: str) -> Saliency:
    """The saliency of that *name*. Raises UnknownName."""
    if name not in SALIENCIES:
        raise unknown("score", name, SALIENCIES)
    return SALIENCIES[name]


SCORES: Mapping[str, Score] = Table("score", {"magnitude": magnitude, "random": chance})
