"""Recipe: commands over recipes, before anything is run: write one, say what it costs and what it may prune.

Slow imports wait until they are needed.
"""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from . import console
from .app import (
    CellName,
    Changes,
    Device,
    Force,
    Json,
    Most,
    app,
    check_model,
    check_models,
    refuse_replacing,
    with_device,
)
from .console import say, warn
from .paths import RecipePath

if TYPE_CHECKING:
    from ..recipes.grid import Wanted
    from ..recipes.recipe import Recipe
    from ..runs.plan import Plan, Planner

RecipeKind = Literal["packaged", "text", "images", "language"]

Timed = Annotated[
    bool,
    typer.Option(
        "--timed", help="Load model and data, and measure time and memory here."
    ),
]


@app.command()
def new(
    output: Annotated[
        Path, typer.Argument(metavar="RECIPE", help="The recipe to write.")
    ] = Path("recipe.toml"),
    kind: Annotated[
        RecipeKind,
        typer.Option(
            "--kind",
            help="What it is about: 'packaged', which runs as it is and without network, or data of your own.",
        ),
    ] = "packaged",
    force: Force = False,
) -> None:
    """Write a recipe with a comment at every field, to be changed into one's own."""
    from ..core.files import write_text
    from .template import RECIPES

    refuse_replacing(output, force=force)
    write_text(output, RECIPES[kind])

    if kind == "packaged":
        say(f"{output}: a recipe on the packaged task")
        say(f"Next: instant-soup plan {output}, then instant-soup run {output}")
    else:
        say(f"{output}: a recipe for {kind} of your own")
        say(
            f"Next: set data.folder and task.model in it, then instant-soup plan {output}"
        )


@app.command()
def plan(
    recipe: RecipePath,
    changes: Changes = None,
    cell: CellName = None,
    timed: Timed = False,
    workers: Annotated[
        int | None,
        typer.Option(
            "--workers",
            min=1,
            help="Say too what up to so many workers make of one run.",
        ),
    ] = None,
    most: Most = None,
    device: Device = None,
    as_json: Json = False,
) -> None:
    """Say what RECIPE will cost at most: steps by purpose, multiples of T; with --timed, time and memory here.

    A benchmark from the hub is planned without loading anything, and a language model without its weights; another
    task of your own is loaded once.
    """
    changes = with_device(changes, device)
    check_model(recipe, changes)
    if workers is not None:
        _plan_workers(recipe, changes, cell, workers, as_json=as_json)
        return
    from ..recipes.grid import expand

    cells = expand(recipe, changes or (), [cell] if cell else (), most=most)
    check_models(planned_cell.recipe for planned_cell in cells)

    # torch and the models, which take seconds, only once the recipe is known to be good
    from ..runs.plan import Planner
    from ..runs.run import build
    from . import show

    planner = Planner(build, timed=timed)
    planned = {
        planned_cell.name: _plan_cell(planned_cell, planner) for planned_cell in cells
    }
    # one named cell of a file of several counts as several, unless it was asked for by its name
    are_several = len(cells) > 1 or (cell is None and cells[0].name != "")
    if as_json:
        facts = {}
        for name, (_, cost) in planned.items():
            facts[name] = {**asdict(cost), "ratio": cost.ratio}
        only = next(iter(facts.values()))
        typer.echo(json.dumps(facts if are_several else only, indent=2))
        return

    if are_several:
        console.out().print(show.plans(planned))
        say(_sum_of([cost for _, cost in planned.values()]))
    else:
        asked, cost = next(iter(planned.values()))
        say(f"{asked.label}, key {asked.short_key}")
        if planner.task is not None:
            say(f"Data: {planner.task.content}")
        console.out().print(show.plan(cost))
    remarks = dict.fromkeys(line for _, cost in planned.values() for line in cost.remarks)
    for remark in remarks:
        say(f"{remark}.")
    _advise(planned)


def _sum_of(plans: list[Plan]) -> str:
    """What all *plans* cost together, in one line."""
    steps = sum(cost.total.steps for cost in plans)
    ratio = sum(cost.ratio for cost in plans)
    seconds = sum(cost.timing.seconds for cost in plans if cost.timing)

    time = ""
    if seconds:
        time = f", about {seconds / 3600:.1f} hours one after the other here"
    return f"{len(plans):,} runs, {steps:,} steps, {ratio:,.2f} T in all{time}."


def _plan_cell(cell: Wanted, planner: Planner) -> tuple[Recipe, Plan]:
    """The recipe of a cell and its plan. A cell that is to cost as much as another run gets that budget first."""
    if cell.like is None:
        return cell.recipe, planner.plan(cell.recipe)

    like = planner.plan(cell.like)
    # every run selects by validation once more, so that does not count towards the budget
    validation = like.train["select"].passes / like.full.passes
    funded = cell.with_budget(round(like.ratio - validation, 2))
    return funded.recipe, planner.plan(funded.recipe)


def _advise(planned: dict[str, tuple[Recipe, Plan]]) -> None:
    """Warn, once each, of what makes a method pointless."""
    from .advice import warnings_of

    sentences: dict[str, None] = {}
    for recipe, cost in planned.values():
        sentences |= dict.fromkeys(warnings_of(recipe, cost.full.steps, cost.total.steps))
    for sentence in sentences:
        warn(sentence)


def _plan_workers(
    recipe: Path,
    changes: list[str] | None,
    cell: str | None,
    workers: int,
    *,
    as_json: bool,
) -> None:
    from ..recipes.recipe import Recipe

    wanted = Recipe.read(recipe, changes or (), cell=cell)
    check_models([wanted])

    # as in `plan`
    from ..runs.plan import plan as make_plan
    from ..runs.run import build
    from ..runs.scaling import Load, forecast, numbers
    from ..runs.sizes import Sizes
    from . import show

    task = build(wanted)
    cost = make_plan(wanted, Sizes.of(task), task)
    load = Load.of(wanted, task, cost)
    forecasts = [forecast(load, number) for number in numbers(workers)]
    if as_json:
        facts = {
            **asdict(cost),
            "ratio": cost.ratio,
            "workers": [asdict(forecast) for forecast in forecasts],
        }
        typer.echo(json.dumps(facts, indent=2))
        return
    say(f"{wanted.label}, key {wanted.short_key}")
    console.out().print(show.plan(cost))
    console.out().print(show.forecasts(forecasts))


@app.command()
def scope(
    recipe: RecipePath,
    changes: Changes = None,
    cell: CellName = None,
    as_json: Json = False,
) -> None:
    """Show which parameters of RECIPE's model may be pruned, as a tree, and what sparsity is a share of."""
    check_model(recipe, changes)
    from ..recipes.recipe import Recipe

    wanted = Recipe.read(recipe, changes or (), cell=cell)
    check_models([wanted])

    # as in `plan`
    from ..core.parameters import Survey
    from ..runs.run import build
    from . import show

    course = build(wanted).course
    survey = Survey.of(course.model, course.scope)
    if as_json:
        sizes = {
            "prunable": survey.prunable,
            "encoder": survey.encoder,
            "whole": survey.whole,
        }
        parts = {name: asdict(part) for name, part in survey.parameters.items()}
        typer.echo(json.dumps({**sizes, "parts": parts}, indent=2))
    else:
        console.out().print(show.survey(wanted, survey))
