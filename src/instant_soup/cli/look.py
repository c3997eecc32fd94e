"""Look: commands that say something and change nothing. Slow imports wait until they are needed."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from .app import CellName, Changes, Json, RecipePath, app, say

if TYPE_CHECKING:
    from ..recipes.recipe import Recipe
    from ..runs.plan import Plan

Timed = Annotated[bool, typer.Option("--timed", help="Load model and data, and measure time and memory here.")]


@app.command()
def plan(
    recipe: RecipePath,
    changes: Changes = None,
    cell: CellName = None,
    timed: Timed = False,
    workers: Annotated[
        int | None, typer.Option("--workers", min=1, help="Say too what up to so many workers make of one run.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Say what RECIPE will cost at most: steps by purpose, multiples of T; with --timed, time and memory here.

    A benchmark from the hub is planned without loading anything; a task of your own is loaded, and timed.
    """
    if workers is not None:
        _spread(recipe, changes, cell, workers, as_json=as_json)
        return
    from ..recipes.grid import expand
    from . import show

    wanted = {one.name: one.like or one.recipe for one in expand(recipe, changes or (), [cell] if cell else ())}
    several = len(wanted) > 1 or (cell is None and "" not in wanted)
    found = {name: (one, _planned(one, timed=timed)) for name, one in wanted.items()}
    if as_json:
        plans = {name: {**asdict(cost), "ratio": cost.ratio} for name, (_, cost) in found.items()}
        typer.echo(json.dumps(plans if several else next(iter(plans.values())), indent=2))
    elif several:
        Console().print(show.plans(found))
    else:
        one, cost = next(iter(found.values()))
        say(f"{one.label}, key {one.short_key}")
        Console().print(show.plan(cost))


def _spread(recipe: Path, changes: list[str] | None, cell: str | None, workers: int, *, as_json: bool) -> None:
    from ..recipes.recipe import Recipe
    from ..runs.plan import plan as make
    from ..runs.run import build
    from ..runs.scaling import Load, numbers, spread
    from ..runs.sizes import Sizes
    from . import show

    wanted = Recipe.read(recipe, changes or (), cell=cell)
    cost = make(wanted, Sizes.of(task := build(wanted)), task)
    load = Load.of(wanted, task, cost)
    found = [spread(load, number) for number in numbers(workers)]
    if as_json:
        facts = {**asdict(cost), "ratio": cost.ratio, "workers": [asdict(one) for one in found]}
        typer.echo(json.dumps(facts, indent=2))
        return
    say(f"{wanted.label}, key {wanted.short_key}")
    Console().print(show.plan(cost))
    Console().print(show.spread(found))


def _planned(recipe: Recipe, *, timed: bool) -> Plan:
    from ..runs.plan import plan as make
    from ..runs.run import build
    from ..runs.sizes import Sizes

    if not timed and (sizes := Sizes.known(recipe)):
        return make(recipe, sizes)
    task = build(recipe)
    return make(recipe, Sizes.of(task), task)


@app.command()
def scope(recipe: RecipePath, changes: Changes = None, cell: CellName = None, as_json: Json = False) -> None:
    """Show which parameters of RECIPE's model may be pruned, as a tree, and what sparsity is a share of."""
    from ..core.parameters import Survey
    from ..recipes.recipe import Recipe
    from ..runs.run import build
    from . import show

    wanted = Recipe.read(recipe, changes or (), cell=cell)
    course = build(wanted).course
    found = Survey.of(course.model, course.scope)
    if as_json:
        sizes = {"prunable": found.prunable, "encoder": found.encoder, "whole": found.whole}
        typer.echo(json.dumps({**sizes, "parts": {name: asdict(part) for name, part in found.parts.items()}}, indent=2))
    else:
        Console().print(show.survey(wanted, found))


@app.command()
def methods(as_json: Json = False) -> None:
    """List the ways to draw a ticket, with their knobs."""
    from ..methods import METHODS, REFERENCES
    from . import show

    table = {**METHODS, **REFERENCES}
    if as_json:
        facts = {
            name: {
                "summary": variant.summary,
                "knobs": variant.knobs,
                "presets": {preset: dict(knobs) for preset, knobs in variant.presets.items()},
            }
            for name, variant in table.items()
        }
        typer.echo(json.dumps(facts, indent=2))
    else:
        Console().print(show.methods(table))


@app.command()
def tasks(as_json: Json = False) -> None:
    """List the tasks by name; any labelled text and any labelled images are a task too."""
    from ..tasks import TASKS
    from . import show

    if as_json:
        typer.echo(json.dumps({name: asdict(spec) for name, spec in TASKS.items()}, indent=2))
    else:
        Console().print(show.tasks(TASKS))
