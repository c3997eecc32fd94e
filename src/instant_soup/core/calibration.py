"""Calibration: how much a weight matters to what its matrix gives out, by the inputs that the matrix gets.

Weights are taken as matrices of one output a row; `Scope.inputs` says along which dimension inputs lie. What has more
than two dimensions is a stack of such matrices, such as experts, each with inputs of its own. Higher scores mean keep.
"""

from __future__ import annotations

import torch
from torch import Tensor

from .errors import TrainingError
from .pattern import Pattern, best, matrices

POWER = 0.5
"""To what power RIA raises the norm of inputs."""
DAMPING = 0.01
"""What SparseGPT adds to the diagonal of the second moment, as a share of its mean."""
COLUMNS = 128
"""How many inputs SparseGPT chooses among at a time, and works off before it updates the rest."""


def wanda(weight: Tensor, squares: Tensor, dim: int = -1) -> Tensor:
    """|W_ij| times the norm of input j (Sun et al., 2023).

    Args:
        weight: of any floating dtype, [..., outputs, inputs] once *dim* is moved to the end.
        squares: the sum of squares of each input over the sample, float32 [..., inputs].

    Returns:
        Float32, of the weight's shape.
    """
    score = weight.movedim(dim, -1).float().abs() * _norms(squares)
    return score.movedim(-1, dim)


def ria(weight: Tensor, squares: Tensor, dim: int = -1, power: float = POWER) -> Tensor:
    """The share of |W_ij| in its row and in its column, times the norm of input j to *power* (Zhang et al., 2024).

    Arguments and result as for `wanda`.
    """
    size = weight.movedim(dim, -1).float().abs()
    in_row = size / _above_zero(size.sum(-1, keepdim=True))
    in_column = size / _above_zero(size.sum(-2, keepdim=True))
    relative = in_row + in_column
    return (relative * _norms(squares) ** power).movedim(-1, dim)


def _norms(squares: Tensor) -> Tensor:
    """Norms of inputs, [..., 1, inputs]; ones where a matrix, such as an expert, got no input at all."""
    norms = squares.float().sqrt().unsqueeze(-2)
    nothing = (norms == 0).all(-1, keepdim=True)
    return norms.masked_fill(nothing, 1.0)


def _above_zero(sums: Tensor) -> Tensor:
    return sums.clamp(min=torch.finfo(sums.dtype).tiny)


def sparsegpt(
    weight: Tensor,
    moment: Tensor,
    keep: int,
    pattern: Pattern | None = None,
    dim: int = -1,
    damping: float = DAMPING,
) -> tuple[Tensor, Tensor]:
    """Prune by optimal brain surgery (Frantar and Alistarh, 2023): what survives of a row makes up for what goes.

    A member of a stack that got no input at all, such as an expert, is cut by magnitude and keeps its values.

    Inputs are gone through in order. Of every 128 the weights with the least w^2 / [H^-1]_jj are pruned, or the least
    of every group of *pattern*; each is set to zero and the inputs that follow are updated, H being the second moment.

    Args:
        weight: [..., outputs, inputs] once *dim* is moved to the end.
        moment: the sum of x x^T over the sample, float32 [..., inputs, inputs].
        keep: how many weights survive in all; with a *pattern*, how many of every group.

    Returns:
        Which weights are kept, bool; and their new values, of the weight's shape and dtype, zero where pruned.

    Raises:
        TrainingError: the second moment is not finite.
    """
    inputs = weight.shape[dim]
    moments = moment.reshape(-1, inputs, inputs)

    flags = torch.empty_like(weight, dtype=torch.bool)
    values = torch.empty_like(weight)
    kept = matrices(flags, dim)
    new = matrices(values, dim)
    old = matrices(weight, dim)

    share, rest = divmod(keep, len(old))
    for number, stored in enumerate(old):
        matrix = stored.to(torch.float32, copy=True).contiguous()
        quota = keep if pattern else share + (number < rest)
        root = _root(moments[number], matrix, damping)
        survives = _surgery(matrix, root, quota, pattern)

        # zero to the bit, which the updates leave only nearly
        new[number] = matrix.masked_fill_(~survives, 0.0)
        kept[number] = survives
    return flags, values


def _root(moment: Tensor, matrix: Tensor, damping: float) -> Tensor:
    """The upper Cholesky factor of the damped moment's inverse; weights of inputs that are always zero become zero.

    Where rounding leaves the moment without a factor, it is damped ten times as much, and again.
    """
    if not bool(moment.diagonal().isfinite().all()):
        raise TrainingError(
            "the second moment of some inputs is not finite; calibrate in float32, or on other text"
        )

    if not bool(moment.diagonal().any()):
        # nothing is known of what these weights do: magnitudes decide, and nothing makes up for what goes
        return torch.eye(len(moment), dtype=moment.dtype, device=moment.device)

    damped = moment.clone()
    diagonal = damped.diagonal()

    # an input that is always zero would leave the moment singular, and its weights do nothing
    silent = diagonal == 0
    matrix[:, silent] = 0.0
    diagonal[silent] = 1.0
    undamped = diagonal.clone()
    mean = undamped.mean()

    for power in range(8):
        diagonal.copy_(undamped + damping * 10**power * mean)
        factor, failed = torch.linalg.cholesky_ex(damped)
        if failed:
            continue

        inverse = torch.cholesky_inverse(factor)
        # each of these is as large as the moment, which of a wide matrix is most of what is in memory
        del factor
        root: Tensor
        root, failed = torch.linalg.cholesky_ex(inverse, upper=True)
        if not failed:
            return root

    raise TrainingError(
        "the second moment of some inputs has no Cholesky factor; calibrate on more text"
    )


def _surgery(matrix: Tensor, root: Tensor, keep: int, pattern: Pattern | None) -> Tensor:
    """Choose and update the weights of one matrix, in place: which are kept, bool [outputs, inputs]."""
    inputs = matrix.shape[1]
    kept = torch.ones_like(matrix, dtype=torch.bool)
    width = COLUMNS if pattern is None else max(1, COLUMNS // pattern.of) * pattern.of
    done = 0

    for first in range(0, inputs, width):
        last = min(first + width, inputs)
        part = matrix[:, first:last]
        corner = root[first:last, first:last]
        diagonal = corner.diagonal()
        errors = torch.zeros_like(part)

        if pattern is None:
            # the running total is rounded, so that shares are even and add up
            quota = round(keep * last / inputs) - done
            done += quota
            score = (part / diagonal).square().reshape(1, -1)
            alive = kept[:, first:last].reshape(1, -1)
            kept[:, first:last] = best(score, alive, quota).view_as(part)

        for column in range(last - first):
            if pattern is not None and column % pattern.of == 0:
                group = slice(column, column + pattern.of)
                score = (part[:, group] / diagonal[group]).square()
                alive = torch.ones_like(score).bool()
                flags = best(score, alive, keep)
                kept[:, first + group.start : first + group.stop] = flags

            # what a pruned weight gave is shared out among the inputs of this part that follow
            gone = part[:, column].masked_fill(kept[:, first + column], 0.0)
            error = gone / diagonal[column]
            part[:, column:] -= error[:, None] * corner[column, column:]
            errors[:, column] = error

        # and all at once among those of the parts that follow
        matrix[:, last:] -= errors @ root[first:last, last:]
    return kept
