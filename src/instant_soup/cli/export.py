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

    chosen = _chosen_model(model, recipe, changes, cell)
    # before the model is loaded
    check_out(to, output)
    source = portable(Ticket.load(ticket), chosen, weights)
    exported = export_model(source, to, output)
    measured = _measured(source, exported) if measure else None

    if as_json:
        typer.echo(json.dumps(_facts(exported, measured), indent=2))
        return
    state = "fine-tuned" if source.trained else "not fine-tuned yet"
    say(f"{output}: {exported.size:,} bytes, {_summary(exported)}, {state}")
    if measured:
        _print_measured(measured)


def _chosen_model(
    model: str | None, recipe: Path | None, changes: list[str] | None, cell: str | None
) -> str | Recipe:
    """The name of a model, or the recipe whose model it is. Raises UsageError unless exactly one is given."""
    from ..recipes.recipe import Recipe

    if model and not recipe and not changes and not cell:
        return model
    if recipe and not model:
        return Recipe.read(recipe, changes or (), cell=cell)
    raise UsageError(
        "which model? give --model NAME, or --recipe RECIPE, which --cell and --set belong to; not both"
    )


def _measured(source: Portable, exported: Exported) -> Measured:
    # the command's option is called measure, too, so the function is imported out of its sight
    from ..export.measure import measure

    return measure(source, exported)


def _summary(exported: Exported) -> str:
    """The facts of an export and how it was checked, in one line."""
    parts = []
    for name, value in exported.facts.items():
        shown = f"{value:.4%}" if isinstance(value, float) else str(value)
        parts.append(f"{name} {shown}")
    if exported.difference is not None:
        parts.append(
            f"outputs as the model's (largest difference {exported.difference:.1e})"
        )
    return ", ".join(parts) or "written"


def _facts(exported: Exported, measured: Measured | None) -> dict[str, Any]:
    """An export and its measurements as JSON writes them."""
    facts = {**asdict(exported), "out": str(exported.out)}
    if measured:
        facts["measured"] = {**asdict(measured), "sentences": list(measured.sentences())}
    return facts


def _print_measured(measured: Measured) -> None:
    console.out().print(_sizes(measured.sizes), _layers(measured.picked))
    say(
        f"Times on this machine with {measured.threads} threads, medians of calls in turn, and 95 % intervals:"
    )
    for sentence in measured.sentences():
        say(sentence)


def _sizes(sizes: Sizes) -> Table:
    """Bytes in each format, beside the dense model and the least that is possible."""
    bytes_of = {
        "dense": sizes.dense,
        "dense, zipped": sizes.zipped,
        **sizes.formats,
        "mask entropy + survivors": sizes.bound,
    }

    rows = table(["size", "bytes", "of dense", "of the bound"])
    for name, size in bytes_of.items():
        of_dense = f"{size / sizes.dense:.1%}"
        of_bound = f"{size / sizes.bound:.1%}"
        add(rows, name, f"{size:,}", of_dense, of_bound)
    return rows


def _layers(picked: Sequence[Picked]) -> Table:
    """The time of each kernel on each kind of matrix."""
    # the same kernels are tried on every matrix
    kernels = list(picked[0].seconds) if picked else []
    heads = ["matrix", "layers", "sparsity", "tokens"]
    heads += [f"{kernel}, µs" for kernel in kernels]
    rows = table([*heads, "fastest"])

    for matrix in picked:
        height, width = matrix.shape
        times = [f"{1e6 * matrix.seconds[kernel]:.0f}" for kernel in kernels]
        add(
            rows,
            f"{height} x {width}",
            str(matrix.layers),
            f"{matrix.sparsity:.1%}",
            str(matrix.tokens),
            *times,
            matrix.fastest,
        )
    return rows
