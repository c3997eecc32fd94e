"""Advice: what makes a method pointless on a task, known before it is paid for."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ..recipes.recipe import Recipe

SHORT_LOOKAHEAD = 2  # steps of a look-ahead that leave its mask where it was
# steps of T after which a pre-trained model has hardly begun to learn its task
FEW_STEPS = 100


def warnings_of(recipe: Recipe, horizon: int, steps_in_all: int) -> Iterator[str]:
    """Sentences on what a run of *recipe* cannot show, where T has *horizon* steps and the run *steps_in_all*."""
    method = recipe.method
    steps = method.get("lookahead_steps")

    if method.get("denoisers") and isinstance(steps, int) and steps <= SHORT_LOOKAHEAD:
        noun = "steps" if steps > 1 else "step"
        yield (
            f"look-aheads of {steps} {noun} hardly move a weight, so their masks are all but "
            f"that of plain magnitude; give method.lookahead_steps 10 or more"
        )

    # what is judged as it was drawn has no dense model that would have to learn
    if not steps_in_all:
        return

    # less than an epoch leaves examples unseen, however many steps it takes
    is_part = recipe.training.epochs < 1 and recipe.training.steps is None
    if horizon < FEW_STEPS or is_part:
        yield (
            f"T is {horizon} steps: the dense model itself has hardly learned its task by then, unless it knew it "
            f"before, and what is pruned from it tells little; set training.epochs or training.steps higher, or give "
            f"more data"
        )
