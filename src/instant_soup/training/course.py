"""Course: what a learner learns from, whatever the model and the data are."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Protocol

from torch import Tensor, nn

from ..core.errors import TrainingError
from ..core.goal import Goal
from ..core.scope import Scope
from ..core.task import Base
from .flops import ForwardCost

Batch = Any
Predict = Callable[[nn.Module, Batch], tuple[Tensor, Tensor]]
"""(model, batch) -> outputs [n, ...] and targets [n, ...]."""
Loss = Callable[[Tensor, Tensor, float], Tensor]
"""(outputs, targets, label smoothing) -> the mean loss over the batch, a scalar."""
Metric = Callable[[Tensor, Tensor], Mapping[str, float]]
"""(outputs, targets) of a whole split -> figures by name, the one that selection goes by first."""


class Examples(Protocol):
    """A split, encoded once. Batches are put together by index."""

    def __len__(self) -> int: ...

    @property
    def lengths(self) -> Sequence[int] | None:
        """How long each example is, where that differs; batches are then of similar length."""

    @property
    def targets(self) -> Tensor | None:
        """Classes int64 [n] or scores float [n], read without encoding anything; None where that cannot be."""

    def batch(self, indices: Sequence[int]) -> Batch:
        """These examples, ready for the model."""


@dataclass(frozen=True)
class Course:
    """A pre-trained model and what it is to learn.

    Attributes:
        model: at the pre-trained weights, the new head drawn from the run's seed. Learners copy it.
        scope: what may be pruned of it.
        base: name and hash of the pre-trained weights.
        fresh: parameters that the pre-trained model does not have.
        train, validation, test: the splits; selection sees validation, test is read once.
        lower_is_better: whether the first figure of *metric* is better the lower it is, as perplexity is.
        logits: whether outputs are logits, which a temperature divides.
        facts: how the test split is judged, as records tell it.
        classes: their names, in the order of their numbers; none where there are no classes.
    """

    name: str
    model: nn.Module
    scope: Scope
    base: Base
    fresh: frozenset[str]
    train: Examples
    validation: Examples
    test: Examples
    predict: Predict
    loss: Loss
    metric: Metric
    lower_is_better: bool = False
    logits: bool = True
    facts: Mapping[str, Any] = field(default_factory=dict)
    classes: tuple[str, ...] = ()

    @property
    def goal(self) -> Goal | None:
        """What the model is trained for; None where nothing of it belongs to this task alone."""
        if not self.fresh and not self.classes:
            return None
        return Goal(self.name, tuple(self.classes))

    @property
    def notes(self) -> Mapping[str, Sequence[Any]]:
        """What every ticket that is drawn on it notes."""
        return self.goal.note() if self.goal else {}

    def selected(self, outputs: Tensor, targets: Tensor) -> float:
        """The figure that selection goes by, of a whole split; higher is better."""
        figure = next(iter(self.metric(outputs, targets).values()))
        return -figure if self.lower_is_better else figure

    def batch_loss(
        self,
        model: nn.Module,
        batch: Batch,
        label_smoothing: float = 0.0,
        temperature: float = 1.0,
    ) -> Tensor:
        """The mean loss over *batch*, a scalar; outputs are divided by *temperature* first."""
        if temperature != 1 and not self.logits:
            raise TrainingError(
                f"temperature is {temperature:g}, and a language task has no use for it; set it to 1"
            )

        outputs, targets = self.predict(model, batch)
        if temperature != 1:
            outputs = outputs / temperature
        return self.loss(outputs, targets, label_smoothing)

    @property
    def mark(self) -> tuple[str, str, int]:
        """What tells courses apart: name, hash of the pre-trained weights, number of training examples."""
        return self.name, self.base.digest, len(self.train)

    @cached_property
    def faults_in_half(self) -> dict[str, str]:
        """What goes wrong with the model in bf16, by the kind of device; "" for nothing. Noted when it is tried."""
        return {}

    @cached_property
    def forward_cost(self) -> ForwardCost:
        """What a forward pass of the model costs."""
        return ForwardCost(self.model, self.predict)
