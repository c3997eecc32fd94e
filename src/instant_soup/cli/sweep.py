"""Sweep, status, doctor: commands for many runs in one folder. Slow imports wait until they are needed."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from . import console
from .app import (
    RUNS,
    Address,
    Changes,
    Device,
    EngineName,
    Json,
    Most,
    Out,
    Quiet,
    Workers,
    app,
    check_model,
    check_models,
    resumable,
    with_run_options,
)
from .console import say
from .paths import RecipePath, RunsPath

if TYPE_CHECKING:
    from collections.abc import Callable

    from ..recipes.settings import RunSettings
    from ..store.doctor import Health
    from ..sweeps.status import Standing
    from ..sweeps.sweep import Sweep

Cells = Annotated[
    list[str] | None,
    typer.Option(
        "--cell", metavar="NAME", help="Only this cell; give the option again for more."
    ),
]
Methods = Annotated[
    list[str] | None,
    typer.Option(
        "--method",
        metavar="NAME",
        help="This method in place of RECIPE's own; give it again for more.",
    ),
]
UNDONE = 3  # exit code of a sweep in which a run failed
_FRAME = 8  # lines of a table that are no runs: title, head, frame and caption


@app.command()
def sweep(
    recipe: RecipePath,
    changes: Changes = None,
    cells: Cells = None,
    methods: Methods = None,
    out: Out = RUNS,
    engine: EngineName = None,
    workers: Workers = None,
    address: Address = None,
    device: Device = None,
    resume: Annotated[
        bool,
        typer.Option(
            "--resume",
            help="Only go on with a sweep that was begun in DIR; refuse to begin another.",
        ),
    ] = False,
    most: Most = None,
    slim: Annotated[
        bool,
        typer.Option(
            "--slim",
            help="Keep tickets and records, remove fine-tuned weights when a run is done.",
        ),
    ] = False,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Run everything that RECIPE asks for, with its lists and cells; what is done in DIR is not done again.

    Stopped or killed in any way, the same command goes on. The same sweep may be started several
    times on one folder: the work is shared. Ends with code 3 if a run failed; the others are done.
    """
    check_model(recipe, changes)
    from ..recipes.grid import expand

    expanded = expand(
        recipe,
        with_run_options(changes, engine, workers, address, device),
        cells or (),
        methods or (),
        most=most,
    )
    check_models(each.recipe for each in expanded)

    # torch and the models, which take seconds, only once the recipes are known to be good
    from ..store.store import Store
    from ..sweeps.sweep import Sweep
    from ..training.device import check_device

    for named in {each.recipe.training.device for each in expanded}:
        check_device(named)

    runs = Sweep(expanded, Store(out), source=str(recipe), slim=slim)
    if resume:
        runs.must_have_begun()
    # where the work is done is the same for all cells of a file
    settings = expanded[0].recipe.run
    standing = _carry_out(runs, settings, console.err(quiet=quiet or as_json))

    if as_json:
        rows = [asdict(row) for row in standing.rows]
        typer.echo(json.dumps({"counts": standing.counts, "runs": rows}, indent=2))
    else:
        _print_outcome(standing, out)
    if standing.having("failed"):
        raise typer.Exit(UNDONE)


def _carry_out(runs: Sweep, settings: RunSettings, err: Console) -> Standing:
    """Carry *runs* out, and show how they stand meanwhile."""
    from ..sweeps.status import Board

    board = Board([runs])
    with resumable(), _shown(err) as show:
        show(board.look())
        for _ in _work(runs, settings):
            show(board.look())
    return board.look()


def _work(runs: Sweep, settings: RunSettings) -> Iterator[None]:
    """Carry *runs* out, by processes of this machine or on a cluster; yields now and then, so that one can look."""
    if settings.engine == "ray":
        # a sentence on the missing extra, in place of an ImportError out of the next import
        from ..engine import must_have_ray

        must_have_ray()
        from ..sweeps.ray import on_ray

        return on_ray(runs, settings.workers, settings.address)

    from ..sweeps.processes import by_processes

    return by_processes(runs, settings.workers or 1)


@contextmanager
def _shown(err: Console) -> Iterator[Callable[[Standing], None]]:
    """Yield what shows how a sweep stands: a live table on a terminal, elsewhere a line for each run that is done."""
    from rich.live import Live

    from . import board

    if err.quiet:
        yield lambda _: None
    elif not err.is_terminal:
        yield board.Log(err)
    else:
        # a live table that is higher than the terminal leaves copies of itself behind
        most = err.height - _FRAME
        with Live(console=err, auto_refresh=False, transient=True) as live:

            def show(standing: Standing) -> None:
                live.update(board.table(standing, most=most), refresh=True)

            yield show


def _print_outcome(standing: Standing, out: Path) -> None:
    """Print how a sweep ended, and what to do next."""
    counts = standing.counts
    say(f"{counts['done']} of {len(standing.rows)} runs are done, in {out}")
    for row in standing.having("failed"):
        say(f"failed: {row.name}: {row.note}")
    if standing.having("failed"):
        say("The same command tries what failed again.")
    say(f"Next: instant-soup compare {out}")


@app.command()
def status(folder: RunsPath = RUNS, as_json: Json = False) -> None:
    """Show how far the sweeps in DIR are: what is done, what runs where, what failed and why, the time left."""
    from ..store.store import Store
    from ..sweeps.status import Board, sweeps
    from . import board

    standing = Board(sweeps(Store(folder))).look()
    if as_json:
        facts = {
            "counts": standing.counts,
            "left": standing.left,
            "runs": [asdict(row) for row in standing.rows],
        }
        typer.echo(json.dumps(facts, indent=2))
    else:
        console.out().print(board.table(standing))


@app.command()
def doctor(
    folder: RunsPath = RUNS,
    check: Annotated[
        bool, typer.Option("--check", help="Only say what is wrong; move nothing.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Read everything in DIR, check it against its checksums, and put what is damaged into DIR/quarantine.

    Nothing is deleted. What was put aside is made again by the sweep or run that made it. Ends with
    code 2 if anything was wrong.
    """
    from ..store.doctor import examine
    from ..store.store import Store

    health = examine(Store(folder), mend=not check)
    if as_json:
        # paths become text
        typer.echo(json.dumps(asdict(health), indent=2, default=str))
    else:
        _print_health(health)
    if health.findings:
        raise typer.Exit(2)


def _print_health(health: Health) -> None:
    """Print what is damaged in a folder of runs, and how much there is in it."""
    for finding in health.findings:
        moved = f"; now {finding.aside}" if finding.aside else ""
        say(f"{finding.path}: {finding.what}{moved}")

    transfers = f", {health.transfers} transfers" if health.transfers else ""
    busy = f", {health.busy} at work and not looked at" if health.busy else ""
    say(
        f"{health.cells} runs, {health.finished} of them finished, {health.shelved} shared trainings{transfers}{busy}."
    )
    if health.findings:
        say(f"{len(health.findings)} damaged.")
    else:
        say("All is whole.")
