"""Team: the ranks that hold one model between them, and the little that they tell each other.

Every rank runs the same program and asks its team the same things in the same order. What they tell each other are
counts and small facts; the one thing that moves whole tensors is `to_first`, for what the first rank writes to a file.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

import torch
from torch import Tensor
from torch import distributed as dist

Fact = TypeVar("Fact")


class Team(Protocol):
    """Ranks that work on one thing. Each method is called by all of them, and answers all of them alike."""

    @property
    def rank(self) -> int:
        """Which of them this is, from 0."""

    @property
    def size(self) -> int:
        """How many they are."""

    def table(self, counts: Sequence[int]) -> list[list[int]]:
        """What each rank counts, by rank. All count equally many things, each below 2**63."""

    def sums(self, counts: Sequence[int]) -> list[int]:
        """The same, added up over the ranks."""

    def added(self, part: Tensor) -> Tensor:
        """The ranks' tensors, all of one shape, added up; on the device of *part*."""

    def pooled(self, few: Tensor) -> Tensor:
        """The ranks' tensors [n], one after the other, on the CPU. They may be of different lengths."""

    def told(self, fact: Fact) -> Fact:
        """What the first rank says: plain data."""

    def to_first(self, part: Tensor) -> Tensor:
        """The ranks' tensors [n], one after the other, at the first rank; an empty tensor at the others."""


@dataclass(frozen=True)
class Alone:
    """A team of one."""

    rank: int = 0
    size: int = 1

    def table(self, counts: Sequence[int]) -> list[list[int]]:
        return [list(counts)]

    def sums(self, counts: Sequence[int]) -> list[int]:
        return list(counts)

    def added(self, part: Tensor) -> Tensor:
        return part

    def pooled(self, few: Tensor) -> Tensor:
        return few

    def told(self, fact: Fact) -> Fact:
        return fact

    def to_first(self, part: Tensor) -> Tensor:
        return part


ALONE = Alone()


@dataclass(frozen=True)
class Ranks:
    """The ranks of a process group of torch.distributed whose backend works on the CPU, such as gloo.

    Attributes:
        group: the process group; the default one if None.
    """

    group: Any = None

    @property
    def rank(self) -> int:
        return dist.get_rank(self.group)

    @property
    def size(self) -> int:
        return dist.get_world_size(self.group)

    def table(self, counts: Sequence[int]) -> list[list[int]]:
        mine = torch.tensor(counts, dtype=torch.int64)
        rows = [torch.empty_like(mine) for _ in range(self.size)]
        dist.all_gather(rows, mine, group=self.group)
        return [row.tolist() for row in rows]

    def sums(self, counts: Sequence[int]) -> list[int]:
        return self.added(torch.tensor(counts, dtype=torch.int64)).tolist()

    def added(self, part: Tensor) -> Tensor:
        total = part.detach().to("cpu", copy=True)
        dist.all_reduce(total, group=self.group)
        return total.to(part.device)

    def pooled(self, few: Tensor) -> Tensor:
        lengths = [length for (length,) in self.table([len(few)])]
        longest = max(lengths)

        room = [few.new_empty(longest, device="cpu") for _ in lengths]
        dist.all_gather(room, _padded(few, longest), group=self.group)
        return torch.cat(_trimmed(room, lengths))

    def told(self, fact: Fact) -> Fact:
        facts = [fact]
        dist.broadcast_object_list(
            facts, group=self.group, group_src=0, device=torch.device("cpu")
        )
        return facts[0]

    def to_first(self, part: Tensor) -> Tensor:
        lengths = [length for (length,) in self.table([part.nbytes])]
        raw = part.detach().cpu().contiguous().view(torch.uint8)
        padded = _padded(raw, max(lengths))

        room = [torch.empty_like(padded) for _ in lengths] if self.rank == 0 else None
        dist.gather(padded, room, group=self.group, group_dst=0)

        received = _trimmed(room, lengths) if room else [raw[:0]]
        return torch.cat(received).view(part.dtype)


def _padded(few: Tensor, length: int) -> Tensor:
    """*few* [n] with zeros behind it up to *length*, for what is gathered has to be of one length."""
    room = few.new_zeros(length, device="cpu")
    room[: len(few)] = few
    return room


def _trimmed(parts: Sequence[Tensor], lengths: Sequence[int]) -> list[Tensor]:
    """*parts* without what they were padded with."""
    return [part[:length] for part, length in zip(parts, lengths, strict=True)]
