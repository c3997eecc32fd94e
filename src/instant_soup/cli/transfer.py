"""Transfer: a ticket of one task on another. Slow imports wait until they are needed."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from . import console
from .app import (
    RUNS,
    CellName,
    Changes,
    Force,
    Json,
    Out,
    Quiet,
    app,
    going_on,
    put,
)
from .console import say
from .paths import RecipePath, TicketPath

if TYPE_CHECKING:
    from ..runs.run import Watch
    from ..store.record import TransferRecord
    from ..tasks import CourseTask


@app.command()
def transfer(
    ticket: TicketPath,
    recipe: RecipePath,
    changes: Changes = None,
    cell: CellName = None,
    output: Annotated[
        Path | None,
        typer.Option(
            "-o",
            "--output",
            metavar="TICKET",
            help="Also write the fitted ticket to this file.",
        ),
    ] = None,
    names: Annotated[
        Path | None,
        typer.Option(
            "--map",
            metavar="FILE",
            help="TOML: names of the model = names of the ticket, {} for any number.",
        ),
    ] = None,
    heads: Annotated[
        int | None,
        typer.Option(
            "--heads",
            min=1,
            help="Attention heads a layer, where a fused matrix needs them.",
        ),
    ] = None,
    out: Out = RUNS,
    force: Force = False,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Fit TICKET to the model and task of RECIPE, fine-tune it under its mask, and read the test split once.

    RECIPE's method and sparsity do not matter. The record goes to DIR/transfers; what is there is not done again.
    """
    from ..core.ticket import Ticket
    from ..recipes.recipe import Recipe
    from ..runs.run import build
    from ..runs.sizes import Sizes
    from ..runs.transfer import fit
    from ..runs.transfer import transfer as carry_out
    from ..store.store import Store
    from .live import live

    loaded = Ticket.load(ticket)
    wanted = Recipe.read(
        recipe, [f"sparsity={loaded.sparsity}", *(changes or ())], cell=cell
    )
    pairs = _read(names) if names else None
    task = None
    if output:
        task = build(wanted)
        put(fit(loaded, task, pairs, heads).ticket, output, force=force)
    with going_on(), live(console.err(), quiet=quiet or as_json) as begin:

        def begun(target: CourseTask) -> Watch:
            full = Sizes.of(target).full
            return begin(
                f"{ticket.name} on {target.name}",
                round(wanted.budget * full.passes),
                full.passes,
            )

        load = (lambda _: task) if task else None
        record = carry_out(
            loaded, wanted, Store(out), names=pairs, heads=heads, begin=begun, load=load
        )
    if as_json:
        typer.echo(json.dumps(record.facts(), indent=2))
    else:
        _show(record, out)


def _read(path: Path) -> Mapping[str, str]:
    """Names in pairs from a file. Raises RecipeError when it holds anything else."""
    from ..core.errors import RecipeError
    from ..recipes import toml

    pairs = toml.read(path)
    for name, value in pairs.items():
        if not isinstance(value, str):
            raise RecipeError(
                f"{path}: {name!r} is {value!r}; expected a name, both of them in quotes"
            )
    return pairs


def _show(record: TransferRecord, out: Path) -> None:
    from . import show

    heads = ["outcome", "name", "of the ticket", "kept", "why"]
    console.out().print(console.table(heads, record.fit.rows))
    came = record.source.task or record.source.base.name
    weights = (
        ""
        if record.fit.same_base
        else ", not known to be at the weights it was drawn from"
    )
    say(
        f"from {came} to {record.recipe.task.name}, sparsity {record.ticket.sparsity:.4%}{weights}"
    )
    figures = show.figures(record.test)
    cost = f"cost {record.cost.multiple_of_T:.2f} T, drawing the ticket left out"
    say(f"test {figures}   validation {record.validation:.4f}   {cost}")
    from ..store.store import Store

    say(f"Record: {Store(out).transfer(record.key)}")
