"""Advice: what makes a method pointless on a task, known before it is paid for."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ..recipes.recipe import Recipe

SHORT = 2  # steps of a look-ahead that leave its mask where it was
FEW = 100  # steps of T after which a pre-trained model has hardly begun to learn its task


def pointless(recipe: Recipe, horizon: int) -> Iterator[str]:
    """Sentences on what *recipe* cannot show, with T of *horizon* steps."""
    method = recipe.method
    steps = method.get("lookahead_steps")

    if method.get("denoisers") and isinstance(steps, int) and steps <= SHORT:
        yield (
            f"look-aheads of {steps} step{'s' if steps > 1 else ''} hardly move a weight, so their masks are all but "
            f"that of plain magnitude; give method.lookahead_steps 10 or more"
        )

    if horizon < FEW or (recipe.training.epochs < 1 and recipe.training.steps is None):
        yield (
            f"T is {horizon} steps: the dense model itself has hardly learned its task by then, and what is pruned "
            f"from it tells little; set training.epochs or training.steps higher, or give more data"
        )
