"""Ranking: the k-th best of values that the ranks of a team hold between them, by counting alone.

Values are taken as integers in the same order. The range that the answer lies in is cut into a few hundred parts. The
ranks add up how many of their values lie at or above each cut, and the part that holds the answer is cut again. At
most eight sums of 2 KiB settle any 64-bit value, however many values there are.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from .team import Team

PARTS = 256
_BITS = {torch.float32: torch.int32, torch.float64: torch.int64}
_LEAST = -(2**63)
_MOST = 2**63 - 1

Number = float | int


def kth_best(values: Tensor, k: int, team: Team) -> Number:
    """The *k*-th largest of all ranks' *values* together, counted from 1 and with repetition.

    *values* is this rank's share [n] on the CPU, float32, float64 or int64, without NaN; it may be empty.
    """
    if team.size == 1:
        return values.kthvalue(len(values) - k + 1).values.item()

    keys = _keys(values).sort().values
    # a rank that has no value at all must not widen the range
    own_ends = [_MOST, _LEAST]
    if len(keys):
        own_ends = [int(keys[0]), int(keys[-1])]
    ends = team.table(own_ends)
    low = min(first for first, _ in ends)
    high = max(last for _, last in ends)

    # all along, at least k values are low or above, and fewer than k are above high
    while low < high:
        width = -(-(high - low + 1) // PARTS)
        cuts = range(low, high + 1, width)[1:]

        edges = torch.tensor(cuts, dtype=torch.int64)
        below = torch.searchsorted(keys, edges).tolist()
        at_or_above = team.sums([len(keys) - place for place in below])
        # the cuts that the answer is not below
        reached = sum(count >= k for count in at_or_above)

        starts = (low, *cuts)
        ends_of_parts = (*cuts, high + 1)
        low = starts[reached]
        high = ends_of_parts[reached] - 1

    return _value(low, values.dtype)


def quotas(tied: Sequence[int], need: int, team: Team) -> list[int]:
    """How many of its ties this rank keeps of each parameter, where all together keep *need*.

    *tied* counts this rank's ties in each parameter. The earlier parameter goes first, and within one the earlier
    rank, which holds the earlier rows.
    """
    counts = team.table(tied)

    taken = []
    for column in zip(*counts, strict=True):
        for rank, count in enumerate(column):
            take = min(need, count)
            need -= take
            if rank == team.rank:
                taken.append(take)
    return taken


def _keys(values: Tensor) -> Tensor:
    """int64 [n] in the order of *values*; equal where they are, so that -0.0 is 0.0."""
    if values.dtype not in _BITS:
        return values
    bits = values.view(_BITS[values.dtype])
    size = bits & torch.iinfo(bits.dtype).max
    return torch.where(bits < 0, -size, size).long()


def _value(key: int, dtype: torch.dtype) -> Number:
    if dtype not in _BITS:
        return key

    bits = torch.tensor(abs(key), dtype=_BITS[dtype])
    size = bits.view(dtype).item()
    return -size if key < 0 else size
