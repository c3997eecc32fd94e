"""Pattern: cuts within small groups of one matrix: N of every M weights, or the same share of every row.

A group lies along the input dimension: the weights that one output multiplies with neighbouring inputs. Which dimension
that is stands in the scope (`Scope.inputs`), and `rows` is the one place that makes use of it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import prod

import torch
from torch import Tensor

from . import bits
from .errors import ScopeError, SparsityError, UnknownName
from .mask import Mask
from .scope import Scope
from .weights import Weights

UNSTRUCTURED = "unstructured"
AT_A_TIME = 1 << 22  # weights that are sorted at a time
# inputs in a group that are looked for in a mask; the same share of each row of narrow matrices would look like more
_WIDEST = 16

NAN = "a score holds NaN, which has no rank; the model or its gradients have diverged: lower the learning rate"


@dataclass(frozen=True)
class Pattern:
    """Of every *of* neighbouring inputs of an output, *keep* are kept."""

    keep: int
    of: int

    @classmethod
    def named(cls, name: str) -> Pattern | None:
        """The pattern called *name*: ``"2:4"`` keeps 2 of every 4. None for ``"unstructured"``.

        Raises UnknownName for anything else.
        """
        if name == UNSTRUCTURED:
            return None

        numbers = re.fullmatch(r"([1-9]\d*):([1-9]\d*)", str(name))
        if numbers is None or int(numbers[1]) >= int(numbers[2]):
            raise UnknownName(
                f"unknown pattern {name!r}; expected {UNSTRUCTURED!r}, or N:M with N below M, such as '2:4'"
            )
        return cls(int(numbers[1]), int(numbers[2]))

    @property
    def sparsity(self) -> float:
        """The share of the weights that goes in the end."""
        return 1 - self.keep / self.of

    def kept_at(self, sparsity: float) -> int:
        """How many of each group are kept at *sparsity*, which may be on the way to the pattern's own.

        Raises SparsityError where that is no whole number, or fewer than the pattern keeps.
        """
        kept = (1 - sparsity) * self.of
        if abs(kept - round(kept)) > 1e-6 or round(kept) < self.keep:
            raise SparsityError(
                f"sparsity {sparsity:g} keeps {kept:g} of every {self.of} weights, and pattern {self} "
                f"keeps {self.keep}; set the sparsity to {self.sparsity:g}"
            )
        return round(kept)

    def check(self, scope: Scope) -> None:
        """Raise ScopeError unless every parameter of *scope* divides into groups, and is whole here."""
        if scope.shards.team.size > 1:
            raise ScopeError(
                f"pattern {self} needs whole matrices, and ranks hold them between them; use one rank"
            )

        for name in scope:
            width = scope.shapes[name][scope.inputs.get(name, -1)]
            if width % self.of:
                raise ScopeError(
                    f"pattern {self} does not divide {name!r} of shape {scope.shapes[name]}, which has {width} inputs; "
                    f"take a pattern whose second number divides them, or leave that matrix out of the scope"
                )

    def __str__(self) -> str:
        return f"{self.keep}:{self.of}"


def check_pattern(name: str, sparsity: float, scope: Scope | None = None) -> None:
    """Refuse a *sparsity* that the pattern called *name* does not end at, and a *scope* that it does not divide.

    Raises SparsityError, ScopeError or UnknownName.
    """
    pattern = Pattern.named(name)
    if pattern is None:
        return
    if scope is not None:
        pattern.check(scope)

    # a sparsity that makes no sense at all is refused by `prune`, in its own words
    if 0 <= sparsity < 1 and abs(sparsity - pattern.sparsity) > 1e-6:
        raise SparsityError(
            f"sparsity is {sparsity:g} and pattern {pattern} prunes {pattern.sparsity:g}; set the sparsity to that"
        )


def stepped(targets: Sequence[float], name: str) -> tuple[float, ...]:
    """The sparsities *targets* of several rounds, each lowered to one at which whole weights of each group are kept.

    For ``"unstructured"`` they stay as they are. The last is the pattern's own, which the rounds approach by M-1:M,
    M-2:M and so on; a round may prune nothing new.
    """
    pattern = Pattern.named(name)
    if pattern is None:
        return tuple(targets)

    most = pattern.of - pattern.keep
    gone = [min(int(target * pattern.of + 1e-6), most) for target in targets]
    return tuple(count / pattern.of for count in gone)


def rows(tensor: Tensor, dim: int) -> Tensor:
    """*tensor* as a matrix with one output in each row: [outputs, inputs], inputs being its dimension *dim*."""
    return tensor.movedim(dim, -1).reshape(-1, tensor.shape[dim])


def matrices(tensor: Tensor, dim: int) -> Tensor:
    """*tensor* as a stack [matrices, outputs, inputs] in the same memory, inputs being its dimension *dim*."""
    moved = tensor.movedim(dim, -1)
    return moved.view(-1, *moved.shape[-2:])


def unrows(matrix: Tensor, shape: Sequence[int], dim: int) -> Tensor:
    """The tensor of *shape* of which `rows` made *matrix*."""
    moved = list(shape)
    width = moved.pop(dim)
    return matrix.reshape(*moved, width).movedim(-1, dim).contiguous()


def best(scores: Tensor, alive: Tensor, keep: Tensor | int) -> Tensor:
    """The best-scored living weights of each group: bool [groups, size]. Among equal scores the earlier wins.

    Args:
        scores: of any dtype that sorts, [groups, size].
        alive: which may be kept, bool [groups, size].
        keep: how many of each group, int64 [groups], or the same of all.

    Raises:
        ScopeError: the score of a living weight is NaN.
    """
    if scores.is_floating_point() and bool((scores.isnan() & alive).any()):
        raise ScopeError(NAN)

    kept = torch.empty_like(alive)
    if scores.shape[1] > AT_A_TIME:
        for number in range(len(scores)):
            of_group = keep if isinstance(keep, int) else int(keep[number])
            kept[number] = _best_of_many(scores[number], alive[number], of_group)
        return kept

    step = max(1, AT_A_TIME // scores.shape[1])
    for start in range(0, len(scores), step):
        part = slice(start, start + step)
        quota = keep if isinstance(keep, int) else keep[part, None]
        order = scores[part].sort(dim=1, descending=True, stable=True).indices
        living = alive[part].gather(1, order)
        chosen = living & (living.cumsum(1) <= quota)
        kept[part] = torch.zeros_like(chosen).scatter_(1, order, chosen)
    return kept


def _best_of_many(scores: Tensor, alive: Tensor, keep: int) -> Tensor:
    """The *keep* best-scored living weights of one group, bool [size], with one copy of the scores in memory."""
    living = scores[alive].cpu()
    if keep >= len(living):
        return alive
    if keep == 0:
        return torch.zeros_like(alive)

    # numpy knows no bfloat16, which float32 holds in the same order
    numbers = (living.float() if living.itemsize == 2 else living).numpy()
    place = len(numbers) - keep
    numbers.partition(place)
    cut = numbers[place].item()
    del living, numbers

    kept: Tensor = alive & (scores > cut)
    tied = (alive & (scores == cut)).nonzero()[:, 0]
    kept[tied[: keep - int(kept.sum())]] = True
    return kept


def quotas(alive: Tensor, keep: int) -> Tensor:
    """How many of each row are kept so that shares are even and add up to *keep*: int64 [rows].

    The first rows have one more where *keep* does not divide, so no row keeps more at a higher sparsity.

    Args:
        alive: which may be kept, bool [rows, inputs].
        keep: of all, not more than are alive.
    """
    count = len(alive)
    living = alive.sum(1).cpu()
    share, rest = divmod(keep, count)
    quota = (share + (torch.arange(count) < rest).long()).clamp(max=living)

    # rows already below their share leave room for the others, the first ones first
    room = living - quota
    missing = keep - int(quota.sum())
    before = room.cumsum(0) - room
    return quota + torch.minimum(room, (missing - before).clamp(min=0))


def by_row(score: Tensor, alive: Tensor, keep: int, dim: int) -> Tensor:
    """The same share of every row of one parameter, *keep* weights in all: bool, of the parameter's shape.

    Args:
        score, alive: of the parameter's shape.
        dim: along which its inputs lie.
    """
    living = rows(alive, dim)
    of_each = quotas(living, keep).to(score.device)
    kept = best(rows(score, dim), living, of_each)
    return unrows(kept, alive.shape, dim)


def by_pattern(
    score: Tensor, alive: Tensor, pattern: Pattern, keep: int, dim: int
) -> Tensor:
    """The *keep* best of every group of one parameter: bool, of the parameter's shape.

    Raises SparsityError where fewer than *keep* of a group are alive.
    """
    living = rows(alive, dim).reshape(-1, pattern.of)
    if int(living.sum(1).min()) < keep:
        raise SparsityError(
            f"of some group of {pattern.of} weights fewer than {keep} are left in the mask, which pattern {pattern} "
            f"keeps; begin with a mask of that pattern, or a dense one"
        )
    kept = best(rows(score, dim).reshape(-1, pattern.of), living, keep)
    return unrows(kept, alive.shape, dim)


def cut_by_row(scores: Weights, mask: Mask, parts: Mapping[str, int]) -> Mask:
    """So many weights of each parameter of *mask*, the same share of each of its rows. See `prune`."""
    if mask.scope.shards.team.size > 1:
        raise ScopeError(
            "across is 'row', and ranks hold the matrices between them; use one rank, or 'layer'"
        )

    kept = {}
    for name, keep in parts.items():
        dim = mask.scope.inputs.get(name, -1)
        flags = by_row(_score(scores, mask, name), mask[name], keep, dim)
        kept[name] = bits.pack(flags)
    return Mask.from_packed(mask.scope, kept)


def cut_by_pattern(scores: Weights, mask: Mask, pattern: Pattern, keep: int) -> Mask:
    """The *keep* best of every group of *pattern*. See `prune`."""
    pattern.check(mask.scope)

    kept = {}
    for name in mask:
        dim = mask.scope.inputs.get(name, -1)
        score = _score(scores, mask, name)
        flags = by_pattern(score, mask[name], pattern, keep, dim)
        kept[name] = bits.pack(flags)
    return Mask.from_packed(mask.scope, kept)


def _score(scores: Weights, mask: Mask, name: str) -> Tensor:
    """The whole score of one parameter, on the CPU."""
    score = scores[name].detach().cpu()
    expected = mask.scope.here(name)
    if tuple(score.shape) != expected:
        raise ScopeError(
            f"score of {name!r} is {tuple(score.shape)}; expected {expected}"
        )
    return score


def follows(flags: Tensor, pattern: Pattern, dim: int) -> bool:
    """Whether the mask *flags* of one parameter keeps exactly as many of every group as *pattern* does."""
    if flags.shape[dim] % pattern.of:
        return False

    groups = rows(flags, dim).reshape(-1, pattern.of)
    complete = len(groups) * pattern.of == prod(flags.shape)
    return complete and bool((groups.sum(1) == pattern.keep).all())


def pattern_of(mask: Mask) -> Pattern | None:
    """The smallest pattern, of at most 16 inputs, that every matrix of *mask* follows; None if there is none."""
    scope = mask.scope
    for of in range(2, _WIDEST + 1):
        keep, rest = divmod(mask.kept * of, scope.size)
        if rest or not 0 < keep < of:
            continue

        pattern = Pattern(keep, of)
        if all(_follows_either_way(mask[name], pattern) for name in mask):
            return pattern
    return None


def _follows_either_way(flags: Tensor, pattern: Pattern) -> bool:
    # a ticket file does not say along which of the last two dimensions the inputs of a matrix lie
    if follows(flags, pattern, -1):
        return True
    return flags.ndim > 1 and follows(flags, pattern, -2)
