"""Checkpoint: commands over the files of models: prune one that does not fit into memory, import a ticket from one.

Slow imports wait until they are needed.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from ..core.names.layers import without_numbers
from .app import Json, Quiet, app, say

if TYPE_CHECKING:
    from ..checkpoints.prune import Pruned

Patterns = list[str] | None


@app.command()
def prune(
    checkpoint: Annotated[Path, typer.Argument(metavar="CHECKPOINT", help="A folder of safetensors, or one file.")],
    output: Annotated[Path, typer.Option("-o", "--output", metavar="OUT", help="The folder to write.")],
    sparsity: Annotated[float, typer.Option("--sparsity", help="Share of the prunable weights that goes.")],
    across: Annotated[str, typer.Option("--across", help="Cut once across the 'model', or evenly in each 'layer'.")] = (
        "model"
    ),
    include: Annotated[
        Patterns,
        typer.Option("--include", metavar="PATTERN", help="Prune matrices of such names only; again for more."),
    ] = None,
    exclude: Annotated[
        Patterns, typer.Option("--exclude", metavar="PATTERN", help="Leave such names as they are; again for more.")
    ] = None,
    ticket: Annotated[
        Path | None, typer.Option("--ticket", metavar="TICKET", help="Write a ticket file, too; reads twice more.")
    ] = None,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Zero the smallest weights of CHECKPOINT, exactly as many as asked for, however large it is.

    The model is not built, and shards are streamed: a few hundred megabytes of memory do. A killed job goes on.
    """
    from ..checkpoints.prune import prune_checkpoint, ticket_of

    with _bars(quiet=quiet or as_json) as watch:
        done = prune_checkpoint(
            checkpoint,
            output,
            sparsity,
            across=across,  # type: ignore[arg-type]  # what it may be is checked there
            include=include or (),
            exclude=exclude or (),
            watch=watch,
        )
    if ticket:
        ticket_of(checkpoint, done).save(ticket)
    if as_json:
        facts = {"kept": done.kept, "prunable": done.scope.size, "left_out": dict(done.left_out)}
        layers = {name: [cut.kept, done.scope.numel(name)] for name, cut in done.cuts.items()}
        typer.echo(json.dumps({"checkpoint": str(output), **facts, "layers": layers}, indent=2))
        return
    _tell(done)


@app.command("import")
def import_(
    source: Annotated[Path, typer.Argument(metavar="SOURCE", help="A sparse model of another tool: file or folder.")],
    output: Annotated[Path, typer.Option("-o", "--output", metavar="TICKET", help="The ticket file to write.")],
    model: Annotated[
        str, typer.Option("--model", metavar="NAME", help="What it was pruned from: 'packaged', a folder or a hub id.")
    ] = "packaged",
    trained: Annotated[
        bool, typer.Option("--trained", help="It is trained to the end for its task: judge it without fine-tuning.")
    ] = False,
    pooler: Annotated[bool, typer.Option("--pooler", help="A text model's pooler is in scope.")] = False,
    pickle: Annotated[bool, typer.Option("--pickle", help="Read a pickle, its tensors alone.")] = False,
    as_json: Json = False,
) -> None:
    """Make a ticket of SOURCE: zeros in a checkpoint, weight_orig and weight_mask, masks, or a sparse-bitmask."""
    from ..export.importing import import_ticket

    made = import_ticket(source, model, ready=trained, pooler=pooler, pickle=pickle)
    made.ticket.save(output)
    mask, start = made.ticket.mask, sorted(made.ticket.start)
    if as_json:
        facts = {"ticket": str(output), "digest": made.ticket.digest, "kept": mask.kept, "sparsity": mask.sparsity}
        more = {"kind": made.kind, "renamed": made.renamed, "starts_elsewhere": start, "remarks": dict(made.remarks)}
        typer.echo(json.dumps(facts | more, indent=2))
        return
    say(f"{source}: {made.kind}{f', names taken {made.renamed}' if made.renamed else ''}")
    for line in _alike(made.remarks):
        say(f"  {line}")
    say(f"{len(start)} tensors differ from those of the masked {model}, and are the ticket's start weights")
    state = "trained" if trained else "to be fine-tuned (--trained if it is trained for its task)"
    say(f"{output}: {mask}, {state}")


def _tell(done: Pruned) -> None:
    inside = {name: f"{' x '.join(map(str, shape))}, in scope" for name, shape in done.scope.shapes.items()}
    for line in _alike({**inside, **{name: f"left as it is: {why}" for name, why in done.left_out.items()}}):
        say(f"  {line}")
    say(
        f"{done.folder}: {done.kept:,} of {done.scope.size:,} prunable weights kept, "
        f"sparsity {1 - done.kept / done.scope.size:.4%}"
    )


def _alike(said: Mapping[str, str]) -> list[str]:
    """Lines about tensors, those of numbered layers taken as one."""
    lines = Counter((without_numbers(name, "*"), what) for name, what in said.items())
    return [f"{name}{f' ({times} times)' if times > 1 else ''}: {what}" for (name, what), times in lines.items()]


@contextmanager
def _bars(*, quiet: bool) -> Iterator[Callable[[str, int, int], None]]:
    """Yield what shows how far a job over files is, on a terminal."""
    console = Console(stderr=True)
    if quiet or not console.is_terminal:
        yield lambda *_: None
        return
    columns = (TextColumn("{task.description:<8}"), BarColumn(32), DownloadColumn(binary_units=True))
    with Progress(*columns, TimeRemainingColumn(), console=console) as progress:
        bars: dict[str, TaskID] = {}

        def watch(stage: str, done: int, total: int) -> None:
            if stage not in bars:
                bars[stage] = progress.add_task(stage, total=total)
            progress.update(bars[stage], completed=done)

        yield watch
