"""Pruning by calibration: Wanda, RIA and SparseGPT.

    for each block of theta_0, in order:
        X <- the inputs of its matrices over a few examples, through the blocks already pruned
        mask <- keep the best-scored weights of each row, matrix or group of its matrices, by theta_0 and X

Wanda (Sun et al., ICLR 2024) scores |W| times the norm of the input, RIA (Zhang et al., ICLR 2024) the relative
importance of the weight in its row and its column. SparseGPT (Frantar and Alistarh, ICML 2023) prunes by optimal brain
surgery and updates what survives, so its tickets carry start weights.

With several subsets of the examples, as denoisers of Instant Soup are, each block is decided by votes:

        mask_i <- keep the best-scored weights by theta_0 and X_i, the inputs over subset i
        mask <- keep what most of the masks keep; among equals, the best by the mean of their scores
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ..core import bits, calibration
from ..core.budget import Meter
from ..core.errors import KnobError, unknown
from ..core.kinds import checked_knobs
from ..core.mask import Mask
from ..core.pattern import (
    UNSTRUCTURED,
    Pattern,
    best,
    by_pattern,
    by_row,
    check_pattern,
    matrices,
)
from ..core.prune import Across, shares, survivors
from ..core.task import Learner, Task
from ..core.ticket import Ticket
from ..core.votes import ranked
from ..core.weights import Weights
from .method import describe

SCORES = ("wanda", "ria", "sparsegpt")
USUAL: dict[str, Across] = {"wanda": "row", "ria": "layer", "sparsegpt": "layer"}
"""Where the authors compare weights."""


@checked_knobs
@dataclass(frozen=True)
class Calibrated:
    """Cut once, block by block, by what the inputs of each matrix are over a few examples.

    Knobs:
        score: ``"wanda"``, ``"ria"`` or ``"sparsegpt"``.
        samples: training examples that inputs are taken over.
        across: the same share of each ``"row"`` or ``"layer"``, which of a stack of experts is each expert; as the
            authors do if None: rows for Wanda, layers for RIA and SparseGPT.
        pattern: ``"unstructured"``, or ``"N:M"`` to keep N of every M neighbouring inputs, such as ``"2:4"``.
        subsets: into how many disjoint subsets the samples are divided; each makes a mask, and the masks vote.
    """

    score: str = "wanda"
    samples: int = 128
    across: Across | None = None
    pattern: str = UNSTRUCTURED
    subsets: int = 1

    def __post_init__(self) -> None:
        if self.score not in SCORES:
            raise unknown("score", self.score, SCORES)
        if self.samples < 1:
            raise KnobError(
                f"samples is {self.samples}; expected 1 or more examples to calibrate on"
            )
        if self.across == "model":
            raise KnobError(
                f"across is 'model', and {self.score} cuts block by block; set it to 'layer' or 'row'"
            )

        if self.across == "row" and self.score == "sparsegpt":
            raise KnobError(
                "across is 'row', and sparsegpt cuts across the rows of a matrix; set it to 'layer'"
            )
        if not 1 <= self.subsets <= self.samples:
            raise KnobError(
                f"subsets is {self.subsets}; expected 1 to {self.samples}, as many as there are samples"
            )
        if self.subsets > 1 and self.score == "sparsegpt":
            raise KnobError(
                "subsets vote on masks, and sparsegpt changes weights too; set subsets to 1, or take wanda"
            )
        Pattern.named(self.pattern)

    @property
    def name(self) -> str:
        return self.score

    @property
    def trains(self) -> bool:
        return False

    def draw(self, task: Task, sparsity: float, meter: Meter | None = None) -> Ticket:
        """Draw a ticket in a single pass over the blocks. Raises SparsityError when *sparsity* cannot be reached."""
        learner = task.learner(meter or Meter())
        scope = learner.scope
        check_pattern(self.pattern, sparsity, scope)
        keep = survivors(sparsity, scope.size)

        pattern = Pattern.named(self.pattern)
        cutter = Cutter(self.score, self.across or USUAL[self.score], pattern)
        quotas = shares(scope, learner.mask.kept_by_name, keep)
        packed: dict[str, Tensor] = {}
        reach = Reach()

        for statistics in self._blocks(learner, second_moment=cutter.second_moment):
            view = learner.view()
            weights = {}
            for name in statistics[0]:
                of_subsets = [statistic[name] for statistic in statistics]
                reach.add(of_subsets, view[name].ndim)
                dim = scope.inputs.get(name, -1)
                flags, weights[name] = cutter.vote(
                    view[name], of_subsets, quotas[name], dim
                )
                packed[name] = bits.pack(flags.cpu())
            # before the next block is looked at, whose inputs then come through what is left of this one
            learner.restore(weights)

        reach.warn()
        # blocks may come in another order than the scope, which a mask keeps
        in_order = {name: packed[name] for name in scope}
        learner.apply_mask(Mask.from_packed(scope, in_order))
        return Ticket.drawn(learner, describe(self))

    def _blocks(
        self, learner: Learner, *, second_moment: bool
    ) -> Iterator[tuple[Weights, ...]]:
        """What is known of the inputs of each block, by subset. All go through the blocks as they are by then."""
        seed = learner.seed("calibration")
        streams = []
        for index in range(self.subsets):
            subset = (index, self.subsets)
            stream = learner.inputs(
                self.samples, seed, second_moment=second_moment, subset=subset
            )
            streams.append(stream)

        # in step, so that the weights of a block are restored before any subset goes on to the next
        return zip(*streams, strict=True)


@dataclass
class Reach:
    """How many members of stacks, such as experts, the text to calibrate on has reached.

    Attributes:
        members: how many were looked at.
        missed: how many of them got no input at all, and so are cut by their magnitudes.
    """

    members: int = 0
    missed: int = 0

    def add(self, statistics: Sequence[Tensor], ndim: int) -> None:
        """Count those of a parameter of *ndim* dimensions; *statistics* are of its inputs, one for each subset."""
        if ndim == 2:
            return

        seen = []
        for statistic in statistics:
            # squares have a dimension less than the parameter, second moments as many
            squares = statistic
            if statistic.ndim == ndim:
                squares = statistic.diagonal(dim1=-2, dim2=-1)
            seen.append((squares != 0).any(-1))

        reached = torch.stack(seen).any(0)
        self.members += reached.numel()
        self.missed += int((~reached).sum())

    def warn(self) -> None:
        """Say so where the text left some out."""
        if self.missed:
            warnings.warn(
                f"{self.missed:,} of {self.members:,} matrices of experts were given nothing by the text to calibrate "
                f"on, so they are cut by magnitude; calibrate on more text, or on text of more kinds",
                stacklevel=3,
            )


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

    def cut(
        self, weight: Tensor, statistic: Tensor, keep: int, dim: int
    ) -> tuple[Tensor, Tensor]:
        """Which weights are kept, bool; and what they are then, zero where pruned. Both of the weight's shape.

        Args:
            weight: a matrix, or a stack of them.
            statistic: of its inputs, as `Learner.inputs` gives it.
            keep: how many weights survive, where there is no pattern.
            dim: along which its inputs lie.
        """
        if self.score == "sparsegpt":
            quota = self.pattern.keep if self.pattern else keep
            return calibration.sparsegpt(
                weight, statistic.to(weight.device), quota, self.pattern, dim
            )

        flags = self.kept(weight, statistic, keep, dim)
        return flags, weight.masked_fill(~flags.to(weight.device), 0)

    def kept(self, weight: Tensor, statistic: Tensor, keep: int, dim: int) -> Tensor:
        """Which weights are kept, bool, by a score that leaves them as they are. Arguments as for `cut`."""
        if weight.ndim == 2 or self.across_stack:
            return self._best(self.scored(weight, statistic, dim).cpu(), keep, dim)

        # one at a time, which takes less memory
        stack = matrices(weight, dim)
        statistics = statistic.reshape(len(stack), -1)
        scores = (
            self.scored(matrix, squares, -1).cpu()
            for matrix, squares in zip(stack, statistics, strict=True)
        )
        return self._best_of_each(scores, weight.shape, keep, dim)

    @property
    def across_stack(self) -> bool:
        """Whether weights of all matrices of a stack, such as experts, are compared with one another.

        What inputs come to depends on how many there were, and an expert gets as many as it is called for. So scores by
        inputs compare within each matrix, as their authors do, who have a layer for each.
        """
        return self.score == "magnitude" and self.across == "layer" and not self.pattern

    def vote(
        self, weight: Tensor, statistics: Sequence[Tensor], keep: int, dim: int
    ) -> tuple[Tensor, Tensor]:
        """As `cut`, by the votes of the masks that each of *statistics* makes; their mean score settles ties."""
        if len(statistics) == 1:
            return self.cut(weight, statistics[0], keep, dim)

        votes = torch.zeros(weight.shape, dtype=torch.int64)
        mean = torch.zeros(weight.shape)
        for statistic in statistics:
            # in float32, for a mean of many scores in half precision would tie where none of them did
            score = self.scored(weight, statistic, dim).float().cpu()
            votes += self._best_of_each(matrices(score, dim), weight.shape, keep, dim)
            mean += score / len(statistics)

        stack = matrices(ranked(votes, mean), dim)
        flags = self._best_of_each(stack, weight.shape, keep, dim)
        return flags, weight.masked_fill(~flags.to(weight.device), 0)

    def _best_of_each(
        self, scores: Iterable[Tensor], shape: torch.Size, keep: int, dim: int
    ) -> Tensor:
        """The best-scored weights of each matrix of a parameter of *shape*, bool; *scores* are of one after another."""
        flags = torch.empty(shape, dtype=torch.bool)
        parts = matrices(flags, dim)
        count, outputs, _ = parts.shape

        # the first rows, or the first matrices, have one more where shares are not even
        units = count * outputs if self.across == "row" else count
        share, rest = divmod(keep, units)
        of_each = units // count
        for number, (part, score) in enumerate(zip(parts, scores, strict=True)):
            more = min(max(rest - number * of_each, 0), of_each)
            part.copy_(self._best(score, share * of_each + more, -1))
        return flags

    def _best(self, score: Tensor, keep: int, dim: int) -> Tensor:
        """The best-scored weights, bool: so many of the matrix, or the pattern's share of each group."""
        alive = torch.ones_like(score, dtype=torch.bool)
        if self.pattern is not None:
            return by_pattern(score, alive, self.pattern, self.pattern.keep, dim)
        if self.across == "row":
            return by_row(score, alive, keep, dim)

        # the whole matrix as one group
        kept = best(score.reshape(1, -1), alive.reshape(1, -1), keep)
        return kept.view(score.shape)

    def scored(self, weight: Tensor, statistic: Tensor, dim: int) -> Tensor:
        """The score of each weight; higher means keep."""
        if self.score == "magnitude":
            return weight.abs()

        by_inputs = calibration.wanda if self.score == "wanda" else calibration.ria
        score = torch.empty(weight.shape, dtype=torch.float32, device=weight.device)
        stack = matrices(weight, dim)
        statistics = statistic.reshape(len(stack), -1)
        # one at a time, for what is made on the way is several times as large
        for number, part in enumerate(matrices(score, dim)):
            part.copy_(by_inputs(stack[number], statistics[number]))
        return score
