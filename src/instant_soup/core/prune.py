"""Prune: from scores to a mask with an exact number of survivors.

Nothing is concatenated and nothing large is sorted. A sample of the scores gives a narrow
bracket around the cut; one sweep, chunk by chunk, marks what lies above the bracket and sets
aside the few scores inside it; the cut among those few is exact. A bracket that misses, or that
holds too much, is replaced by a better one and swept again, so the answer never depends on the
sample. Memory beyond the mask itself is a few chunks and the scores inside the bracket.

Where the ranks of a team hold the model between them, each sweeps what it holds. They pool the
sample and add up counts, and so take the same brackets and the same cut; no other score leaves
its rank.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import inf, prod
from typing import Literal

import torch
from torch import Tensor

from . import bits
from .errors import ScopeError, SparsityError, share_example, unknown
from .kinds import checked
from .mask import Mask
from .pattern import NAN, UNSTRUCTURED, Pattern, cut_by_pattern, cut_by_row
from .ranks.ranking import Number, kth_best, quotas
from .scope import Scope
from .score import Scores
from .score_reader import ScoreReader
from .workspace import Workspace

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
            f"sparsity is {sparsity!r}; expected a share of the weights, 0 <= sparsity < 1, {share_example(sparsity)}"
        )

    keep = round((1 - sparsity) * size)
    if not keep:
        raise SparsityError(
            f"sparsity {sparsity} keeps none of {size:,} weights; ask for a lower one"
        )
    return keep


def shares(scope: Scope, alive: Mapping[str, int], keep: int) -> dict[str, int]:
    """How many of the *alive* weights each parameter keeps so that the shares are even and add up to *keep*."""
    counts: dict[str, int] = {}
    passed = 0
    handed_out = 0
    for name in scope:
        passed += scope.numel(name)
        # the running total is rounded, not each share: rounding errors then cannot add up
        upto = round(keep * passed / scope.size)
        counts[name] = min(upto - handed_out, alive[name])
        handed_out = upto

    missing = keep - sum(counts.values())
    for name in scope:
        # parameters already below their share leave room for the others
        more = min(missing, alive[name] - counts[name])
        counts[name] += more
        missing -= more

    return counts


def _check_scores(scores: Scores, mask: Mask) -> None:
    for name in mask:
        if name not in scores:
            raise ScopeError(
                f"no score for {name!r}, which is in scope; score every parameter"
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
            kept |= _cut(ScoreReader(scores, mask, names), space, keep, alive)

    # groups may come in another order than the scope, which a mask keeps
    return Mask.from_packed(mask.scope, {name: kept[name] for name in mask})


@dataclass
class _Sweep:
    """What one reading of all scores tells of a bracket [low, high].

    Attributes:
        space: where chunks are scored and packed bits are put.
        above: packed, a parameter: which living weights score above the bracket.
        inside: positions and scores of those inside it; empty where there are too many to set aside.
        count_above, count_inside: how many these are, in the end those of all ranks.
        overfull: how many ranks have more inside the bracket than they have room to set aside.
    """

    low: Number
    high: Number
    space: Workspace
    above: dict[str, Tensor] = field(default_factory=dict)
    inside: dict[str, tuple[Tensor, Tensor]] = field(default_factory=dict)
    count_above: int = 0
    count_inside: int = 0
    overfull: int = 0

    def read(self, reader: ScoreReader) -> _Sweep:
        """Read all scores, one parameter after the other."""
        scope = reader.mask.scope
        held = sum(prod(scope.here(name)) for name in reader.names)
        room = max(ASIDE, held // 64)
        for name in reader.names:
            self._read(reader, name, room)

        counts = [self.count_above, self.count_inside, self.overfull]
        self.count_above, self.count_inside, self.overfull = reader.team.sums(counts)
        return self

    def _read(self, reader: ScoreReader, name: str, room: int) -> None:
        source = reader.source(name)
        alive = reader.mask.packed(name)
        above = self.space.packed[name]
        below = torch.empty_like(alive)
        score = self.space.chunk(source.device, reader.dtype)

        for start in range(0, len(source), CHUNK):
            chunk = reader.scores(source[start : start + CHUNK], out=score)
            span = slice(start // 8, -(-(start + len(chunk)) // 8))
            above[span] = bits.above(chunk, self.high)
            below[span] = bits.below(chunk, self.low)

        self.above[name] = above.bitwise_and_(alive)
        self.count_above += bits.count(above)
        # what is neither above nor below: NaN is inside, and so it is noticed
        inside = below.bitwise_or_(above).bitwise_not_().bitwise_and_(alive)
        self.count_inside += bits.count(inside)

        if self.count_inside > room:
            self.overfull = 1
            self.inside.clear()
        else:
            at = bits.positions(inside)
            scores = reader.scores(source[at.to(source.device)]).cpu()
            self.inside[name] = (at, scores)


def _cut(
    reader: ScoreReader, space: Workspace, keep: int, alive: int
) -> dict[str, Tensor]:
    """Packed masks of the *keep* best of the *alive* weights."""
    # the cut is the keep-th best score, and lies in [low, high]
    low: Number = -inf
    high: Number = inf
    # how many living weights are known to score above high, and below low
    over = 0
    under = 0
    spread = 2.0

    while True:
        sample = reader.sample(SAMPLE, low, high)
        bracket = _bracket(sample, keep - over, alive - over - under, spread)
        sweep = _Sweep(*bracket, space).read(reader)
        not_below = sweep.count_above + sweep.count_inside

        # a bracket that missed was too narrow, one that is overfull too wide
        spread = 0.0 if sweep.overfull else 2 * spread

        if keep <= sweep.count_above:
            low = reader.beside(sweep.high, inf)
            under = alive - sweep.count_above
        elif keep > not_below:
            high = reader.beside(sweep.low, -inf)
            over = not_below
        elif sweep.low == sweep.high or not sweep.overfull:
            return _settle(reader, sweep, keep - sweep.count_above)
        else:
            low = sweep.low
            over = sweep.count_above
            high = sweep.high
            under = alive - not_below


def _bracket(
    sample: Tensor, keep: int, alive: int, spread: float
) -> tuple[Number, Number]:
    """Two scores of the sample that likely have the *keep*-th best of *alive* between them.

    *spread* is how many standard errors of the sample's rank lie on either side. With 0 both
    are the same score, so that a sweep splits what is left in three and always makes progress.
    """
    n = len(sample)
    share = keep / alive
    # one more rank where there is a spread at all, for a share of 0 or 1 has no error of its own
    slack = 0.0
    if spread:
        slack = spread * (share * (1 - share) / n) ** 0.5 + 1 / n

    def score(rank: int) -> Number:
        return sample.kthvalue(min(max(rank, 1), n)).values.item()

    low = score(round((1 - share - slack) * n))
    high = score(round((1 - share + slack) * n))
    return low, high


def _settle(reader: ScoreReader, sweep: _Sweep, need: int) -> dict[str, Tensor]:
    """Add to what lies above the bracket the *need* best of what lies inside it."""
    tied: dict[str, Tensor] = {}
    if sweep.overfull:
        # and yet to be settled, so all is of one score: a sea of ties, told apart by order alone
        for name in reader.names:
            tied[name] = bits.pack(reader.ties(name, sweep.low))
        _check_numbers(
            reader, sweep.count_inside, sum(bits.count(part) for part in tied.values())
        )
    else:
        every = torch.cat([scores for _, scores in sweep.inside.values()])
        # NaN alone is not equal to itself
        _check_numbers(reader, sweep.count_inside, int((every == every).sum()))

        cut = kth_best(every, need, reader.team)
        need -= reader.team.sums([int((every > cut).sum())])[0]
        for name, (where, scores) in sweep.inside.items():
            _set(sweep.above[name], where[scores > cut])
            tied[name] = torch.zeros_like(sweep.above[name])
            _set(tied[name], where[scores == cut])

    # among equal scores the earlier parameter wins, then the earlier index
    counts = [bits.count(part) for part in tied.values()]
    firsts = quotas(counts, need, reader.team)
    for name, first in zip(tied, firsts, strict=True):
        _set(sweep.above[name], bits.positions(tied[name])[:first])

    return sweep.above


def _check_numbers(reader: ScoreReader, inside: int, numbers: int) -> None:
    """What is neither above a bracket nor below it, nor a number inside it, is NaN. Raises ScopeError."""
    if reader.team.sums([numbers])[0] < inside:
        raise ScopeError(NAN)


def _set(packed: Tensor, at: Tensor) -> None:
    """Set the bits at some positions, each of them clear so far."""
    # adding is setting where a bit is clear, and unlike an assignment it takes several bits of one byte
    packed.index_add_(0, at >> 3, (1 << (at & 7)).to(torch.uint8))
