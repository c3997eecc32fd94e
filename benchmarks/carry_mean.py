"""Going on from the mean of the look-aheads (local SGD): what it does to time and to the figure.

    python benchmarks/carry_mean.py [--seeds 3] [--workers 2] [--json PATH]

With ``carry = "mean"`` the N look-aheads of C steps of a round are progress: N x C steps on the learning-rate line,
which N workers take in the time of C. Compared are, on the packaged BERT and its packaged labels and interleaved:
look-aheads thrown away (``"none"``), their mean, and their mean by workers in processes of their own, all at the same
budget T, one draw that ends trained (``finish = "continue"``) for each seed. The ticket of workers has to be that of
this process.

Goals: workers take less time for the same ticket. What the mean does to the figure is reported, with its range over the
seeds; it is no goal. Where there are fewer cores than workers, there is nothing to gain.
"""

from __future__ import annotations

import time
from dataclasses import replace
from statistics import mean, median
from typing import Any

import instant_soup as soup
from instant_soup.engine.worker import compute
from instant_soup.tasks import CourseTask
from measure import Goal, Ratio, options, report

STEPS, ROUNDS = (
    120,
    {"denoisers": 4, "lookahead_steps": 6, "compression": 0.25, "mask_share": 0.2},
)
SPARSITY = 0.7


def main() -> None:
    """Draw with each, compare, report."""
    parser = options(__doc__)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--workers", type=int, default=2)
    chosen = parser.parse_args()
    compute(chosen.threads)  # as its workers do
    task = soup.tasks.text(
        "demo/polarity", regime=soup.Regime(steps=STEPS, precision="float32")
    )
    seconds: dict[str, list[float]] = {"none": [], "mean": [], "mean by workers": []}
    figures: dict[str, list[float]] = {"none": [], "mean": []}
    with task.on("processes", workers=chosen.workers) as shared:
        drawn(shared, "mean", 0)  # the workers are warm from here on
        for seed in range(chosen.seeds):
            tickets = {}
            for name, world in (
                ("none", task),
                ("mean", task),
                ("mean by workers", shared),
            ):
                taken, tickets[name] = drawn(world, name.split()[0], seed)
                seconds[name].append(taken)
            assert tickets["mean"].digest == tickets["mean by workers"].digest
            for name, found in figures.items():
                found.append(
                    soup.evaluate(tickets[name], replace(task, seed=seed)).test[
                        "accuracy"
                    ]
                )
            print(
                f"seed {seed}: { {name: found[-1] for name, found in figures.items()} }",
                flush=True,
            )
    gains = [
        after - before
        for after, before in zip(figures["mean"], figures["none"], strict=True)
    ]
    print(
        f"the mean over throwing away, accuracy: {mean(gains):+.4f} ({min(gains):+.4f} to {max(gains):+.4f})"
    )
    for name, times in seconds.items():
        print(
            f"{name:>16}: median {median(times):.1f} s ({min(times):.1f} to {max(times):.1f})"
        )
    ratio = Ratio.of(seconds["mean by workers"], seconds["mean"])
    goals = {
        f"a draw by {chosen.workers} workers over one by one": Goal.on(
            ratio, "under", 1.0
        )
    }
    report(goals, chosen.json, seconds=seconds, figures=figures, threads=chosen.threads)


def drawn(task: CourseTask, carry: Any, seed: int) -> tuple[float, soup.Ticket]:
    """How long a draw takes, and its ticket."""
    start = time.perf_counter()
    ticket = soup.InstantSoup(**ROUNDS, carry=carry, finish="continue").draw(
        replace(task, seed=seed), SPARSITY
    )
    return time.perf_counter() - start, ticket


if __name__ == "__main__":
    main()
