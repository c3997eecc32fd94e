"""Ticket: commands that draw, judge and make controls of one ticket. Slow imports wait until they are needed."""

from __future__ import annotations

import json
from copy import deepcopy
from dataclasses import asdict, replace
from pathlib import Path
from typing import Annotated

import typer

from . import console
from .app import (
    RUNS,
    Address,
    CellName,
    Changes,
    Device,
    EngineName,
    Force,
    Json,
    LmEval,
    Out,
    Quiet,
    Workers,
    app,
    check_model,
    check_models,
    expected_passes,
    holds_ticket,
    is_first_rank,
    refuse_replacing,
    resumable,
    save_ticket,
    with_device,
    with_run_options,
)
from .console import say
from .paths import RecipePath, TicketPath

TicketOut = Annotated[
    Path,
    typer.Option("-o", "--output", metavar="TICKET", help="The ticket file to write."),
]


@app.command()
def draw(
    recipe: RecipePath,
    ticket: TicketOut,
    changes: Changes = None,
    cell: CellName = None,
    out: Out = RUNS,
    engine: EngineName = None,
    workers: Workers = None,
    address: Address = None,
    device: Device = None,
    force: Force = False,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Draw a ticket and write it to a file, without fine-tuning it."""
    check_model(recipe, changes)
    from ..recipes.recipe import Recipe

    wanted = Recipe.read(
        recipe, with_run_options(changes, engine, workers, address, device), cell=cell
    )
    check_models([wanted])

    # torch and the models, only once the recipe is known to be good
    from ..runs.run import build
    from ..runs.run import draw as carry_out
    from ..store.store import Store
    from .live import live

    # before hours of work, not after
    if not holds_ticket(ticket, lambda known: known.recipe == wanted.key):
        refuse_replacing(ticket, force=force)

    task = build(wanted)
    is_silent = quiet or as_json or not is_first_rank()
    with resumable(), live(console.err(), quiet=is_silent) as begin:
        watch = begin(wanted.label, *expected_passes(wanted, task))
        drawn = carry_out(wanted, task, Store(out), watch)

    # all ranks gather the shards, and one writes them
    gathered = drawn.whole()
    if gathered and is_first_rank():
        gathered.save(ticket)

    if as_json:
        facts = {
            "ticket": str(ticket),
            "digest": drawn.digest,
            "kept": drawn.mask.kept,
            "sparsity": drawn.sparsity,
            "ready": drawn.ready,
            "cost": asdict(drawn.cost),
        }
        typer.echo(json.dumps(facts, indent=2))
        return
    state = "trained" if drawn.ready else "to be fine-tuned"
    say(f"{ticket}: {drawn.mask}, {state}")


@app.command()
def evaluate(
    ticket: TicketPath,
    recipe: RecipePath,
    changes: Changes = None,
    cell: CellName = None,
    lm_eval: LmEval = None,
    device: Device = None,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Fine-tune TICKET as RECIPE says, whose method and sparsity do not matter, and read the test split once."""
    from ..core.budget import Meter
    from ..core.ticket import Ticket
    from ..recipes.recipe import Recipe
    from ..runs.benchmarks import Benchmarks
    from ..runs.run import build
    from ..runs.run import evaluate as judge
    from ..runs.sizes import Sizes
    from . import show
    from .live import live

    loaded = Ticket.load(ticket)
    # a recipe has to state a sparsity; the ticket's own is the one that is true
    changes = [f"sparsity={loaded.sparsity}", *with_device(changes, device)]
    wanted = Recipe.read(recipe, changes, cell=cell)
    # before hours of work, not after
    benchmarks = None if lm_eval is None else Benchmarks.asked_for(lm_eval, wanted)
    task = build(wanted)
    full = Sizes.of(task).full
    is_silent = quiet or as_json or not is_first_rank()
    with live(console.err(), quiet=is_silent) as begin:
        watch = begin(f"{ticket.name}", round(wanted.budget * full.passes), full.passes)
        meter = Meter(watch=lambda pulse: watch("fine-tune", pulse))
        result = judge(loaded, task, budget=wanted.budget, meter=meter)

    packages = {}
    if benchmarks is not None:
        # a copy, because the course keeps its model at the pre-trained weights
        model = deepcopy(task.course.model)
        figures = benchmarks.judge(model, result.weights, wanted)
        result = replace(result, test={**result.test, **figures})
        packages = {"packages": {"lm-eval": benchmarks.version}}

    if as_json:
        facts = {
            "ticket": loaded.digest,
            "sparsity": loaded.sparsity,
            "test": result.test,
            "validation": result.validation,
            "cost_in_T": result.cost.ratio(full),
            "drawing_in_T": result.drawing.ratio(full),
            **packages,
        }
        typer.echo(json.dumps(facts, indent=2))
        return
    cost = f"cost {result.cost.ratio(full):.2f} T, {result.drawing.ratio(full):.2f} T of it to draw"
    say(f"test {show.figures(result.test)}   validation {result.validation:.4f}   {cost}")


@app.command()
def control(
    ticket: TicketPath,
    recipe: RecipePath,
    output: TicketOut,
    kind: Annotated[
        str, typer.Option("--kind", help="'layers' or 'shuffled'.")
    ] = "layers",
    changes: Changes = None,
    cell: CellName = None,
    force: Force = False,
) -> None:
    """Write a control of TICKET: as many weights of each layer at random, or its own survivors shuffled.

    A ticket that does no better than its control owes its merit to how much it keeps where, not to which weights.
    RECIPE says which model the ticket belongs to.
    """
    from ..core.ticket import Ticket
    from ..methods import control as make_control
    from ..recipes.recipe import Recipe
    from ..runs.run import build

    loaded = Ticket.load(ticket)
    task = build(Recipe.read(recipe, changes or (), cell=cell))
    controlled = make_control(loaded, task, kind)
    save_ticket(controlled, output, force=force)
    say(f"{output}: {controlled.mask}, to be fine-tuned")
