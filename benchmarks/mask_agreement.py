"""Masks judged before they are trained: how well each foretells the mask of the trained dense model.

    python benchmarks/mask_agreement.py recipes/equal-steps/polarity-ablations.toml \
        --seeds 0 1 -o results/mask-agreement.json

The dense model is trained for T and cut once, by magnitude and by curvature. Then each cell of the recipe draws its
mask, as far as its last cut and no further. Its agreement with the two is that of Jaiswal et al. (2023, Figure 3b), the
cosine, corrected for what chance gives within each layer. Beside it stands the validation metric after a short fixed
fine-tune of the pre-trained weights under the mask, a tenth of T for all. So a way of denoising can be judged for half
of T instead of all of it. The file holds a row for each; rows of other recipes and seeds that it held before stay.
"""

from __future__ import annotations

from argparse import ArgumentParser
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from instant_soup.core.agreement import agreement
from instant_soup.core.budget import Meter
from instant_soup.core.mask import Mask
from instant_soup.core.prune import prune
from instant_soup.core.score import saliency
from instant_soup.core.ticket import Ticket
from instant_soup.methods import InstantSoup, OneShot
from instant_soup.recipes.grid import expand
from instant_soup.recipes.recipe import Recipe
from instant_soup.recipes.toml import cells, read
from instant_soup.runs.run import build
from instant_soup.tasks import CourseTask
from rows import add

SCORES = ("magnitude", "curved")
FINE_TUNE = 0.1  # of T
SAME = ("task", "sparsity", "seed", "cell")
"""What a row is told by from others in the file."""


def main() -> None:
    """Judge the masks of each cell and seed, and add the rows to the file."""
    parser = ArgumentParser()
    parser.add_argument("recipe", type=Path)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("-o", "--out", type=Path, required=True)
    options = parser.parse_args()
    torch.set_num_threads(1)

    names = cells(read(options.recipe), str(options.recipe))
    for seed in options.seeds:
        recipes = {}
        for name in names:
            (wanted,) = expand(options.recipe, [f"seed={seed}"], cells=[name])
            recipes[name] = wanted.recipe
        judge_cells(recipes, options.out)


def judge_cells(recipes: dict[str, Recipe], out: Path) -> None:
    """Judge the masks of *recipes*, which are of one task, sparsity and seed."""
    first = next(iter(recipes.values()))
    whose = {
        "task": first.task.name,
        "sparsity": first.sparsity,
        "seed": first.seed,
    }
    task = build(first)
    dense = dense_masks(task, first.sparsity)

    one_shot = OneShot().draw(task, first.sparsity)
    add(out, {**whose, "cell": "one-shot", **judged(one_shot, task, dense)}, SAME)
    for name, recipe in recipes.items():
        method = recipe.make_method()
        # another line or a control changes nothing of how the mask is drawn
        is_drawn_alike = recipe.control or recipe.training != first.training
        if is_drawn_alike or not isinstance(method, InstantSoup):
            continue

        # as far as the last cut: what comes after it belongs to the training of the ticket
        drawn = replace(method, finish="rewind", inside=False)
        ticket = drawn.draw(task, recipe.sparsity)
        add(out, {**whose, "cell": name, **judged(ticket, task, dense)}, SAME)


def dense_masks(task: CourseTask, sparsity: float) -> dict[str, Mask]:
    """Score -> the mask that it cuts from the dense model after T."""
    learner = task.learner(Meter())
    learner.train(task.horizon)
    masks = {}
    for score in SCORES:
        scores = saliency(score)(learner)
        masks[score] = prune(scores, Mask.dense(learner.scope), sparsity)
    return masks


def judged(ticket: Ticket, task: CourseTask, dense: dict[str, Mask]) -> dict[str, Any]:
    """How well the mask of *ticket* foretells those of the dense model, and what it reaches after a short fine-tune."""
    row: dict[str, Any] = {}
    for score, mask in dense.items():
        alike = agreement(ticket.mask, mask)
        row[f"alike_{score}"] = 1 - alike.distance
        row[f"cosine_{score}"] = alike.cosine_in_layers

    steps = round(FINE_TUNE * task.horizon)
    learner = task.learner(Meter(), horizon=steps)
    learner.apply_mask(ticket.mask)
    learner.train(steps)
    row["metric"] = learner.evaluate()
    row["loss"] = learner.loss()
    row["steps_to_draw"] = ticket.cost.steps
    return row


if __name__ == "__main__":
    main()
