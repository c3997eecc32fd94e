"""Pruning at initialisation, here at the pre-trained weights: SNIP and GraSP.

    mask <- keep the best-scored weights of theta_0, by gradients on a few examples of each class

SNIP (Lee et al., ICLR 2019) scores |g * theta|, GraSP (Wang et al., ICLR 2020) theta * (H g). Both
score the checkpoint as it is; the authors' codes score networks initialised anew.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from ..core.budget import Meter
from ..core.errors import KnobError, SparsityError
from ..core.kinds import checked_knobs
from ..core.pattern import UNSTRUCTURED, Pattern, check_pattern
from ..core.prune import Across, prune, survivors
from ..core.score import Scores, grasp, snip
from ..core.task import Learner, Sample, Task
from ..core.ticket import Ticket
from .method import describe


@checked_knobs
@dataclass(frozen=True)
class Snip:
    """Cut once, the weights whose loss changes the loss least.

    Knobs:
        per_class: examples of each class that the gradient is taken over; of each tenth of the
            scores where the label is a score.
        across: one cut across the ``"model"``, or the same share of each ``"layer"`` or ``"row"``.
        pattern: ``"unstructured"``, or ``"N:M"`` to keep N of every M neighbouring inputs, such as ``"2:4"``.
        allow_collapse: whether a matrix may lose all its weights; if not, that is an error.
    """

    per_class: int = 10
    across: Across = "model"
    pattern: str = UNSTRUCTURED
    allow_collapse: bool = False

    def __post_init__(self) -> None:
        _check_per_class(self.per_class)
        Pattern.named(self.pattern)

    @property
    def name(self) -> str:
        return "snip"

    @property
    def trains(self) -> bool:
        return False

    def draw(self, task: Task, sparsity: float, meter: Meter | None = None) -> Ticket:
        """Draw a ticket in a single cut. Raises SparsityError when a matrix would lose all its weights."""
        return _drawn(self, snip, task, sparsity, meter)


@checked_knobs
@dataclass(frozen=True)
class Grasp:
    """Cut once, the weights whose loss costs the least gradient flow.

    Knobs:
        per_class: examples of each class that gradient and curvature are taken over.
        temperature: what logits are divided by; the authors have 200, for untrained networks.
        absolute: whether to keep what changes gradient flow most either way. The method as published
            removes first what holds gradient flow down; of pre-trained weights that is what keeps
            the loss low.
        across: one cut across the ``"model"``, or the same share of each ``"layer"`` or ``"row"``.
        pattern: ``"unstructured"``, or ``"N:M"`` to keep N of every M neighbouring inputs, such as ``"2:4"``.
        allow_collapse: whether a matrix may lose all its weights; if not, that is an error.
    """

    per_class: int = 10
    temperature: float = 1.0
    absolute: bool = False
    across: Across = "model"
    pattern: str = UNSTRUCTURED
    allow_collapse: bool = False

    def __post_init__(self) -> None:
        _check_per_class(self.per_class)
        Pattern.named(self.pattern)
        if not self.temperature > 0:
            raise KnobError(
                f"temperature is {self.temperature}; expected a number above 0"
            )

    @property
    def name(self) -> str:
        return "grasp"

    @property
    def trains(self) -> bool:
        return False

    def draw(self, task: Task, sparsity: float, meter: Meter | None = None) -> Ticket:
        """Draw a ticket in a single cut. Raises SparsityError when a matrix would lose all its weights."""
        score = partial(grasp, temperature=self.temperature, absolute=self.absolute)
        return _drawn(self, score, task, sparsity, meter)


def _check_per_class(per_class: int) -> None:
    if per_class < 1:
        raise KnobError(
            f"per_class is {per_class}; expected 1 or more examples of each class"
        )


def _drawn(
    method: Snip | Grasp,
    score: Callable[[Learner, Sample], Scores],
    task: Task,
    sparsity: float,
    meter: Meter | None,
) -> Ticket:
    # all of this is refused before anything is scored
    learner = task.learner(meter or Meter())
    check_pattern(method.pattern, sparsity, learner.scope)
    survivors(sparsity, learner.scope.size)

    sample = Sample(method.per_class, learner.seed("score sample"))
    scores = score(learner, sample)
    mask = prune(
        scores, learner.mask, sparsity, across=method.across, pattern=method.pattern
    )
    if mask.collapsed and not method.allow_collapse:
        name = mask.collapsed[0]
        others = len(mask.collapsed) - 1
        raise SparsityError(
            f"at sparsity {sparsity} nothing is left of {name!r} ({mask.scope.numel(name):,} weights)"
            f"{f' and {others} more' if others else ''}; raise per_class, lower the sparsity, set across to 'layer', "
            f"or set allow_collapse if that is what you want"
        )

    learner.apply_mask(mask)
    return Ticket.drawn(learner, describe(method))
