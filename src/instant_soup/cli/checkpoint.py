"""Checkpoint: commands over the files of models: prune one that does not fit into memory, import a ticket from one.

Slow imports wait until they are needed.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from ..core.errors import KnobError
from .app import Force, Json, Quiet, app, refuse_stranger, save_ticket
from .bars import progress_bars
from .console import say
from .paths import CheckpointPath, SourcePath
from .pruned import grouped, is_of, print_pruned, prune_by_block

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
        int | None,
        typer.Option("--samples", min=1, help="Windows of that text; 128 if not given."),
    ] = None,
    window: Annotated[
        int | None,
        typer.Option("--window", min=2, help="Tokens of a window; 2,048 or the limit."),
    ] = None,
    batch: Annotated[
        int | None,
        typer.Option(
            "--batch",
            min=1,
            help="Windows that go through a block at a time; 1 if not given.",
        ),
    ] = None,
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

    if score == "magnitude":
        _refuse_text(calibrate, samples, window, batch)

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
            samples or 128,
            window,
            batch or 1,
            device or "cpu",
        )
        prune_by_block(
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
        refuse_stranger(ticket, force=force, expected=is_of(checkpoint, "magnitude"))

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


def _refuse_text(
    calibrate: str | None, samples: int | None, window: int | None, batch: int | None
) -> None:
    """Refuse what says what to calibrate on where nothing is calibrated. Raises KnobError."""
    options = {
        "--calibrate": calibrate,
        "--samples": samples,
        "--window": window,
        "--batch": batch,
    }
    unused = [option for option, value in options.items() if value is not None]
    if unused:
        raise KnobError(
            f"{', '.join(unused)}: magnitudes are not calibrated on anything; "
            f"give --score wanda, ria or sparsegpt too, or leave it out"
        )


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
