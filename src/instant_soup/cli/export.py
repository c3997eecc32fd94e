"""Export: a ticket in its model, for others to use. Slow imports wait until they are needed."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table

from . import console
from .app import CellName, Changes, Json, UsageError, app
from .console import add, say, table
from .paths import TicketPath

if TYPE_CHECKING:
    from ..export.export import Exported
    from ..export.measure import Measured
    from ..export.pick import Picked
    from ..export.portable import Portable
    from ..export.sizes import Sizes
    from ..recipes.recipe import Recipe


@app.command()
def export(
    ticket: TicketPath,
    to: Annotated[
        str,
        typer.Option(
            "--to", metavar="FORMAT", help="hf, bitmask, onnx, csr or openvino."
        ),
    ],
    output: Annotated[
        Path,
        typer.Option(
            "-o", "--output", metavar="OUT", help="The file, or for hf the folder."
        ),
    ],
    model: Annotated[
        str | None,
        typer.Option(
            "--model",
            metavar="NAME",
            help="'packaged', a folder or a hub id of a classifier.",
        ),
    ] = None,
    recipe: Annotated[
        Path | None,
        typer.Option(
            "--recipe", metavar="RECIPE", help="Instead of --model; a CLIP needs it."
        ),
    ] = None,
    changes: Changes = None,
    cell: CellName = None,
    weights: Annotated[
        Path | None,
        typer.Option(
            "--weights",
            metavar="FILE",
            help="Fine-tuned weights: model.safetensors of a run.",
        ),
    ] = None,
    measure: Annotated[
        bool, typer.Option("--measure", help="Measure size and latency on this machine.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Write TICKET in its model for others to use, and compare what was written with the model.

    Without --weights the model is where the ticket starts from, before fine-tuning.
    """
    from ..core.ticket import Ticket
    from ..export.export import check_out, export_model
    from ..export.source import portable

    wanted = _model(model, recipe, changes, cell)
    check_out(to, output)
    source = portable(Ticket.load(ticket), wanted, weights)
    done = export_model(source, to, output)
    measured = _measured(source, done) if measure else None
    if as_json:
        typer.echo(json.dumps(_facts(done, measured), indent=2))
        return
    say(
        f"{output}: {done.size:,} bytes, {_checked(done)}, {'fine-tuned' if source.trained else 'not fine-tuned yet'}"
    )
    if measured:
        _tell(measured)


def _model(
    model: str | None, recipe: Path | None, changes: list[str] | None, cell: str | None
) -> str | Recipe:
    from ..recipes.recipe import Recipe

    if model and not recipe and not changes and not cell:
        return model
    if recipe and not model:
        return Recipe.read(recipe, changes or (), cell=cell)
    raise UsageError(
        "which model? give --model NAME, or --recipe RECIPE, which --cell and --set belong to; not both"
    )


def _measured(source: Portable, done: Exported) -> Measured:
    from ..export.measure import measure

    return measure(source, done)


def _checked(done: Exported) -> str:
    said = [
        f"{name} {value:.4%}" if isinstance(value, float) else f"{name} {value}"
        for name, value in done.facts.items()
    ]
    if done.difference is not None:
        said.append(f"outputs as the model's (largest difference {done.difference:.1e})")
    return ", ".join(said) or "written"


def _facts(done: Exported, measured: Measured | None) -> dict[str, Any]:
    facts = {**asdict(done), "out": str(done.out)}
    if measured:
        facts["measured"] = {**asdict(measured), "sentences": list(measured.sentences())}
    return facts


def _tell(measured: Measured) -> None:
    console.out().print(_sizes(measured.sizes), _layers(measured.picked))
    say(
        f"Times on this machine with {measured.threads} threads, medians of calls in turn, and 95 % intervals:"
    )
    for sentence in measured.sentences():
        say(sentence)


def _sizes(found: Sizes) -> Table:
    shown = table(["size", "bytes", "of dense", "of the bound"])
    rows = {
        "dense": found.dense,
        "dense, zipped": found.zipped,
        **found.formats,
        "mask entropy + survivors": found.bound,
    }

    for name, size in rows.items():
        add(
            shown,
            name,
            f"{size:,}",
            f"{size / found.dense:.1%}",
            f"{size / found.bound:.1%}",
        )

    return shown


def _layers(picked: Sequence[Picked]) -> Table:
    kernels = list(picked[0].seconds) if picked else []
    shown = table(
        [
            "matrix",
            "layers",
            "sparsity",
            "tokens",
            *(f"{kernel}, µs" for kernel in kernels),
            "fastest",
        ]
    )

    for one in picked:
        times = (f"{1e6 * one.seconds[kernel]:.0f}" for kernel in kernels)
        shape = f"{one.shape[0]} x {one.shape[1]}"
        add(
            shown,
            shape,
            str(one.layers),
            f"{one.sparsity:.1%}",
            str(one.tokens),
            *times,
            one.fastest,
        )

    return shown
