"""The command line. What it takes long to import is imported when it is needed."""

from __future__ import annotations

import json
import os
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console

from ..core.errors import SoupError
from .memory import keep_freed_memory

if TYPE_CHECKING:
    from ..lab.recipe import Recipe
    from ..tasks import CourseTask

RecipePath = Annotated[Path, typer.Argument(metavar="RECIPE", help="A recipe in TOML.")]
Changes = Annotated[
    list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Change a field, as in method.denoisers=8.")
]
Out = Annotated[Path, typer.Option("--out", metavar="DIR", help="Where runs are kept; what is there is not run again.")]
Quiet = Annotated[bool, typer.Option("--quiet", help="Show no progress.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON for machines.")]
RUNS = Path("runs")


class Guarded(typer.core.TyperGroup):
    """Turns what goes wrong into one line and an exit code: 2 for bad input, 1 for a fault of ours."""

    def invoke(self, ctx: Any) -> Any:
        """Run the command."""
        try:
            return super().invoke(ctx)
        except SoupError as error:
            _complain(str(error))
            raise typer.Exit(2) from None
        except (typer.Exit, typer.Abort, KeyboardInterrupt):
            raise
        except Exception as error:
            if type(error).__module__.startswith(("click", "typer")) or os.environ.get("INSTANT_SOUP_TRACEBACK"):
                raise
            _complain(f"{type(error).__name__}: {error}. This is a fault of ours; INSTANT_SOUP_TRACEBACK=1 shows where")
            raise typer.Exit(1) from None


app = typer.Typer(
    cls=Guarded,
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="Draw lottery tickets from large pre-trained transformers.",
)


def main() -> None:
    """Run the command line."""
    keep_freed_memory()
    app()


