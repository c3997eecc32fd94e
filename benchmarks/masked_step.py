"""A training step under a mask against a dense one, of the same model on the same batches.

    python benchmarks/masked_step.py [--legs 20] [--steps 10] [--json PATH]

Two learners of the packaged BERT, one under a 70 % magnitude mask, train in turn in one process,
in legs of ten steps with batches of 32, the order alternating; leg for leg they see the same
batches. Freed memory is kept, as on the command line. The demo's texts are words of about four
tokens, so the steps are short, and the mask, whose cost depends on the weights alone, weighs as
much as it ever does.

Goal: under the mask a step takes at most 3 % longer.
"""

from __future__ import annotations

from statistics import median

from instant_soup.core.budget import Meter
from instant_soup.core.prune import prune
from instant_soup.core.score import magnitude
from instant_soup.engine.worker import compute
from instant_soup.tasks import text
from instant_soup.training.regime import Regime
from measure import Goal, Ratio, interleaved, options, report

WARM = 5
SPARSITY = 0.7


def main() -> None:
    """Train both in turn and compare."""
    parser = options(__doc__)
    parser.add_argument(
        "--legs", type=int, default=20, help="of each learner (default: %(default)s)"
    )
    parser.add_argument(
        "--steps", type=int, default=10, help="of a leg (default: %(default)s)"
    )
    parser.add_argument(
        "--batch", type=int, default=32, help="examples of a step (default: %(default)s)"
    )
    chosen = parser.parse_args()
    compute(chosen.threads)
    task = text(
        "demo/polarity",
        regime=Regime(batch=chosen.batch, steps=WARM + chosen.steps * chosen.legs),
    )
    dense, masked = task.learner(Meter()), task.learner(Meter())
    masked.apply_mask(prune(magnitude(masked), masked.mask, SPARSITY))
    for learner in (dense, masked):
        learner.train(WARM)
    legs = {
        "dense": lambda: dense.train(chosen.steps),
        "masked": lambda: masked.train(chosen.steps),
    }
    taken = interleaved(legs, chosen.legs)
    assert dense.meter.spent == masked.meter.spent, (
        "the learners did not see the same batches"
    )
    steps = {
        name: [1000 * leg / chosen.steps for leg in each] for name, each in taken.items()
    }
    for name, each in steps.items():
        print(
            f"{name:>8}: median {median(each):.1f} ms a step ({min(each):.1f} to {max(each):.1f})"
        )
    ratio = Ratio.of(taken["masked"], taken["dense"])
    print(
        f"under the mask of {masked.mask.sparsity:.0%} a step takes {ratio} of a dense one"
    )
    report(
        {"masked step over dense step": Goal.on(ratio, "at most", 1.03)},
        chosen.json,
        milliseconds={name: median(each) for name, each in steps.items()},
        batch=chosen.batch,
        threads=chosen.threads,
    )


if __name__ == "__main__":
    main()
