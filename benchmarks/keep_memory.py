"""A training step with and without `keep_freed_memory`, which the command line calls and a library must not.

    python benchmarks/keep_memory.py [--rounds 6] [--steps 15] [--json PATH]

Each learner of the packaged BERT trains in a fresh process, because what the C library has once
been told stays; a process counts with its median step. The two kinds alternate, and so does which
of them goes first.

Goal: a step is faster with it.
"""

from __future__ import annotations

import json
from statistics import median

import torch

from instant_soup.core.budget import Meter
from instant_soup.engine.memory import keep_freed_memory
from instant_soup.tasks import text
from instant_soup.training.regime import Regime
from measure import Goal, Ratio, in_fresh_process, options, report, seconds

KINDS = ("kept", "returned")
WARM = 5


def main() -> None:
    """Start the processes one after another and compare their steps."""
    parser = options(__doc__)
    parser.add_argument(
        "--rounds",
        type=int,
        default=6,
        help="processes of each kind (default: %(default)s)",
    )
    parser.add_argument(
        "--steps",
        type=int,
        default=15,
        help="timed in each process (default: %(default)s)",
    )
    parser.add_argument(
        "--only",
        choices=KINDS,
        help="train in this process, print the times of the steps and stop",
    )
    chosen = parser.parse_args()
    torch.set_num_threads(chosen.threads)
    if chosen.only:
        if chosen.only == "kept":
            keep_freed_memory()
        print(json.dumps(steps(chosen.steps)))
        return
    taken: dict[str, list[float]] = {kind: [] for kind in KINDS}
    for turn in range(chosen.rounds):
        for kind in KINDS[:: -1 if turn % 2 else 1]:
            arguments = (
                f"--only={kind}",
                f"--steps={chosen.steps}",
                f"--threads={chosen.threads}",
            )
            taken[kind].append(median(in_fresh_process(__file__, *arguments)))
    for kind, times in taken.items():
        print(
            f"freed memory {kind:>8}: median {1000 * median(times):.1f} ms a step in {len(times)} processes"
        )
    ratio = Ratio.of(taken["kept"], taken["returned"])
    print(f"a step with freed memory kept takes {ratio} of one without")
    report(
        {"kept over returned": Goal.on(ratio, "under", 1.0)},
        chosen.json,
        milliseconds={kind: 1000 * median(times) for kind, times in taken.items()},
        threads=chosen.threads,
    )


def steps(count: int) -> list[float]:
    """Seconds of each of *count* training steps."""
    learner = text("demo/polarity", regime=Regime(steps=WARM + count)).learner(Meter())
    learner.train(WARM)
    return [seconds(lambda: learner.train(1)) for _ in range(count)]


if __name__ == "__main__":
    main()
