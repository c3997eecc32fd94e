"""Run: commands that draw, fine-tune and evaluate: a recipe, or the demo. Slow imports wait until they are needed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..core.errors import RankError
from ..core.ranks.launch import launched
from . import console
from .app import (
    RUNS,
    Address,
    CellName,
    Changes,
    Device,
    EngineName,
    Json,
    LmEval,
    Out,
    Quiet,
    Track,
    Workers,
    app,
    check_model,
    check_models,
    expected_passes,
    is_first_rank,
    resumable,
    with_run_options,
)
from .console import say
from .paths import RecipePath

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ..core.budget import Pulse
    from ..recipes.recipe import Recipe
    from ..runs.demo import Row
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
        # two demos in one folder would be compared with each other
        default = RUNS / "demo"
        folder = RUNS / "demo-language" if out == default else out
        _demo_language(folder, quiet=quiet, as_json=as_json)
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
    with resumable(), live(progress, quiet=quiet or as_json) as begin:

        def watched(title: str, recipe: Recipe, task: CourseTask) -> Watch:
            return begin(title, *expected_passes(recipe, task))

        rows = list(rows_of(sparsity, store, watched))

    if as_json:
        _print_json(rows)
        return

    console.out().print(show.demo(rows))
    say(
        "T is one full fine-tune; look-aheads, validation and fine-tuning are all counted. This is a single run: "
        "differences under about 2 points are within noise. Files, for each line:"
    )
    for row in rows:
        say(f"  {row.title:<22}{store.cell(row.recipe).folder}")
    recipes = [row.recipe for row in rows]
    drawn = next(recipe for recipe in recipes if recipe.method["name"] == "instant-soup")
    soup = store.cell(drawn)
    say(f"The ticket: {soup.ticket}")

    say("")
    say("What to do next:")
    say(f"  instant-soup ticket info {soup.ticket}")
    say(
        f"  instant-soup export {soup.ticket} --to csr -o demo.csr.safetensors --model packaged --weights {soup.model}"
    )
    say(
        "  instant-soup new --kind text (or images, language): a recipe for your own data; see docs/quick-start.md"
    )


def _print_json(rows: Sequence[Row]) -> None:
    """Print the records of a demo for machines."""
    facts = [{"title": row.title, **row.record.facts()} for row in rows]
    typer.echo(json.dumps(facts, indent=2))


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
    with resumable(), live(progress, quiet=quiet or as_json) as begin:

        def watched(title: str, recipe: Recipe, task: CourseTask) -> Watch:
            return begin(title, *expected_passes(recipe, task))

        rows = list(demo_language(store, watched))

    if as_json:
        _print_json(rows)
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
    lm_eval: LmEval = None,
    engine: EngineName = None,
    workers: Workers = None,
    address: Address = None,
    device: Device = None,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Draw, fine-tune and evaluate what RECIPE asks for. A run that was killed goes on."""
    check_model(recipe, changes)
    from ..recipes.recipe import Recipe

    wanted = Recipe.read(
        recipe, with_run_options(changes, engine, workers, address, device), cell=cell
    )
    check_models([wanted])

    from ..runs.benchmarks import Benchmarks
    from ..runs.run import run as carry_out
    from ..runs.trackers import tracked
    from ..store.store import Store
    from . import show
    from .advice import warnings_of
    from .live import live

    if lm_eval is not None and launched():
        raise RankError(
            "--lm-eval is done by one process; leave it out, and give it to the same command alone once the run is "
            "done: its figures are added to the record"
        )
    # before hours of work, not after
    benchmarks = None if lm_eval is None else Benchmarks.asked_for(lm_eval, wanted)
    store = Store(out)
    folder = store.cell(wanted).folder
    # one rank shows and logs; all of them would do it once each
    is_silent = quiet or as_json or not is_first_rank()
    names = (track or ()) if is_first_rank() else ()
    was_done = True
    with resumable(), tracked(names, wanted, folder) as trackers:
        with live(console.err(), quiet=is_silent) as begin:
            # called only where there is something to do: a run that is done is read back
            def begun(task: CourseTask) -> Watch:
                nonlocal was_done
                was_done = False
                update = begin(wanted.label, *expected_passes(wanted, task))

                def watch(stage: str, pulse: Pulse) -> None:
                    update(stage, pulse)
                    trackers.watch(stage, pulse)

                return watch

            record = carry_out(wanted, store, begun)

        if benchmarks is not None and benchmarks.missing_in(record).names:
            # the harness shows how far it is by bars of its own
            record = benchmarks.add_to_record(wanted, store)
            was_done = False
        trackers.finish(record)

    if as_json:
        typer.echo(json.dumps(record.facts(), indent=2))
        return

    console.out().print(show.record(record))
    if was_done:
        say("Read back: this run was done before, and nothing was done again.")
    cost = record.cost
    for sentence in warnings_of(wanted, cost.full_fine_tune.steps, cost.total.steps):
        say(f"Note: {sentence}")
    say(f"Files: {folder}")
