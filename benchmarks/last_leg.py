"""Where the last part of training goes: averages of the final leg beside its end.

    python benchmarks/last_leg.py recipes/equal-steps/settings/digits.toml \
        --sparsity 0.9 --seeds 0 1 -o results/last-leg.json

Twelve cubic cuts by curvature in the first half of T, as in the bench at equal steps. Then, at as many steps in all:

- end: the final mask is trained to the end of the line;
- snapshots: the mean of the last snapshots of that same training, one each hundredth of T;
- branches: two look-aheads late on the line, whose mean goes on to the end.

Everything is read on the validation split: its metric, and its loss, which tells smaller differences. The file holds
a row for each; rows of other recipes and seeds that it held before stay.
"""

from __future__ import annotations

from argparse import ArgumentParser
from collections.abc import Iterator
from itertools import chain
from pathlib import Path

import torch

from instant_soup.core.budget import Meter
from instant_soup.core.prune import prune
from instant_soup.core.schedule import SCHEDULES
from instant_soup.core.score import saliency
from instant_soup.core.task import Learner
from instant_soup.core.weights import Weights, mean
from instant_soup.recipes.recipe import Recipe
from instant_soup.runs.run import build
from instant_soup.soup.denoiser import Protocols, briefs
from instant_soup.tasks import CourseTask
from rows import add

Row = dict[str, str | float | int]
SAME = ("task", "sparsity", "seed", "line")
"""What a row is told by from others in the file."""

ROUNDS = 12

# shares of T
CUTS_UNTIL = 0.5
SNAPSHOT_EVERY = 0.01
AVERAGED = (0.02, 0.05, 0.1, 0.2)  # counted from the end
BRANCHES = (
    (0.8, 0.05),
    (0.9, 0.03),
)  # where on the line they begin, and how long each is


def main() -> None:
    """Train each seed three times and add the rows to the file."""
    parser = ArgumentParser()
    parser.add_argument("recipe", type=Path)
    parser.add_argument("--sparsity", type=float, required=True)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("-o", "--out", type=Path, required=True)
    options = parser.parse_args()
    torch.set_num_threads(1)

    for seed in options.seeds:
        changes = [
            f"seed={seed}",
            f"sparsity={options.sparsity}",
            "method.name=gradual",
        ]
        recipe = Recipe.read(options.recipe, changes)
        task = build(recipe)
        for row in chain(ends_and_snapshots(task, recipe), branches(task, recipe)):
            whose = {"task": recipe.task.name, "sparsity": recipe.sparsity, "seed": seed}
            add(options.out, {**whose, **row}, SAME)


def ends_and_snapshots(task: CourseTask, recipe: Recipe) -> Iterator[Row]:
    """One training, judged at its end and at means of its last snapshots."""
    learner = task.learner(Meter())
    cut(learner, recipe.sparsity)

    first = learner.horizon - round(max(AVERAGED) * task.horizon)
    learner.train(first - learner.steps_taken)
    snapshots: list[tuple[int, Weights]] = []
    every = round(SNAPSHOT_EVERY * task.horizon)
    while learner.steps_taken < learner.horizon:
        learner.train(min(every, learner.horizon - learner.steps_taken))
        snapshots.append((learner.steps_taken, learner.weights()))
    yield judged("end", learner)

    for share in AVERAGED:
        since = learner.horizon - round(share * task.horizon)
        learner.restore(mean([weights for step, weights in snapshots if step > since]))
        yield judged(f"snapshots of the last {share:.0%}", learner)


def branches(task: CourseTask, recipe: Recipe) -> Iterator[Row]:
    """Two look-aheads from late on the line, paid out of T, after which their mean is trained on."""
    for start, length in BRANCHES:
        steps = round(length * task.horizon)
        # one branch lies on the line, the other is paid for by a shorter line
        learner = task.learner(Meter(), horizon=task.horizon - steps)
        cut(learner, recipe.sparsity)
        learner.train(round(start * learner.horizon) - learner.steps_taken)

        same = Protocols(rate=(1.0, 1.0), weight_decay=(0.1, 0.1), subset=(0.5, 0.5))
        looks = briefs(2, steps, same, learner.seed("branches"), carry_optimizer=True)
        reached = list(learner.look_ahead(looks, weights_of))
        learner.advance(mean(reached), steps)
        learner.train(learner.horizon - learner.steps_taken)
        yield judged(f"branches of {length:.0%} at {start:.0%}", learner)


def weights_of(learner: Learner) -> Weights:
    """What a branch has reached."""
    return learner.weights()


def cut(learner: Learner, sparsity: float) -> None:
    """Train and cut, twelve times, until half of the line."""
    score = saliency("curved")
    for number, target in enumerate(SCHEDULES["cubic"](sparsity, ROUNDS), start=1):
        end = round(CUTS_UNTIL * learner.horizon * number / ROUNDS)
        learner.train(end - learner.steps_taken)
        learner.apply_mask(prune(score(learner), learner.mask, target))


def judged(name: str, learner: Learner) -> Row:
    """The figures of the validation split."""
    return {
        "line": name,
        "metric": learner.evaluate(),
        "loss": learner.loss(),
        "steps": learner.meter.spent.steps,
    }


if __name__ == "__main__":
    main()
