"""What ranks do to find out that they cut as one does."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator

import pytest
import torch
from torch import Tensor
from torch.distributed.tensor import Shard, distribute_tensor, init_device_mesh

from instant_soup.core import prune as room
from instant_soup.core.errors import ScopeError
from instant_soup.core.mask import Mask
from instant_soup.core.prune import prune
from instant_soup.core.ranks.shards import Shards
from instant_soup.core.ranks.team import Ranks
from instant_soup.core.scope import Scope
from instant_soup.core.weights import Elementwise

UNEVEN = Scope(
    {
        "first": (13, 7),
        "one": (1,),
        "third": (3, 5, 11),
        "few": (2, 9),
        "flat": (257,),
        "last": (8, 6),
    }
)
DTYPES = (torch.float32, torch.float16, torch.bfloat16, torch.float64, torch.int64)
# SAMPLE, ASIDE, CHUNK
SETTINGS = [(1 << 18, 1 << 16, 1 << 19), (7, 1, 8), (64, 2, 64), (1 << 18, 1, 16)]


def evenly(scope: Scope) -> Shards:
    """Rows as FSDP2 cuts them: DTensor says which."""
    team = Ranks()
    mesh, rows = init_device_mesh("cpu", (team.size,)), {}
    for name, shape in scope.shapes.items():
        number = torch.arange(shape[0]).view(-1, *(1 for _ in shape[1:])).expand(shape)
        mine = distribute_tensor(number.contiguous(), mesh, [Shard(0)]).to_local()
        first = int(mine.flatten()[0]) if mine.numel() else shape[0]
        rows[name] = (first, first + len(mine))
    return Shards(rows, team)


def lopsided(scope: Scope) -> Shards:
    """All but one row at the last rank, or at the first."""
    team, rows = Ranks(), {}
    for i, (name, shape) in enumerate(scope.shapes.items()):
        end = 1 if i % 2 else shape[0] - 1
        ends = [0, *[end] * (team.size - 1), shape[0]] if team.size > 1 else [0, shape[0]]
        rows[name] = (ends[team.rank], ends[team.rank + 1])
    return Shards(rows, team)


def kinds(
    dtype: torch.dtype, dice: torch.Generator
) -> Iterator[Callable[[tuple[int, ...]], Tensor]]:
    """Scores of several kinds: noise, few levels, all the same, both zeros, infinities, huge numbers."""

    def levels(count):
        return lambda s: (torch.randint(count, s, generator=dice) - count // 2).to(dtype)

    yield lambda s: (torch.randn(s, generator=dice) * 1000).to(dtype)
    yield levels(4)
    yield levels(1)
    if dtype.is_floating_point:
        yield lambda s: levels(3)(s) * torch.tensor(-0.0, dtype=dtype)
        yield lambda s: torch.where(levels(9)(s) == 0, torch.inf, levels(3)(s)).to(dtype)
    else:
        yield lambda s: torch.randint(-(2**63), 2**63 - 1, s, generator=dice)


def cases() -> Iterator[tuple[dict[str, Tensor], Mask, float]]:
    dice, wanted = (
        torch.Generator().manual_seed(0),
        itertools.cycle(((1.0, 0.3), (0.6, 0.45), (0.6, 0.995))),
    )
    for dtype in DTYPES:
        for draw, (living, sparsity) in zip(kinds(dtype, dice), wanted, strict=False):
            scores = {name: draw(shape) for name, shape in UNEVEN.shapes.items()}
            mask = Mask(
                UNEVEN,
                {
                    n: torch.rand(s, generator=dice) < living
                    for n, s in UNEVEN.shapes.items()
                },
            )
            yield scores, mask, sparsity


def cut_all_cases() -> int:
    """Every case under every setting; how many there were."""
    done = 0
    for shards in (evenly(UNEVEN), lopsided(UNEVEN)):
        for (scores, mask, sparsity), setting, across in zip(
            cases(),
            itertools.cycle(SETTINGS),
            itertools.cycle(("model", "model", "model", "model", "layer")),
            strict=False,
        ):
            room.SAMPLE, room.ASIDE, room.CHUNK = setting
            whole = prune(scores, mask, sparsity, across=across)
            parts = {name: shards.part(name, score) for name, score in scores.items()}
            mine = prune(parts, mask.shard(shards), sparsity, across=across)
            for name in UNEVEN:
                assert torch.equal(mine[name], shards.part(name, whole[name])), (
                    done,
                    name,
                )
            assert mine.kept_by_name == whole.kept_by_name
            assert mine.sparsity == whole.sparsity
            assert mine.digest == whole.digest
            together_again = mine.whole()
            assert (together_again is None) == (shards.team.rank > 0)
            assert together_again is None or together_again == whole
            done += 1
    return done


def cut_many_weights() -> tuple[str, int]:
    """A cut of half a million weights, elementwise: its hash, and how many sweeps it took."""
    room.SAMPLE, room.ASIDE, room.CHUNK = 1 << 14, 1 << 10, 1 << 16
    scope = Scope({"up": (700, 401), "down": (401, 600)})
    dice, sweeps, read = torch.Generator().manual_seed(1), [], room._Sweep.read
    room._Sweep.read = lambda self, fields: sweeps.append(self) or read(self, fields)
    scores = {
        name: torch.randn(shape, generator=dice) for name, shape in scope.shapes.items()
    }
    shards = evenly(scope)
    parts = Elementwise(
        {name: shards.part(name, part) for name, part in scores.items()}, torch.abs
    )
    mine = prune(parts, Mask.dense(scope).shard(shards), 0.7)
    assert max(len(at) for sweep in sweeps for at, _ in sweep.inside.values()) < 10_000
    return mine.digest, len(sweeps)


def refuse_nan() -> str:
    """What is said where one rank alone holds a NaN."""
    room.SAMPLE, room.ASIDE, room.CHUNK = SETTINGS[0]
    shards = evenly(UNEVEN)
    scores = {
        name: shards.part(name, torch.ones(shape)).clone()
        for name, shape in UNEVEN.shapes.items()
    }
    if shards.team.rank == 0:
        scores["first"][0, 0] = torch.nan
    with pytest.raises(ScopeError, match="NaN") as found:
        prune(scores, Mask.dense(UNEVEN).shard(shards), 0.5)
    return str(found.value)


def everything() -> tuple[int, tuple[str, int], str]:
    return cut_all_cases(), cut_many_weights(), refuse_nan()
