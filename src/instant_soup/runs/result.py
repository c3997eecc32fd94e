"""Result: how good a ticket is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from ..core.budget import Cost
from ..core.kinds import checked_class
from ..core.notebook import facts
from ..core.weights import Weights


@checked_class
@dataclass(frozen=True)
class Result:
    """How good a ticket is.

    Attributes:
        test: the task's figures on the test split, read once.
        validation: the figure that selection goes by, on the validation split.
        cost: what it took to get here: drawing the ticket, fine-tuning and validating; the test reading left out.
        weights: the fine-tuned weights, zero where the ticket prunes.
        drawing: the part of *cost* that went into drawing the ticket.
    """

    test: Mapping[str, float]
    validation: float
    cost: Cost
    weights: Weights
    drawing: Cost = field(default_factory=Cost)

    def __repr__(self) -> str:
        figures = ", ".join(f"{name}={value:.4f}" for name, value in self.test.items())
        return f"Result({figures}, validation={self.validation:.4f}, steps={self.cost.steps:,})"

    def _repr_html_(self) -> str:
        """The figures, where a notebook shows them."""
        figures = {f"test {name}": f"{value:.4f}" for name, value in self.test.items()}
        drawing = f"{self.drawing.passes:,} of them to draw"
        cost = f"{self.cost.steps:,} steps, {self.cost.passes:,} passes, {drawing}"

        rows = {**figures, "validation": f"{self.validation:.4f}", "cost": cost}
        return facts("Result", rows)
