"""Look-aheads of a recipe, done where its table ``[run]`` says."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from typing import Any

from ..core.errors import RankError
from ..core.ranks.launch import launched
from ..recipes.recipe import Recipe
from ..tasks import CourseTask
from ..training.scout import Scout
from .plan import rehearse
from .sizes import Sizes

Build = Callable[[Recipe], CourseTask]


def with_workers(
    recipe: Recipe, task: CourseTask, build: Build
) -> AbstractContextManager[CourseTask]:
    """*task* with its look-aheads done by workers, if there are any; each makes the task itself, by *build*.

    Raises RankError where several ranks train the model.
    """
    if recipe.run.engine == "here":
        return nullcontext(task)
    # workers are not started for a method that takes no look-aheads
    drawing, _ = rehearse(recipe, Sizes.of(task))
    if "look-ahead" not in drawing.bill:
        return nullcontext(task)

    if launched():
        raise RankError(
            f"run.engine is {recipe.run.engine!r} and several ranks train the model, which do look-aheads together; "
            f"set it to 'here', or start one process"
        )

    scout = partial(_scout, build, recipe.model_dump(mode="json"))
    return task.on(
        recipe.run.engine,
        workers=recipe.run.workers,
        address=recipe.run.address,
        scout=scout,
    )


def _scout(build: Build, fields: Mapping[str, Any]) -> Scout:
    """What a worker keeps: the recipe's task, loaded where the worker is."""
    return Scout(build(Recipe.parse(fields)).course)
