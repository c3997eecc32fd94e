"""Ticket: draw one without fine-tuning it, judge one, make controls of one. Slow imports wait until they are needed."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from . import console
from .app import (
    RUNS,
    Address,
    CellName,
    Changes,
    EngineName,
    Force,
    Json,
    Out,
    Quiet,
    Workers,
    app,
    check_models,
    expected,
    first_rank,
    free,
    going_on,
    holds,
    placed,
    put,
)
from .console import say
from .paths import RecipePath, TicketPath

if TYPE_CHECKING:
    from ..recipes.recipe import Recipe
    from ..runs.result import Result
    from ..tasks import CourseTask

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
    force: Force = False,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Draw a ticket and write it to a file, without fine-tuning it."""
    from ..recipes.recipe import Recipe
    from ..runs.run import build
    from ..runs.run import draw as carry_out
    from ..store.store import Store
    from .live import live

    wanted = Recipe.read(recipe, placed(changes, engine, workers, address), cell=cell)
    check_models([wanted])
    if not holds(ticket, lambda known: known.recipe == wanted.key):
        free(ticket, force=force)  # before hours of work, not after
    task = build(wanted)
    with (
        going_on(),
        live(console.err(), quiet=quiet or as_json or not first_rank()) as begin,
    ):
        drawn = carry_out(
            wanted, task, Store(out), begin(wanted.label, *expected(wanted, task))
        )

    whole = drawn.whole()
    if whole and first_rank():
        whole.save(ticket)
    if as_json:
        facts = {
            "digest": drawn.digest,
            "kept": drawn.mask.kept,
            "sparsity": drawn.sparsity,
            "ready": drawn.ready,
        }
        typer.echo(
            json.dumps(
                {"ticket": str(ticket), **facts, "cost": asdict(drawn.cost)}, indent=2
            )
        )
        return
    say(f"{ticket}: {drawn.mask}, {'trained' if drawn.ready else 'to be fine-tuned'}")


@app.command()
def evaluate(
    ticket: TicketPath,
    recipe: RecipePath,
    changes: Changes = None,
    cell: CellName = None,
    lm_eval: Annotated[
        str | None,
        typer.Option(
            "--lm-eval",
            metavar="TASKS",
            help="Judge a language model by tasks of lm-eval, too.",
        ),
    ] = None,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Fine-tune TICKET as RECIPE says, whose method and sparsity do not matter, and read the test split once."""
    from ..core.budget import Meter
    from ..core.ticket import Ticket
    from ..recipes.recipe import Recipe
    from ..runs.run import build
    from ..runs.run import evaluate as judge
    from ..runs.sizes import Sizes
    from . import show
    from .live import live

    loaded = Ticket.load(ticket)
    wanted = Recipe.read(
        recipe, [f"sparsity={loaded.sparsity}", *(changes or ())], cell=cell
    )
    task = build(wanted)
    full = Sizes.of(task).full
    with live(console.err(), quiet=quiet or as_json or not first_rank()) as begin:
        watch = begin(f"{ticket.name}", round(wanted.budget * full.passes), full.passes)
        result = judge(
            loaded,
            task,
            budget=wanted.budget,
            meter=Meter(watch=lambda pulse: watch("fine-tune", pulse)),
        )
    if lm_eval:
        result = replace(
            result, test={**result.test, **_benchmarks(wanted, task, result, lm_eval)}
        )
    if as_json:
        facts = {
            "test": result.test,
            "validation": result.validation,
            "cost_in_T": result.cost.ratio(full),
            "drawing_in_T": result.drawing.ratio(full),
        }
        typer.echo(
            json.dumps(
                {"ticket": loaded.digest, "sparsity": loaded.sparsity, **facts}, indent=2
            )
        )
        return
    cost = f"cost {result.cost.ratio(full):.2f} T, {result.drawing.ratio(full):.2f} T of it to draw"
    say(f"test {show.figures(result.test)}   validation {result.validation:.4f}   {cost}")


def _benchmarks(
    recipe: Recipe, task: CourseTask, result: Result, names: str
) -> dict[str, float]:
    """What the judged weights reach on tasks of lm-eval."""
    from copy import deepcopy

    from ..core.errors import DataError
    from ..models.decoder import tokenizer_of
    from ..runs.harness import harness

    if not recipe.task.language:
        raise DataError(
            f"--lm-eval judges language models, and {recipe.task.name!r} is none of their tasks; leave it out"
        )

    model = deepcopy(task.course.model)
    model.load_state_dict(dict(result.weights), strict=False)
    return harness(
        model,
        tokenizer_of(recipe.task.model),
        [name.strip() for name in names.split(",")],
    )


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
    from ..methods import control as make
    from ..recipes.recipe import Recipe
    from ..runs.run import build

    loaded = Ticket.load(ticket)
    made = make(loaded, build(Recipe.read(recipe, changes or (), cell=cell)), kind)
    put(made, output, force=force)
    say(f"{output}: {made.mask}, to be fine-tuned")