@app.command()
def demo(
    out: Out = RUNS / "demo",
    sparsity: Annotated[float, typer.Option(help="Share of the prunable weights that goes.")] = 0.9,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Draw a ticket from the packaged BERT and compare it with its rivals. Needs no network."""
    from ..lab.demo import TASK
    from ..lab.demo import demo as rows_of
    from ..lab.store import Store
    from . import show
    from .live import live

    say = _console(quiet or as_json)
    say.print(f"Task {TASK}: is a word or phrase good or bad? Real model, real labels, two cores are enough.\n")
    store, rows = Store(out), []
    with live(Console(stderr=True), quiet=quiet or as_json) as begin:
        for row in rows_of(sparsity, store, lambda title, wanted, task: begin(title, *_expected(wanted, task))):
            rows.append(row)
    if as_json:
        typer.echo(json.dumps([{"title": row.title, **row.record} for row in rows], indent=2))
        return
    shown = Console()
    shown.print(show.demo(rows))
    shown.print(
        "T is one full fine-tune; look-aheads, validation and fine-tuning are all counted. Single run: differences"
    )
    shown.print("under about 2 points are within noise. Files, for each line:")
    for row in rows:
        shown.print(f"  {row.title:<22}{store.cell(row.recipe).folder}", soft_wrap=True, highlight=False)
    soup = store.cell(next(row.recipe for row in rows if row.recipe.method["name"] == "instant-soup"))
    shown.print(f"The ticket: {soup.ticket}", soft_wrap=True, highlight=False)


@app.command()
def run(
    recipe: RecipePath,
    changes: Changes = None,
    out: Out = RUNS,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Draw, fine-tune and evaluate what RECIPE asks for. A run that was killed goes on."""
    from ..lab.recipe import Recipe
    from ..lab.run import run as carry_out
    from ..lab.store import Store
    from . import show
    from .live import live

    wanted, store = Recipe.read(recipe, changes or ()), Store(out)
    with live(Console(stderr=True), quiet=quiet or as_json) as begin:
        record = carry_out(wanted, store, lambda task: begin(wanted.label, *_expected(wanted, task)))
    if as_json:
        typer.echo(json.dumps(record, indent=2))
        return
    Console().print(show.record(record))
    Console().print(f"Files: {store.cell(wanted).folder}", soft_wrap=True, highlight=False)


@app.command()
def draw(
    recipe: RecipePath,
    ticket: Annotated[Path, typer.Option("-o", "--output", metavar="TICKET", help="The ticket file to write.")],
    changes: Changes = None,
    out: Out = RUNS,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Draw a ticket and write it to a file, without fine-tuning it."""
    from ..lab.recipe import Recipe
    from ..lab.run import build
    from ..lab.run import draw as carry_out
    from ..lab.store import Store
    from .live import live

    wanted = Recipe.read(recipe, changes or ())
    task = build(wanted)
    with live(Console(stderr=True), quiet=quiet or as_json) as begin:
        drawn = carry_out(wanted, task, Store(out).cell(wanted), begin(wanted.label, *_expected(wanted, task)))
    drawn.save(ticket)
    if as_json:
        found = {"digest": drawn.digest, "kept": drawn.mask.kept, "sparsity": drawn.sparsity, "ready": drawn.ready}
        typer.echo(json.dumps({"ticket": str(ticket), **found, "cost": asdict(drawn.cost)}, indent=2))
        return
    state = "trained" if drawn.ready else "to be fine-tuned"
    Console().print(f"{ticket}: {drawn.mask}, {state}", soft_wrap=True, highlight=False)


@app.command()
def evaluate(
    ticket: Annotated[Path, typer.Argument(metavar="TICKET", help="A ticket file.")],
    recipe: RecipePath,
    changes: Changes = None,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Fine-tune TICKET as RECIPE says, whose method and sparsity do not matter, and read the test split once."""
    from ..core.budget import Meter
    from ..core.ticket import Ticket
    from ..lab.recipe import Recipe
    from ..lab.run import build, full_cost
    from ..lab.run import evaluate as judge
    from . import show
    from .live import live

    loaded, wanted = Ticket.load(ticket), Recipe.read(recipe, changes or ())
    task = build(wanted)
    full = full_cost(task)
    with live(Console(stderr=True), quiet=quiet or as_json) as begin:
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
def plan(recipe: RecipePath, changes: Changes = None, as_json: Json = False) -> None:
    """Say what RECIPE will cost before it is paid: steps by purpose, FLOPs, memory, time on this machine."""
    from ..lab.plan import plan as make
    from ..lab.recipe import Recipe
    from ..lab.run import build
    from . import show

    wanted = Recipe.read(recipe, changes or ())
    found = make(wanted, build(wanted))
    if as_json:
        typer.echo(json.dumps({**asdict(found), "ratio": found.ratio}, indent=2))
    else:
        Console().print(f"{wanted.label}, key {wanted.key[:16]}", highlight=False)
        Console().print(show.plan(found))


@app.command()
def methods(as_json: Json = False) -> None:
    """List the ways to draw a ticket, with their knobs."""
    from ..methods import METHODS, REFERENCES
    from . import show

    table = {**METHODS, **REFERENCES}
    if as_json:
        typer.echo(json.dumps({name: {"summary": v.summary, "knobs": v.knobs} for name, v in table.items()}, indent=2))
    else:
        Console().print(show.methods(table))


@app.command()
def tasks(as_json: Json = False) -> None:
    """List the tasks by name; any labelled text is a task too."""
    from ..tasks import TASKS
    from . import show

    if as_json:
        typer.echo(json.dumps({name: asdict(spec) for name, spec in TASKS.items()}, indent=2))
    else:
        Console().print(show.tasks(TASKS))


def _expected(recipe: Recipe, task: CourseTask) -> tuple[int, int]:
    """Passes that a run will take, and passes of T."""
    from ..lab.plan import rehearse
    from ..lab.run import full_cost

    draw, train = rehearse(recipe, task)
    return draw.spent.passes + train.spent.passes, full_cost(task).passes


def _console(quiet: bool) -> Console:
    return Console(stderr=True, quiet=quiet)


def _complain(text: str) -> None:
    Console(stderr=True).print(
        f"error: {' '.join(text.split())}", style="red", markup=False, highlight=False, soft_wrap=True
    )
