"""Checkpoint: commands over the files of models: prune one that does not fit into memory, import a ticket from one.

Slow imports wait until they are needed.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from . import console
from .app import Force, Json, Quiet, app, refuse_stranger, save_ticket
from .bars import progress_bars
from .console import say
from .paths import CheckpointPath, SourcePath
from .pruned import grouped, print_pruned, print_scope

if TYPE_CHECKING:
    from ..checkpoints.block_job import Job
    from ..core.ticket import Ticket

Patterns = list[str] | None


@app.command()
def prune(
    checkpoint: CheckpointPath,
    output: Annotated[
        Path, typer.Option("-o", "--output", metavar="OUT", help="The folder to write.")
    ],
    sparsity: Annotated[
        float | None,
        typer.Option(
            "--sparsity",
            help="Share of the prunable weights that goes; a pattern's own if not given.",
        ),
    ] = None,
    across: Annotated[
        str | None,
        typer.Option(
            "--across",
            help="Cut once across the 'model', or evenly in each 'layer' or 'row'; 'model' for magnitudes.",
        ),
    ] = None,
    include: Annotated[
        Patterns,
        typer.Option(
            "--include",
            metavar="PATTERN",
            help="Prune matrices of such names only; again for more.",
        ),
    ] = None,
    exclude: Annotated[
        Patterns,
        typer.Option(
            "--exclude",
            metavar="PATTERN",
            help="Leave such names as they are; again for more.",
        ),
    ] = None,
    ticket: Annotated[
        Path | None,
        typer.Option(
            "--ticket",
            metavar="TICKET",
            help="Write a ticket file, too; it reads once or twice more.",
        ),
    ] = None,
    score: Annotated[
        str,
        typer.Option(
            "--score", help="'magnitude', or of language models wanda, ria, sparsegpt."
        ),
    ] = ("magnitude"),
    pattern: Annotated[
        str,
        typer.Option(
            "--pattern", metavar="N:M", help="Keep N of every M inputs, such as 2:4."
        ),
    ] = ("unstructured"),
    calibrate: Annotated[
        str | None,
        typer.Option(
            "--calibrate",
            metavar="FOLDER",
            help="The text to calibrate on: parquet or text files.",
        ),
    ] = None,
    samples: Annotated[
        int, typer.Option("--samples", min=1, help="Windows of that text.")
    ] = 128,
    window: Annotated[
        int | None,
        typer.Option("--window", min=2, help="Tokens of a window; 2,048 or the limit."),
    ] = None,
    batch: Annotated[
        int,
        typer.Option("--batch", min=1, help="Windows that go through a block at a time."),
    ] = 1,
    device: Annotated[
        str | None,
        typer.Option(
            "--device",
            metavar="NAME",
            help="Where blocks are worked on: auto, cpu, cuda, cuda:1; cpu if not given.",
        ),
    ] = None,
    force: Annotated[
        bool,
        typer.Option("--force", help="Replace the ticket file if it is there already."),
    ] = False,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Zero weights of CHECKPOINT, exactly as many as asked for, however large it is.

    By magnitude across the model the model is not built, and shards are streamed: a few hundred megabytes of memory do.
    With another score, a pattern, or by row one block is in memory at a time. A killed job goes on.
    """
    from ..core.errors import SparsityError
    from ..core.pattern import Pattern

    groups = Pattern.named(pattern)
    # a pattern such as 2:4 states how much goes
    if sparsity is None and groups:
        sparsity = groups.sparsity
    if sparsity is None:
        raise SparsityError(
            "no sparsity is given; say how much goes with --sparsity, such as 0.5"
        )

    # all of these need whole matrices, and most of them the inputs of a matrix: shards cannot be streamed then
    if score != "magnitude" or groups or across == "row":
        if include or exclude:
            raise SparsityError(
                "--include and --exclude go with magnitudes across model or layer alone; leave them out"
            )
        from ..checkpoints.block_job import Job

        # Job checks what score and across may be
        job = Job(
            sparsity,
            score,
            across,  # type: ignore[arg-type]
            pattern,
            calibrate,
            samples,
            window,
            batch,
            device or "cpu",
        )
        _prune_by_block(
            checkpoint, output, job, ticket, force=force, quiet=quiet, as_json=as_json
        )
        return

    if device not in (None, "cpu"):
        raise SparsityError(
            "--device goes with language models that are pruned block by block; magnitudes across model or layer are "
            "counted on the CPU, so leave it out"
        )

    from ..checkpoints.magnitude_ticket import ticket_of
    from ..checkpoints.prune import prune_checkpoint

    if ticket:
        # before hours of work, not after
        refuse_stranger(ticket, force=force, expected=_is_of(checkpoint, "magnitude"))

    with progress_bars(quiet=quiet or as_json) as watch:
        pruned = prune_checkpoint(
            checkpoint,
            output,
            sparsity,
            across=across or "model",  # type: ignore[arg-type]  # what it may be is checked there
            include=include or (),
            exclude=exclude or (),
            watch=watch,
        )
    if ticket:
        save_ticket(ticket_of(checkpoint, pruned), ticket, force=force)

    if not as_json:
        print_pruned(pruned)
        return
    layers = {}
    for name, cut in pruned.cuts.items():
        layers[name] = [cut.kept, pruned.scope.numel(name)]
    facts = {
        "checkpoint": str(output),
        "kept": pruned.kept,
        "prunable": pruned.scope.size,
        "left_out": dict(pruned.left_out),
        "layers": layers,
    }
    typer.echo(json.dumps(facts, indent=2))


