"""One exact cut by 1, 2 and 4 ranks that hold the weights between them, against their cuts of what each holds.

    python benchmarks/ranks_cut.py [--layers 12] [--repetitions 7] [--json PATH]

The weights are shaped like BERT-base's encoder, by rows on the ranks, which are processes of this machine that talk
over gloo. *global* is `prune` by all of them together; *local* is `prune` by each of its own rows alone, at the same
time, so that the ratio of the two is what the talking costs. Both are interleaved; a time is that of the slowest rank.
Bytes are what a rank puts in: counts, and its part of the sample.

Goals: talking costs no more than the work at 2 ranks, and what all ranks put in is under 1 % of the weights' bytes.
Checked on the way: the masks of 1, 2 and 4 ranks are the same. Ranks that share a core wait for each other, so 4 ranks
on 2 cores say little about 4 ranks on 4.
"""

from __future__ import annotations

import os
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

import torch
from torch import Tensor, multiprocessing
from torch import distributed as dist

from instant_soup.core.mask import Mask
from instant_soup.core.prune import prune
from instant_soup.core.ranks.shards import Shards
from instant_soup.core.ranks.team import Ranks, Team
from instant_soup.core.scope import Scope
from instant_soup.core.weights import Elementwise
from measure import Goal, Ratio, options, report, seconds

WIDTH, SPARSITY, SIZES = 768, 0.7, (1, 2, 4)


@dataclass
class Counted:
    """A team that counts the bytes that this rank puts in."""

    team: Team
    put: int = 0
    calls: dict[str, int] = field(default_factory=dict)

    @property
    def rank(self) -> int:
        """As the team has it."""
        return self.team.rank

    @property
    def size(self) -> int:
        """As the team has it."""
        return self.team.size

    def _count(self, what: str, size: int) -> None:
        self.put += size
        self.calls[what] = self.calls.get(what, 0) + 1

    def table(self, counts: list[int]) -> list[list[int]]:
        """The same, counted."""
        self._count("table", 8 * len(counts))
        return self.team.table(counts)

    def sums(self, counts: list[int]) -> list[int]:
        """The same, counted."""
        self._count("sums", 8 * len(counts))
        return self.team.sums(counts)

    def added(self, part: Tensor) -> Tensor:
        """The same, counted."""
        self._count("added", part.nbytes)
        return self.team.added(part)

    def pooled(self, few: Tensor) -> Tensor:
        """The same, counted."""
        self._count("pooled", few.nbytes)
        return self.team.pooled(few)

    def told(self, fact: Any) -> Any:
        """The same, counted."""
        return self.team.told(fact)

    def to_first(self, part: Tensor) -> Tensor:
        """The same, counted."""
        return self.team.to_first(part)


def main() -> None:
    """Start the ranks for each number of them, put their times side by side, report."""
    parser = options(__doc__)
    parser.add_argument("--layers", type=int, default=12)
    parser.add_argument("--repetitions", type=int, default=7)
    chosen = parser.parse_args()
    found = {size: launched(size, chosen.layers, chosen.repetitions) for size in SIZES}
    assert len({result["digest"] for result in found.values()}) == 1, "the masks differ"
    ratios = {
        size: Ratio.of(result["global"], result["local"])
        for size, result in found.items()
    }
    for size, result in found.items():
        print(
            f"{size} ranks: global {median(result['global']):.3f} s, local {median(result['local']):.3f} s, ratio "
            f"{ratios[size]}; a rank puts in {result['bytes']:,} bytes in {result['calls']} ({result['share']:.3%})"
        )
    goals = {
        "2 ranks, global over local": Goal.on(ratios[2], "at most", 2),
        "share of the weights' bytes put in at 4 ranks": Goal(
            4 * found[4]["share"], "under", 0.01
        ),
    }
    medians = {
        size: {what: median(result[what]) for what in ("global", "local")}
        for size, result in found.items()
    }
    report(
        goals, chosen.json, medians=medians, cores=os.cpu_count(), layers=chosen.layers
    )


def launched(size: int, layers: int, repetitions: int) -> dict[str, Any]:
    """What the first of *size* ranks measures."""
    with tempfile.TemporaryDirectory() as folder:
        answer = multiprocessing.get_context("spawn").SimpleQueue()
        multiprocessing.spawn(
            work, (size, layers, repetitions, folder, answer), nprocs=size
        )
        return answer.get()


def work(
    rank: int, size: int, layers: int, repetitions: int, folder: str, answer: Any
) -> None:
    """One rank: hold its rows, cut with the others and alone, in turns."""
    torch.set_num_threads(1)
    dist.init_process_group(
        "gloo", f"file://{Path(folder) / 'meeting'}", rank=rank, world_size=size
    )
    team, scope = Ranks(), shaped(layers)
    shards = Shards(
        {
            n: (s[0] * rank // size, s[0] * (rank + 1) // size)
            for n, s in scope.shapes.items()
        },
        team,
    )
    weights = {
        name: shards.part(name, drawn(i, shape)).clone()
        for i, (name, shape) in enumerate(scope.shapes.items())
    }
    mine = Scope({name: tuple(part.shape) for name, part in weights.items()})
    scores, together, alone = (
        Elementwise(weights, torch.abs),
        Mask.dense(scope.cut(shards)),
        Mask.dense(mine),
    )
    taken: dict[str, list[float]] = {"global": [], "local": []}
    for repetition in range(repetitions + 1):  # the first is to warm up
        for what, mask in (("global", together), ("local", alone))[
            :: -1 if repetition % 2 else 1
        ]:
            dist.barrier()
            time = seconds(lambda mask=mask: prune(scores, mask, SPARSITY))
            slowest = max(row[0] for row in team.table([round(1e9 * time)]))
            if repetition:
                taken[what].append(slowest / 1e9)
    counted = Counted(team)
    digest = prune(
        scores, Mask.dense(scope.cut(Shards(shards.rows, counted))), SPARSITY
    ).digest
    bytes_ = sum(part.nbytes for part in weights.values())
    if rank == 0:
        answer.put(
            {
                **taken,
                "digest": digest,
                "bytes": counted.put,
                "calls": counted.calls,
                "share": counted.put / bytes_ / size,
            }
        )
    dist.barrier()
    dist.destroy_process_group()


def shaped(layers: int) -> Scope:
    """The matrices of so many layers of BERT-base."""
    parts = {"query": 1, "key": 1, "value": 1, "output": 1, "up": 4}
    shapes = {
        f"{layer}.{part}": (rows * WIDTH, WIDTH)
        for layer in range(layers)
        for part, rows in parts.items()
    }
    return Scope(
        {**shapes, **{f"{layer}.down": (WIDTH, 4 * WIDTH) for layer in range(layers)}}
    )


def drawn(number: int, shape: tuple[int, ...]) -> Tensor:
    """One matrix, the same on every rank."""
    return torch.empty(shape).normal_(
        0, 0.02, generator=torch.Generator().manual_seed(number)
    )


if __name__ == "__main__":
    main()
