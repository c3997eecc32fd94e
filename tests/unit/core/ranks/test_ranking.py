"""Ranking: the k-th best by counting, on ranks that are played by one process."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from instant_soup.core.errors import ScopeError
from instant_soup.core.mask import Mask
from instant_soup.core.ranks.ranking import kth_best, quotas
from instant_soup.core.ranks.shards import Shards
from instant_soup.core.ranks.team import ALONE, Alone
from instant_soup.core.scope import Scope

KINDS = {
    torch.float32: st.floats(allow_nan=False, width=32),
    torch.float64: st.floats(allow_nan=False),
    torch.int64: st.integers(-(2**63), 2**63 - 1),
}


@dataclass(frozen=True)
class Played(Alone):
    """A team whose other ranks have nothing, or have counted what *others* says."""

    others: tuple[tuple[int, ...], ...] = ()
    rank: int = 0
    size: int = 2

    def table(self, counts: Sequence[int]) -> list[list[int]]:
        rows = [list(row) for row in self.others] or [[2**63 - 1, -(2**63)]]
        rows.insert(self.rank, list(counts))
        return rows


@pytest.mark.parametrize("dtype", KINDS)
@settings(max_examples=80, deadline=None)
@given(data=st.data())
def test_the_kth_best_by_counting_is_that_of_a_sort(
    dtype: torch.dtype, data: Any
) -> None:
    numbers = data.draw(st.lists(KINDS[dtype], min_size=1, max_size=40))
    k = data.draw(st.integers(1, len(numbers)))
    values = torch.tensor(numbers, dtype=dtype)
    best = kth_best(values, k, Played())
    assert (
        best
        == kth_best(values, k, ALONE)
        == values.sort(descending=True).values[k - 1].item()
    )


def test_ties_go_to_the_earlier_parameter_and_then_to_the_earlier_rank() -> None:
    counted = ((2, 0, 1), (1, 3, 1))
    shared = [
        quotas(row, 5, Played(others=counted[:i] + counted[i + 1 :], rank=i))
        for i, row in enumerate(counted)
    ]
    assert shared == [[2, 0, 0], [1, 2, 0]]


def test_a_scope_that_is_cut_is_cut_everywhere() -> None:
    with pytest.raises(ScopeError, match="'b' is whole on every rank"):
        Scope({"a": (4, 2), "b": (4, 2)}, Shards({"a": (0, 2)}, Played()))


def test_what_is_here_of_a_mask_is_some_rows_of_it() -> None:
    whole = Mask(
        Scope({"a": (5, 3)}),
        {"a": torch.rand(5, 3, generator=torch.Generator().manual_seed(0)) < 0.5},
    )
    parts: list[Tensor] = [
        whole.shard(Shards({"a": rows}, Played()))["a"]
        for rows in ((0, 2), (2, 2), (2, 5))
    ]
    assert [tuple(part.shape) for part in parts] == [(2, 3), (0, 3), (3, 3)]
    assert torch.equal(torch.cat(parts), whole["a"])
