"""Pruned: prunes a checkpoint block by block, and prints what pruning kept and what it left as it is."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from ..core.names.layers import without_numbers
from ..core.names.matrices import unusual
from . import console
from .app import refuse_stranger
from .console import say

if TYPE_CHECKING:
    from ..checkpoints.block_job import Job
    from ..checkpoints.prune import Pruned
    from ..core.scope import Scope
    from ..core.ticket import Ticket


def prune_by_block(
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
        refuse_stranger(ticket, force=force, expected=is_of(checkpoint, job.score))
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


def is_of(checkpoint: Path, score: str) -> Callable[[Ticket], bool]:
    """Whether a ticket may have been drawn of *checkpoint* by *score*."""
    name = checkpoint.resolve().name
    return lambda ticket: (ticket.base.name, ticket.method.get("name")) == (name, score)


def print_pruned(pruned: Pruned) -> None:
    """Print a line for each kind of tensor, and how much was kept in all."""
    # what is pruned comes first: tensors that are left as they are may be many
    print_scope(pruned.scope)
    left = {name: f"left as it is: {reason}" for name, reason in pruned.left_out.items()}
    for line in grouped(left):
        say(f"  {line}")

    say(
        f"{pruned.folder}: {pruned.kept:,} of {pruned.scope.size:,} prunable weights kept, "
        f"sparsity {1 - pruned.kept / pruned.scope.size:.4%}"
    )


def print_scope(scope: Scope) -> None:
    """Print a line for each kind of tensor in *scope*, and what is unusual in it."""
    remarks = {}
    for name, shape in scope.shapes.items():
        size = " x ".join(map(str, shape))
        remarks[name] = f"{size}, in scope"
        oddity = unusual(name, shape)
        if oddity:
            remarks[name] += f", unusual: {oddity}"

    for line in grouped(remarks):
        say(f"  {line}")


def grouped(remarks: Mapping[str, str]) -> list[str]:
    """Lines of *remarks* about tensors by name; one line for tensors that differ in the number of their layer alone."""
    counts: Counter[tuple[str, str]] = Counter()
    for name, remark in remarks.items():
        counts[without_numbers(name, "*"), remark] += 1

    lines = []
    for (name, remark), times in counts.items():
        note = f" ({times} times)" if times > 1 else ""
        lines.append(f"{name}{note}: {remark}")
    return lines
