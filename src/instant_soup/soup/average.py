"""Average: many weights -> one. Where all ingredients are zero, so is the soup.

Model soups (Wortsman et al., 2022): the uniform mean, the greedy choice, and learned shares per
parameter. Whatever is chosen is chosen on the validation split.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ..core.table import Table
from ..core.task import Learner, Sample
from ..core.weights import Weights, lerp, mean


@dataclass(frozen=True)
class Soup:
    """Averaged weights, and which ingredients are in them, by number, in the order they were taken."""

    weights: Weights
    taken: tuple[int, ...]


def uniform(learner: Learner, bowls: Sequence[Weights], values: Sequence[float]) -> Soup:
    """The plain mean of all."""
    del learner, values
    return Soup(mean(bowls), tuple(range(len(bowls))))


def greedy(learner: Learner, bowls: Sequence[Weights], values: Sequence[float]) -> Soup:
    """Begin with the best; take another only if the mean with it is strictly better on the validation split.

    Args:
        values: validation figure of each ingredient; the soup's is never below the best of them.
    """
    first, *others = sorted(range(len(bowls)), key=lambda i: -values[i])
    soup = bowls[first]
    bar = values[first]
    taken = [first]

    for i in others:
        # the mean of all that was taken and this one, from the mean of what was taken
        candidate = lerp(soup, bowls[i], 1 / (len(taken) + 1))
        learner.restore(candidate)
        value = learner.evaluate()
        if value > bar:
            soup = candidate
            bar = value
            taken.append(i)

    return Soup(soup, tuple(taken))


def learned(
    learner: Learner,
    bowls: Sequence[Weights],
    values: Sequence[float],
    *,
    steps: int = 30,
    rate: float = 0.05,
    per_class: int = 16,
) -> Soup:
    """Shares of the ingredients, for each parameter its own, trained on the validation split by AdamW.

    The shares are a softmax that begins even. The authors also learn a scale of the logits, which
    changes no prediction and is left out. With g the gradient at the mix and p its shares, that of
    the logit of share k is p_k (g . theta_k - sum_m p_m g . theta_m), so no graph over K models is
    ever built.
    """
    del values
    names = [name for name, part in bowls[0].items() if part.is_floating_point()]
    logits = torch.zeros(len(names), len(bowls), requires_grad=True)
    optimizer = torch.optim.AdamW([logits], lr=rate, weight_decay=0.0)

    for step in range(steps):
        shares = logits.detach().softmax(1)
        learner.restore(_mix(bowls, names, shares))
        sample = Sample(per_class, learner.seed("learned soup", step), "validation")
        slope = learner.gradient(sample)

        rows = []
        for name in names:
            parts = [bowl[name] for bowl in bowls]
            rows.append(_along(slope.get(name), parts))
        # each rank has its rows of the products, whose sum is the whole product
        along = learner.scope.shards.team.added(torch.stack(rows))

        # the gradient by hand: autograd would hold a graph over all ingredients
        logits.grad = shares * (along - (shares * along).sum(1, keepdim=True))
        optimizer.step()

    shares = logits.detach().softmax(1)
    return Soup(_mix(bowls, names, shares), tuple(range(len(bowls))))


Average = Callable[[Learner, Sequence[Weights], Sequence[float]], Soup]
AVERAGES: Mapping[str, Average] = Table(
    "average", {"uniform": uniform, "greedy": greedy, "learned": learned}
)


def barrier(learner: Learner, start: Weights, end: Weights) -> float:
    """How much higher the validation loss is midway than the mean of both ends; 0 or less is one basin.

    After Frankle et al., 2020, with the midpoint for the whole line. Leaves the learner at *end*.
    """
    heights = []
    for weights in (start, lerp(start, end, 0.5), end):
        learner.restore(weights)
        heights.append(learner.loss())

    at_start, midway, at_end = heights
    return midway - (at_start + at_end) / 2


def _mix(bowls: Sequence[Weights], names: Sequence[str], shares: Tensor) -> Weights:
    """Each named parameter as a mean weighted by its row of *shares* [names, bowls]; the rest from the first."""
    mixed = {name: part.clone() for name, part in bowls[0].items()}
    for name, row in zip(names, shares.tolist(), strict=True):
        total = torch.tensor(0.0)
        for share, bowl in zip(row, bowls, strict=True):
            total = total + share * bowl[name]
        mixed[name] = total
    return mixed


def _along(slope: Tensor | None, parts: Sequence[Tensor]) -> Tensor:
    """How steep the loss is along each of *parts*, float32 [parts]."""
    if slope is None:  # a parameter that is not trained
        return torch.zeros(len(parts))
    products = [(slope * part).sum() for part in parts]
    return torch.stack([product.float().cpu() for product in products])
