"""The command line: what a person types. Slow imports wait until they are needed."""

from __future__ import annotations

import contextlib
import json
import os
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from ..engine.memory import keep_freed_memory
from . import checkpoint, compare, export, hub, look, report, sweep, ticket, transfer
from .app import (
    RUNS,
    Address,
    CellName,
    Changes,
    EngineName,
    Json,
    Out,
    Quiet,
    RecipePath,
    Track,
    Workers,
    app,
    expected,
    first_rank,
    placed,
    say,
)

if TYPE_CHECKING:
    from ..core.budget import Pulse
    from ..runs.run import Watch
    from ..tasks import CourseTask

TicketPath = Annotated[Path, typer.Argument(metavar="TICKET", help="A ticket file.")]
TicketOut = Annotated[Path, typer.Option("-o", "--output", metavar="TICKET", help="The ticket file to write.")]

__all__ = ["app", "checkpoint", "compare", "export", "hub", "look", "main", "report", "sweep", "ticket", "transfer"]


def main() -> None:
    """Run the command line."""
    keep_freed_memory()
    with contextlib.ExitStack() as quiet:
        if not first_rank():
            quiet.enter_context(contextlib.redirect_stdout(quiet.enter_context(Path(os.devnull).open("w"))))
        app()


@app.command()
def demo(
    out: Out = RUNS / "demo",
    sparsity: Annotated[float, typer.Option(help="Share of the prunable weights that goes.")] = 0.9,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Draw a ticket from the packaged BERT and compare it with its rivals. Needs no network."""
    from ..engine.threads import use_spare_threads
    from ..runs.demo import TASK
    from ..runs.demo import demo as rows_of
    from ..store.store import Store
    from . import show
    from .live import live

    progress = Console(stderr=True, quiet=quiet or as_json)
    threads = use_spare_threads()
    progress.print(f"Task {TASK}: is a word or phrase good or bad? Real model, real labels, two cores are enough.")
    progress.print(f"Three trainings with as many steps each; threads: {threads}; about three minutes in all.\n")
    store, rows = Store(out), []
    with live(progress, quiet=quiet or as_json) as begin:
        for row in rows_of(sparsity, store, lambda title, wanted, task: begin(title, *expected(wanted, task))):
            rows.append(row)
    if as_json:
        typer.echo(json.dumps([{"title": row.title, **row.record.facts()} for row in rows], indent=2))
        return
    shown = Console()
    shown.print(show.demo(rows))
    shown.print(
        "T is one full fine-tune; look-aheads, validation and fine-tuning are all counted. This is a single run: "
        "differences under about 2 points are within noise. Files, for each line:"
    )
    for row in rows:
        say(f"  {row.title:<22}{store.cell(row.recipe).folder}")
    soup = store.cell(next(row.recipe for row in rows if row.recipe.method["name"] == "instant-soup"))
    say(f"The ticket: {soup.ticket}")
    say("\nWhat to do next:")
    say(f"  instant-soup ticket info {soup.ticket}")
    say(f"  instant-soup export {soup.ticket} --to csr -o demo.csr.safetensors --model packaged --weights {soup.model}")
    say("  your own text or images: docs/quick-start.md; other methods: instant-soup methods")


@app.command()
def run(
    recipe: RecipePath,
    changes: Changes = None,
    cell: CellName = None,
    out: Out = RUNS,
    track: Track = None,
    engine: EngineName = None,
    workers: Workers = None,
    address: Address = None,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Draw, fine-tune and evaluate what RECIPE asks for. A run that was killed goes on."""
    from ..recipes.recipe import Recipe
    from ..runs.run import run as carry_out
    from ..runs.trackers import tracked
    from ..store.store import Store
    from . import show
    from .live import live

    wanted, store = Recipe.read(recipe, placed(changes, engine, workers, address), cell=cell), Store(out)
    with (
        live(Console(stderr=True), quiet=quiet or as_json or not first_rank()) as begin,
        tracked((track or ()) if first_rank() else (), wanted, store.cell(wanted).folder) as trackers,
    ):

        def begun(task: CourseTask) -> Watch:
            shown = begin(wanted.label, *expected(wanted, task))

            def watch(stage: str, pulse: Pulse) -> None:
                shown(stage, pulse)
                trackers.watch(stage, pulse)

            return watch

        record = carry_out(wanted, store, begun)
        trackers.finish(record)
    if as_json:
        typer.echo(json.dumps(record.facts(), indent=2))
        return
    Console().print(show.record(record))
    say(f"Files: {store.cell(wanted).folder}")


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
    task = build(wanted)
    with live(Console(stderr=True), quiet=quiet or as_json or not first_rank()) as begin:
        drawn = carry_out(wanted, task, Store(out), begin(wanted.label, *expected(wanted, task)))
    if (whole := drawn.whole()) and first_rank():
        whole.save(ticket)
    if as_json:
        found = {"digest": drawn.digest, "kept": drawn.mask.kept, "sparsity": drawn.sparsity, "ready": drawn.ready}
        typer.echo(json.dumps({"ticket": str(ticket), **found, "cost": asdict(drawn.cost)}, indent=2))
        return
    say(f"{ticket}: {drawn.mask}, {'trained' if drawn.ready else 'to be fine-tuned'}")


@app.command()
def evaluate(
    ticket: TicketPath,
    recipe: RecipePath,
    changes: Changes = None,
    cell: CellName = None,
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
    wanted = Recipe.read(recipe, [f"sparsity={loaded.sparsity}", *(changes or ())], cell=cell)
    task = build(wanted)
    full = Sizes.of(task).full
    with live(Console(stderr=True), quiet=quiet or as_json or not first_rank()) as begin:
        watch = begin(f"{ticket.name}", round(wanted.budget * full.passes), full.passes)
        result = judge(loaded, task, budget=wanted.budget, meter=Meter(watch=lambda pulse: watch("fine-tune", pulse)))
    if as_json:
        found = {"test": result.test, "validation": result.validation, "cost_in_T": result.cost.ratio(full)}
        typer.echo(json.dumps({"ticket": loaded.digest, "sparsity": loaded.sparsity, **found}, indent=2))
        return
    Console().print(
        f"test {show.figures(result.test)}   validation {result.validation:.4f}   cost {result.cost.ratio(full):.2f} T"
    )


@app.command()
def control(
    ticket: TicketPath,
    recipe: RecipePath,
    output: TicketOut,
    kind: Annotated[str, typer.Option("--kind", help="'layers' or 'shuffled'.")] = "layers",
    changes: Changes = None,
    cell: CellName = None,
) -> None:
    """Write a control of TICKET: as many weights of each layer at random, or its own survivors shuffled.

    A ticket that does no better than its control owes its merit to how much it keeps where, not to which weights.
    RECIPE says which model the ticket belongs to.
    """
    from ..core.ticket import Ticket
    from ..methods import control as make
    from ..recipes.recipe import Recipe
    from ..runs.run import build

    made = make(Ticket.load(ticket), build(Recipe.read(recipe, changes or (), cell=cell)), kind)
    made.save(output)
    say(f"{output}: {made.mask}, to be fine-tuned")
