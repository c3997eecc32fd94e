"""Transfer: the command that judges a ticket of one task on another. Slow imports wait until they are needed."""

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
    Device,
    Force,
    Json,
    Out,
    Quiet,
    app,
    resumable,
    save_ticket,
    with_device,
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
    device: Device = None,
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
        recipe, [f"sparsity={loaded.sparsity}", *with_device(changes, device)], cell=cell
    )
    name_map = _read_name_map(names) if names else None

    # a file that cannot be written is told before hours of work, so the ticket is fitted here, too
    task = None
    if output:
        task = build(wanted)
        save_ticket(fit(loaded, task, name_map, heads).ticket, output, force=force)

    with resumable(), live(console.err(), quiet=quiet or as_json) as begin:

        def begun(target: CourseTask) -> Watch:
            full = Sizes.of(target).full
            return begin(
                f"{ticket.name} on {target.name}",
                round(wanted.budget * full.passes),
                full.passes,
            )

        record = carry_out(
            loaded,
            wanted,
            Store(out),
            names=name_map,
            heads=heads,
            begin=begun,
            # a task that is loaded already is not loaded once more
            load=(lambda _: task) if task else None,
        )

    if as_json:
        typer.echo(json.dumps(record.facts(), indent=2))
    else:
        _print_transfer(record, out)


def _read_name_map(path: Path) -> Mapping[str, str]:
    """The names in the model and those in the ticket, from a file. Raises RecipeError where it holds anything else."""
    from ..core.errors import RecipeError
    from ..recipes import toml

    name_map = toml.read(path)
    for name, value in name_map.items():
        if not isinstance(value, str):
            raise RecipeError(
                f"{path}: {name!r} is {value!r}; expected a name, both of them in quotes"
            )
    return name_map


def _print_transfer(record: TransferRecord, out: Path) -> None:
    """Print what became of each tensor, and what the ticket reaches on its new task."""
    from ..store.store import Store
    from . import show

    heads = ["outcome", "name", "of the ticket", "kept", "why"]
    console.out().print(console.table(heads, record.fit.rows))

    source = record.source.task or record.source.base.name
    remark = ""
    if not record.fit.same_base:
        remark = ", not known to be at the weights it was drawn from"
    say(
        f"from {source} to {record.recipe.task.name}, sparsity {record.ticket.sparsity:.4%}{remark}"
    )

    figures = show.figures(record.test)
    cost = f"cost {record.cost.multiple_of_T:.2f} T, drawing the ticket left out"
    say(f"test {figures}   validation {record.validation:.4f}   {cost}")
    say(f"Record: {Store(out).transfer(record.key)}")
