"""Run: draw, fine-tune and evaluate what a recipe asks for; and the demo. Slow imports wait until they are needed."""

from __future__ import annotations

import json
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
    Json,
    Out,
    Quiet,
    Track,
    Workers,
    app,
    check_models,
    expected,
    first_rank,
    going_on,
    placed,
)
from .console import say
from .paths import RecipePath

if TYPE_CHECKING:
    from ..core.budget import Pulse
    from ..runs.run import Watch
    from ..tasks import CourseTask


@app.command()
def demo(
    out: Out = RUNS / "demo",
    sparsity: Annotated[
        float, typer.Option(help="Share of the prunable weights that goes.")
    ] = 0.9,
    language: Annotated[
        bool,
        typer.Option(
            "--language", help="Prune the packaged language model to 2:4 instead."
        ),
    ] = False,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Draw a ticket from the packaged BERT and compare it with its rivals. Needs no network."""
    if language:
        _demo_language(
            RUNS / "demo-language" if out == RUNS / "demo" else out,
            quiet=quiet,
            as_json=as_json,
        )
        return

    from ..engine.threads import use_spare_threads
    from ..runs.demo import TASK
    from ..runs.demo import demo as rows_of
    from ..store.store import Store
    from . import show
    from .live import live

    progress = console.err(quiet=quiet or as_json)
    threads = use_spare_threads()
    progress.print(
        f"Task {TASK}: is a word or phrase good or bad? Real model, real labels, two cores are enough."
    )
    progress.print(
        f"Three trainings with as many steps each; threads: {threads}; about three minutes in all.\n"
    )
    store = Store(out)
    rows = []
    with going_on(), live(progress, quiet=quiet or as_json) as begin:
        for row in rows_of(
            sparsity,
            store,
            lambda title, wanted, task: begin(title, *expected(wanted, task)),
        ):
            rows.append(row)
    if as_json:
        typer.echo(
            json.dumps(
                [{"title": row.title, **row.record.facts()} for row in rows], indent=2
            )
        )
        return

    console.out().print(show.demo(rows))
    say(
        "T is one full fine-tune; look-aheads, validation and fine-tuning are all counted. This is a single run: "
        "differences under about 2 points are within noise. Files, for each line:"
    )
    for row in rows:
        say(f"  {row.title:<22}{store.cell(row.recipe).folder}")
    soup = store.cell(
        next(row.recipe for row in rows if row.recipe.method["name"] == "instant-soup")
    )
    say(f"The ticket: {soup.ticket}")

    say("")
    say("What to do next:")
    say(f"  instant-soup ticket info {soup.ticket}")
    say(
        f"  instant-soup export {soup.ticket} --to csr -o demo.csr.safetensors --model packaged --weights {soup.model}"
    )
    say(
        "  instant-soup new: a recipe for your own text or images; docs/quick-start.md goes through it"
    )


def _demo_language(out: Path, *, quiet: bool, as_json: bool) -> None:
    from ..runs.demo_language import demo_language
    from ..store.store import Store
    from . import show
    from .live import live

    progress = console.err(quiet=quiet or as_json)
    progress.print(
        "The packaged SmolLM2-135M, two of every four weights pruned; about three minutes on two cores.\n"
    )
    store = Store(out)
    rows = []
    with going_on(), live(progress, quiet=quiet or as_json) as begin:
        for row in demo_language(
            store, lambda title, wanted, task: begin(title, *expected(wanted, task))
        ):
            rows.append(row)
    if as_json:
        typer.echo(
            json.dumps(
                [{"title": row.title, **row.record.facts()} for row in rows], indent=2
            )
        )
        return

    console.out().print(show.demo_language(rows))
    say(
        "Perplexity of text that the model was not calibrated on; lower is better. Nothing was trained."
    )
    say(f"The ticket: {store.cell(rows[-1].recipe).ticket}")


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

    wanted = Recipe.read(recipe, placed(changes, engine, workers, address), cell=cell)
    check_models([wanted])

    from ..runs.run import run as carry_out
    from ..runs.trackers import tracked
    from ..store.store import Store
    from . import show
    from .advice import pointless
    from .live import live

    store = Store(out)
    begun_now = False
    with (
        going_on(),
        live(console.err(), quiet=quiet or as_json or not first_rank()) as begin,
        tracked(
            (track or ()) if first_rank() else (), wanted, store.cell(wanted).folder
        ) as trackers,
    ):

        def begun(task: CourseTask) -> Watch:
            nonlocal begun_now
            begun_now = True
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

    console.out().print(show.record(record))
    if not begun_now:
        say("Read back: this run was done before, and nothing was done again.")
    for sentence in pointless(wanted, record.cost.full_fine_tune.steps):
        say(f"Note: {sentence}")
    say(f"Files: {store.cell(wanted).folder}")