def _prune_by_block(
    checkpoint: Path,
    output: Path,
    job: Job,
    ticket: Path | None,
    *,
    force: bool,
    quiet: bool,
    as_json: bool,
) -> None:
    """Prune with one block in memory at a time, and say before what that takes."""
    from ..checkpoints.blocks import prune_blocks
    from ..checkpoints.outline import outline

    if ticket:
        refuse_stranger(ticket, force=force, expected=_is_of(checkpoint, job.score))
    plan = outline(checkpoint, job)
    progress = console.err(quiet=quiet or as_json)
    gib = 2**30
    progress.print(
        f"{plan.blocks} blocks, the largest {plan.block / gib:.2f} GiB in float32; about {plan.memory / gib:.2f} GiB "
        f"of memory beside Python, {plan.disk / gib:.2f} GiB on disk for what goes from block to block, "
        f"{plan.written / gib:.2f} GiB written",
        soft_wrap=True,
        highlight=False,
    )

    def watch(stage: str, position: int, total: int) -> None:
        progress.print(f"{stage} {position} of {total}", highlight=False)

    pruned = prune_blocks(
        checkpoint, output, job, ticket=ticket, replace=force, watch=watch
    )
    size = pruned.scope.size
    if not as_json:
        print_scope(pruned.scope)
        say(
            f"{output}: {pruned.kept:,} of {size:,} prunable weights kept, "
            f"sparsity {1 - pruned.kept / size:.4%}, by {job.score}, pattern {job.pattern}"
        )
        return

    layers = {}
    for name, kept in pruned.kept_by_name.items():
        layers[name] = [kept, pruned.scope.numel(name)]
    facts = {
        "checkpoint": str(output),
        "kept": pruned.kept,
        "prunable": size,
        "plan": asdict(plan),
        "layers": layers,
    }
    typer.echo(json.dumps(facts, indent=2))


def _is_of(checkpoint: Path, score: str) -> Callable[[Ticket], bool]:
    """Whether a ticket may have been drawn of *checkpoint* by *score*."""
    name = checkpoint.resolve().name
    return lambda ticket: (ticket.base.name, ticket.method.get("name")) == (name, score)


@app.command("import")
def import_(
    source: SourcePath,
    output: Annotated[
        Path,
        typer.Option(
            "-o", "--output", metavar="TICKET", help="The ticket file to write."
        ),
    ],
    model: Annotated[
        str,
        typer.Option(
            "--model",
            metavar="NAME",
            help="What it was pruned from: 'packaged', a folder or a hub id.",
        ),
    ] = "packaged",
    trained: Annotated[
        bool,
        typer.Option(
            "--trained",
            help="It is trained to the end for its task: judge it without fine-tuning.",
        ),
    ] = False,
    pooler: Annotated[
        bool, typer.Option("--pooler", help="A text model's pooler is in scope.")
    ] = False,
    pickle: Annotated[
        bool, typer.Option("--pickle", help="Read a pickle, its tensors alone.")
    ] = False,
    force: Force = False,
    as_json: Json = False,
) -> None:
    """Make a ticket of SOURCE: zeros in a checkpoint, weight_orig and weight_mask, masks, or a sparse-bitmask."""
    from ..export.importing import import_ticket

    refuse_stranger(output, force=force)
    imported = import_ticket(source, model, ready=trained, pooler=pooler, pickle=pickle)
    save_ticket(imported.ticket, output, force=force)

    mask = imported.ticket.mask
    start = sorted(imported.ticket.start)
    if as_json:
        facts = {
            "ticket": str(output),
            "digest": imported.ticket.digest,
            "kept": mask.kept,
            "sparsity": mask.sparsity,
            "kind": imported.kind,
            "renamed": imported.renamed,
            "starts_elsewhere": start,
            "remarks": dict(imported.remarks),
        }
        typer.echo(json.dumps(facts, indent=2))
        return

    renamed = f", names taken {imported.renamed}" if imported.renamed else ""
    say(f"{source}: {imported.kind}{renamed}")
    for line in grouped(imported.remarks):
        say(f"  {line}")
    say(
        f"{len(start)} tensors differ from those of the masked {model}, and are the ticket's start weights"
    )

    state = "to be fine-tuned (--trained if it is trained for its task)"
    if trained:
        state = "trained"
    say(f"{output}: {mask}, {state}")
