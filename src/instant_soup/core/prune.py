"""Prune: from scores to a mask with an exact number of survivors.

Nothing is concatenated and nothing large is sorted. A sample of the scores gives a narrow
bracket around the cut; one sweep, chunk by chunk, marks what lies above the bracket and sets
aside the few scores inside it; the cut among those few is exact. A bracket that misses, or that
holds too much, is replaced by a better one and swept again, so the answer never depends on the
sample. Memory beyond the mask itself is a few chunks and the scores inside the bracket.

Where the ranks of a team hold the model between them, each sweeps what it holds. They pool the
sample and add up counts, and so take the same brackets and the same cut; no other score leaves
its rank.

The file is long because it is one algorithm, to be read from top to bottom.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from math import inf, prod
from typing import Literal

import torch
from torch import Tensor

from . import bits
from .errors import ScopeError, SparsityError, unknown
from .kinds import checked
from .mask import Mask
from .pattern import NAN, UNSTRUCTURED, Pattern, cut_by_pattern, cut_by_row
from .ranks.ranking import Number, kth_best, quotas
from .scope import Scope
from .weights import Elementwise
from .workspace import Workspace

Scores = Mapping[str, Tensor]
Across = Literal["model", "layer", "row"]
ACROSS: tuple[Across, ...] = ("model", "layer", "row")

CHUNK = 1 << 19  # weights swept at a time: 2 MiB of float32, which stays in cache
# scores in the sample; its quantiles are then good to about 0.1 % of the weights
SAMPLE = 1 << 18
ASIDE = 1 << 16  # scores that may always be set aside; beyond, at most one in 64


@checked
def prune(
    scores: Scores,
    mask: Mask,
    sparsity: float,
    *,
    across: Across = "model",
    pattern: str = UNSTRUCTURED,
) -> Mask:
    """Keep the best-scored weights of *mask* until *sparsity* of the scope is gone.

    Exactly ``round((1 - sparsity) * scope.size)`` weights survive. Among equal scores the
    earlier parameter wins, then the earlier index. A weight that *mask* has pruned never
    comes back.

    Args:
        scores: one tensor of the parameter's shape, of what is here of it, per name in scope, of any
            floating or integer dtype and on any device; higher means keep. Floating dtypes may be mixed and are
            compared by their exact values. Tensors are asked for one by one, more than once, so a
            lazy mapping must give the same values each time.
        mask: what may still be kept.
        sparsity: share of the scope that is pruned in the result, 0 <= sparsity < 1.
        across: cut once across the ``"model"``, or keep the same share in each ``"layer"``, that
            is, in each parameter, or in each ``"row"``, all that leads to one output (to the weight: the shares are
            rounded so that they add up).
        pattern: ``"unstructured"``, or ``"N:M"`` to keep N of every M neighbouring inputs of an output, wherever
            that is in the model. *sparsity* then says how many of every M are kept now, N or more.

    Raises:
        SparsityError: *sparsity* is out of range, keeps no weight, would need pruned ones, or is none of *pattern*.
        ScopeError: a score is missing, or, where there is something to cut, has another shape or holds NaN; *pattern*
            does not divide a parameter.
        UnknownName: there is no such *across* or *pattern*.
    """
    keep = survivors(sparsity, mask.scope.size)
    if keep > mask.kept:
        raise SparsityError(
            f"sparsity {sparsity} keeps {keep:,} weights and only {mask.kept:,} are left in the mask "
            f"(sparsity {mask.sparsity:.4f}); ask for a higher sparsity"
        )

    if across not in ACROSS:
        raise unknown("across", across, ACROSS)
    groups = Pattern.named(pattern)

    if groups is not None:
        _check_scores(scores, mask)
        return cut_by_pattern(scores, mask, groups, groups.kept_at(sparsity))

    if across == "row":
        _check_scores(scores, mask)
        return cut_by_row(scores, mask, shares(mask.scope, mask.kept_by_name, keep))

    return _best(scores, mask, cut_together(mask.scope, mask.kept_by_name, keep, across))


def cut_together(
    scope: Scope, alive: Mapping[str, int], keep: int, across: Across
) -> dict[tuple[str, ...], int]:
    """Which parameters are cut as one, and how many weights each such group keeps, *keep* in all.

    Args:
        alive: how many weights of each parameter may still be kept.
        across: the ``"model"``, or each ``"layer"``.

    Raises:
        UnknownName: *across* is neither.
    """
    if across == "model":
        return {tuple(scope): keep}
    if across == "layer":
        return {(name,): share for name, share in shares(scope, alive, keep).items()}
    raise unknown("across", across, ("model", "layer"))


def survivors(sparsity: float, size: int) -> int:
    """How many of *size* weights are kept at *sparsity*. Raises SparsityError if that makes no sense."""
    if not 0 <= sparsity < 1:
        raise SparsityError(
            f"sparsity is {sparsity!r}; expected a share of the weights, 0 <= sparsity < 1, such as 0.7"
        )
    if not (keep := round((1 - sparsity) * size)):
        raise SparsityError(
            f"sparsity {sparsity} keeps none of {size:,} weights; ask for a lower one"
        )
    return keep


def shares(scope: Scope, alive: Mapping[str, int], keep: int) -> dict[str, int]:
    """How many of the *alive* weights each parameter keeps so that the shares are even and add up to *keep*."""
    found, seen, given = {}, 0, 0
    for name in scope:
        seen += scope.numel(name)
        upto = round(keep * seen / scope.size)
        found[name] = min(upto - given, alive[name])
        given = upto

    missing = keep - sum(found.values())
    for name in scope:  # parameters already below their share leave room for the others
        more = min(missing, alive[name] - found[name])
        found[name] += more
        missing -= more

    return found


def _check_scores(scores: Scores, mask: Mask) -> None:
    if missing := [name for name in mask if name not in scores]:
        raise ScopeError(
            f"no score for {missing[0]!r}, which is in scope; score every parameter"
        )


def _best(scores: Scores, mask: Mask, groups: Mapping[tuple[str, ...], int]) -> Mask:
    """The mask of the best-scored survivors, so many of each group of parameters."""
    _check_scores(scores, mask)
    kept: dict[str, Tensor] = {}
    space = Workspace(mask, CHUNK)

    for names, keep in groups.items():
        alive = sum(mask.kept_by_name[name] for name in names)
        if keep == alive:
            kept |= {name: mask.packed(name) for name in names}
        elif keep == 0:
            kept |= {name: torch.zeros_like(mask.packed(name)) for name in names}
        else:
            kept |= _cut(_Field(scores, mask, names, space), keep, alive)

    return Mask.from_packed(mask.scope, {name: kept[name] for name in mask})


class _Field:
    """The scores of a group of parameters, read in order, in one common dtype."""

    def __init__(
        self, scores: Scores, mask: Mask, names: Sequence[str], space: Workspace
    ) -> None:
        self.mask, self.names, self.space = mask, names, space
        self.source: Scores = scores
        self.function: Callable[..., Tensor] | None = None
        if isinstance(scores, Elementwise):
            self.source, self.function = scores.source, scores.function
        self.team = mask.scope.shards.team
        self.size = sum(mask.scope.numel(name) for name in names)
        self.room = max(ASIDE, sum(prod(mask.scope.here(name)) for name in names) // 64)
        # settled by the first sample, which reads every parameter
        self.dtype: torch.dtype | None = None

    def read(self, name: str) -> Tensor:
        """What the scores of one parameter are made from, flat."""
        source = self.source[name].detach()
        if tuple(source.shape) != (expected := self.mask.scope.here(name)):
            raise ScopeError(
                f"score of {name!r} is {tuple(source.shape)}; expected {expected}"
            )
        return source.reshape(-1)

    def scores(self, source: Tensor, out: Tensor | None = None) -> Tensor:
        """The scores of some weights, in *out* if given. A wider dtype holds narrower values exactly."""
        if out is None:
            out = torch.empty(
                len(source), dtype=self.dtype or _wide(source.dtype), device=source.device
            )
        score = out[: len(source)]
        if source.dtype != score.dtype:
            source = score.copy_(source)
        return source if self.function is None else self.function(source, out=score)

    def sample(self, low: Number, high: Number) -> Tensor:
        """Some scores of all ranks' living weights in [low, high], evenly spread: never none if there is one."""
        stride = max(1, self.size // SAMPLE)
        # the offset moves on so that the columns seen differ from one parameter to the next
        parts = [
            self._some(name, i * (stride // 2 + 1) % stride, stride)
            for i, name in enumerate(self.names)
        ]
        self.dtype = self.dtype or _common([part.dtype for part in parts])
        mine = torch.cat(
            [part[(part >= low) & (part <= high)].to(self.dtype) for part in parts]
        )
        found = self.team.pooled(mine)
        if not len(found):
            found = self.team.pooled(next(self._inside(low, high), mine))
        if not len(found):  # all that is left is NaN
            raise ScopeError(NAN)

        return found

    def _some(self, name: str, offset: int, stride: int) -> Tensor:
        """The scores of one parameter's living weights, every *stride*-th of the whole parameter."""
        source, alive = self.read(name), self.mask.packed(name)
        scope = self.mask.scope
        first = (offset - scope.shards.start(name, scope.shapes[name])) % stride
        at = torch.arange(min(first, len(source)), len(source), stride)
        some = self.scores(source[at.to(source.device)]).cpu()
        if self.mask.kept_by_name[name] < scope.numel(name):
            some = some[((alive[at >> 3] >> (at & 7)) & 1).bool()]
        return some

    def _inside(self, low: Number, high: Number) -> Iterator[Tensor]:
        for name in self.names:
            score = self._alive(name)
            inside = score[(score >= low) & (score <= high)]
            if len(inside):
                yield inside
            del score  # before the next is made

    def _alive(self, name: str) -> Tensor:
        return self.scores(self.read(name)).cpu()[self.mask[name].view(-1)]

    def ties(self, name: str, value: Number) -> Tensor:
        """Where one parameter's living weights score *value*: bool [n] on the CPU."""
        return (self.scores(self.read(name)) == value).cpu() & self.mask[name].view(-1)

    def beside(self, value: Number, toward: float) -> Number:
        """The neighbour of *value* among the numbers of this dtype."""
        if isinstance(value, int):
            return value + (1 if toward > 0 else -1)
        return (
            torch.tensor(value, dtype=self.dtype)
            .nextafter(torch.tensor(toward, dtype=self.dtype))
            .item()
        )


def _wide(dtype: torch.dtype) -> torch.dtype:
    if dtype.is_floating_point:
        return torch.float64 if dtype == torch.float64 else torch.float32
    return torch.int64


def _common(dtypes: Sequence[torch.dtype]) -> torch.dtype:
    if len({dtype.is_floating_point for dtype in dtypes}) > 1:
        raise ScopeError(
            "scores mix integers and floating-point numbers, which do not compare exactly; use one kind"
        )
    return torch.float64 if torch.float64 in dtypes else dtypes[0]


@dataclass
class _Sweep:
    """What one reading of the field finds about a bracket [low, high]. The counts are of all ranks in the end."""

    low: Number
    high: Number
    # packed: living and scored above the bracket
    above: dict[str, Tensor] = field(default_factory=dict)
    # positions and scores
    inside: dict[str, tuple[Tensor, Tensor]] = field(default_factory=dict)
    count_above: int = 0
    count_inside: int = 0
    # how many ranks find more inside the bracket than they have room to set aside
    overfull: int = 0

    def read(self, fields: _Field) -> _Sweep:
        for name in fields.names:
            self._read(fields, name)
        counts = [self.count_above, self.count_inside, self.overfull]
        self.count_above, self.count_inside, self.overfull = fields.team.sums(counts)
        return self

    def _read(self, fields: _Field, name: str) -> None:
        source = fields.read(name)
        above, below = (
            fields.space.packed[name],
            torch.empty_like(alive := fields.mask.packed(name)),
        )
        score = fields.space.chunk(source.device, fields.dtype)

        for start in range(0, len(source), CHUNK):
            chunk = fields.scores(source[start : start + CHUNK], out=score)
            span = slice(start // 8, -(-(start + len(chunk)) // 8))
            above[span] = bits.above(chunk, self.high)
            below[span] = bits.below(chunk, self.low)

        self.above[name] = above.bitwise_and_(alive)
        self.count_above += bits.count(above)
        # and so NaN is inside
        inside = below.bitwise_or_(above).bitwise_not_().bitwise_and_(alive)
        self.count_inside += bits.count(inside)

        if self.count_inside > fields.room:
            self.overfull = 1
            self.inside.clear()
        else:
            at = bits.positions(inside)
            self.inside[name] = at, fields.scores(source[at.to(source.device)]).cpu()


def _cut(fields: _Field, keep: int, alive: int) -> dict[str, Tensor]:
    """Packed masks of the *keep* best of the *alive* weights."""
    low, high = -inf, inf  # the cut lies in [low, high]; it is the keep-th best score
    over, under = 0, 0  # how many living weights are known to score above high, below low
    spread = 2.0

    while True:
        sweep = _Sweep(
            *_bracket(fields.sample(low, high), keep - over, alive - over - under, spread)
        ).read(fields)
        spread = 0.0 if sweep.overfull else 2 * spread
        if keep <= sweep.count_above:
            low, under = fields.beside(sweep.high, inf), alive - sweep.count_above
        elif keep > sweep.count_above + sweep.count_inside:
            high, over = (
                fields.beside(sweep.low, -inf),
                sweep.count_above + sweep.count_inside,
            )
        elif sweep.low == sweep.high or not sweep.overfull:
            return _settle(fields, sweep, keep - sweep.count_above)
        else:
            low, over = sweep.low, sweep.count_above
            high, under = sweep.high, alive - sweep.count_above - sweep.count_inside


def _bracket(
    sample: Tensor, keep: int, alive: int, spread: float
) -> tuple[Number, Number]:
    """Two scores of the sample that likely have the *keep*-th best of *alive* between them.

    *spread* is how many standard errors of the sample's rank lie on either side. With 0 both
    are the same score, so that a sweep splits what is left in three and always makes progress.
    """
    n = len(sample)
    share = keep / alive
    slack = spread * (share * (1 - share) / n) ** 0.5 + (1 / n if spread else 0)
    ranks = (round((1 - share + side * slack) * n) for side in (-1, 1))
    low, high = (sample.kthvalue(min(max(rank, 1), n)).values.item() for rank in ranks)
    return low, high


def _settle(fields: _Field, sweep: _Sweep, need: int) -> dict[str, Tensor]:
    """Add to what lies above the bracket the *need* best of what lies inside it."""
    # and so all of one score: a sea of ties, told apart by order alone
    if sweep.overfull:
        tied = {name: bits.pack(fields.ties(name, sweep.low)) for name in fields.names}
        _check(
            fields, sweep.count_inside, sum(bits.count(part) for part in tied.values())
        )
    else:
        every = torch.cat([scores for _, scores in sweep.inside.values()])
        _check(fields, sweep.count_inside, int((every == every).sum()))
        cut = kth_best(every, need, fields.team)
        need -= fields.team.sums([int((every > cut).sum())])[0]
        tied = {}
        for name, (where, scores) in sweep.inside.items():
            _set(sweep.above[name], where[scores > cut])
            tied[name] = torch.zeros_like(sweep.above[name])
            _set(tied[name], where[scores == cut])

    for name, first in zip(
        tied,
        quotas([bits.count(part) for part in tied.values()], need, fields.team),
        strict=True,
    ):
        _set(sweep.above[name], bits.positions(tied[name])[:first])

    return sweep.above


def _check(fields: _Field, inside: int, numbers: int) -> None:
    """What is neither above a bracket nor below it, nor a number inside it, is NaN."""
    if fields.team.sums([numbers])[0] < inside:
        raise ScopeError(NAN)


def _set(packed: Tensor, at: Tensor) -> None:
    """Set the bits at some positions, each of them clear so far."""
    packed.index_add_(0, at >> 3, (1 << (at & 7)).to(torch.uint8))
