"""Shards: which part of each tensor this rank holds, where the ranks of a team hold one model between them.

Tensors are cut along their first dimension, each rank holding some rows of it, in the order of the ranks: what FSDP2
calls ``Shard(0)``. Any rank may hold more rows than others, or none.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import prod

from torch import Tensor

from .team import ALONE, Team

Rows = tuple[int, int]
"""The first row, and the one past the last."""


@dataclass(frozen=True)
class Shards:
    """What of each tensor is here.

    Attributes:
        rows: of each tensor that is cut, the rows that this rank holds. Any other is whole on every rank.
        team: the ranks that hold the rest.
    """

    rows: Mapping[str, Rows] = field(default_factory=dict)
    team: Team = ALONE

    def shape(self, name: str, whole: tuple[int, ...]) -> tuple[int, ...]:
        """The shape of what is here of a tensor of shape *whole*."""
        if name not in self.rows:
            return whole

        first, last = self.rows[name]
        return (last - first, *whole[1:])

    def start(self, name: str, whole: tuple[int, ...]) -> int:
        """The flat index in the whole tensor at which what is here begins."""
        if name not in self.rows:
            return 0

        first, _ = self.rows[name]
        return first * prod(whole[1:])

    def part(self, name: str, whole: Tensor) -> Tensor:
        """What of a *whole* tensor belongs here, as a view."""
        if name not in self.rows:
            return whole

        first, last = self.rows[name]
        return whole[first:last]

    def whole(self, name: str, part: Tensor) -> Tensor | None:
        """The whole tensor at the first rank, put together from the ranks' parts; None at the others."""
        if name not in self.rows:
            return part if self.team.rank == 0 else None

        flat = self.team.to_first(part.reshape(-1))
        return flat.view(-1, *part.shape[1:]) if self.team.rank == 0 else None


WHOLE = Shards()
"""Everything is here."""
