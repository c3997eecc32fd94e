"""Pruning by calibration: Wanda, RIA and SparseGPT.

    for each block of theta_0, in order:
        X <- the inputs of its matrices over a few examples, through the blocks already pruned
        mask <- keep the best-scored weights of each row, matrix or group of its matrices, by theta_0 and X

Wanda (Sun et al., ICLR 2024) scores |W| times the norm of the input, RIA (Zhang et al., ICLR 2024) the relative
importance of the weight in its row and its column. SparseGPT (Frantar and Alistarh, ICML 2023) prunes by optimal brain
surgery and updates what survives, so its tickets carry start weights.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ..core import bits, calibration
from ..core.budget import Meter
from ..core.errors import KnobError, unknown
from ..core.mask import Mask
from ..core.pattern import UNSTRUCTURED, Pattern, best, by_pattern, by_row, check_pattern
from ..core.prune import Across, shares, survivors
from ..core.task import Task
from ..core.ticket import Ticket
from .method import describe

SCORES = ("wanda", "ria", "sparsegpt")
USUAL: dict[str, Across] = {"wanda": "row", "ria": "layer", "sparsegpt": "layer"}
"""Where the authors compare weights."""


@dataclass(frozen=True)
class Calibrated:
    """Cut once, block by block, by what the inputs of each matrix are over a few examples.

    Knobs:
        score: ``"wanda"``, ``"ria"`` or ``"sparsegpt"``.
        samples: training examples that inputs are taken over.
        across: the same share of each ``"row"`` or ``"layer"``; as the authors do if None: rows for Wanda, layers
            for RIA and SparseGPT.
        pattern: ``"unstructured"``, or ``"N:M"`` to keep N of every M neighbouring inputs, such as ``"2:4"``.
    """

    score: str = "wanda"
    samples: int = 128
    across: Across | None = None
    pattern: str = UNSTRUCTURED

    def __post_init__(self) -> None:
        if self.score not in SCORES:
            raise unknown("score", self.score, SCORES)
        if self.samples < 1:
            raise KnobError(f"samples is {self.samples}; expected 1 or more examples to calibrate on")
        if self.across == "model":
            raise KnobError(f"across is 'model', and {self.score} cuts block by block; set it to 'layer' or 'row'")
        if self.across == "row" and self.score == "sparsegpt":
            raise KnobError("across is 'row', and sparsegpt cuts across the rows of a matrix; set it to 'layer'")
        Pattern.named(self.pattern)

    @property
    def name(self) -> str:
        return self.score

    @property
    def trains(self) -> bool:
        return False

    def draw(self, task: Task, sparsity: float, meter: Meter | None = None) -> Ticket:
        """Draw a ticket in a single pass over the blocks. Raises SparsityError when *sparsity* cannot be reached."""
        check_pattern(self.pattern, sparsity)
        learner = task.learner(meter or Meter())
        scope, pattern = learner.scope, Pattern.named(self.pattern)
        keep = survivors(sparsity, scope.size)
        if pattern is not None:
            pattern.check(scope)

        cutter = Cutter(self.score, self.across or USUAL[self.score], pattern)
        parts = shares(scope, learner.mask.kept_by_name, keep)
        packed: dict[str, Tensor] = {}
        sample = learner.seed("calibration")
        for statistics in learner.inputs(self.samples, sample, second_moment=cutter.second_moment):
            weights, view = {}, learner.view()
            for name, statistic in statistics.items():
                flags, weights[name] = cutter.cut(view[name], statistic, parts[name], scope.inputs.get(name, -1))
                packed[name] = bits.pack(flags.cpu())
            learner.restore(weights)

        learner.apply_mask(Mask.from_packed(scope, {name: packed[name] for name in scope}))
        return Ticket.drawn(learner, describe(self))


@dataclass(frozen=True)
class Cutter:
    """Cuts one matrix by what its inputs are.

    Attributes:
        score: one of `SCORES`, or ``"magnitude"``.
        across: ``"layer"`` or ``"row"``.
    """

    score: str
    across: Across
    pattern: Pattern | None = None

    @property
    def second_moment(self) -> bool:
        """Whether it needs the second moment of inputs, or their squares."""
        return self.score == "sparsegpt"

    def cut(self, weight: Tensor, statistic: Tensor, keep: int, dim: int) -> tuple[Tensor, Tensor]:
        """Which weights are kept, bool; and what they are then, zero where pruned. Both of the weight's shape.

        Args:
            weight: a matrix, or a stack of them.
            statistic: of its inputs, as `Learner.inputs` gives it.
            keep: how many weights survive, where there is no pattern.
            dim: along which its inputs lie.
        """
        quota = self.pattern.keep if self.pattern else keep
        if self.score == "sparsegpt":
            return calibration.sparsegpt(weight.cpu(), statistic.cpu(), quota, self.pattern, dim)

        score = self.scored(weight, statistic, dim).cpu()
        alive = torch.ones_like(score, dtype=torch.bool)
        if self.pattern is not None:
            flags = by_pattern(score, alive, self.pattern, quota, dim)
        elif self.across == "row":
            flags = by_row(score, alive, quota, dim)
        else:
            flags = best(score.reshape(1, -1), alive.reshape(1, -1), quota).view(score.shape)
        return flags, weight.masked_fill(~flags.to(weight.device), 0)

    def scored(self, weight: Tensor, statistic: Tensor, dim: int) -> Tensor:
        """The score of each weight; higher means keep."""
        if self.score == "magnitude":
            return weight.abs()
        return (calibration.wanda if self.score == "wanda" else calibration.ria)(weight, statistic, dim)
