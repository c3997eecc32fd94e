"""Tickets: commands that show ticket files, compare them, and make tickets of tickets. Slow imports wait."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from . import console
from .app import Force, Guarded, Json, app, save_ticket
from .console import add, say, table
from .paths import TicketPath, TicketPaths

if TYPE_CHECKING:
    from ..core.agreement import Agreement
    from ..core.ticket import Ticket

tickets = typer.Typer(
    cls=Guarded,
    no_args_is_help=True,
    help="Look into ticket files, and make tickets of tickets.",
)
app.add_typer(tickets, name="ticket")

Output = Annotated[
    Path,
    typer.Option("-o", "--output", metavar="TICKET", help="The ticket file to write."),
]


@tickets.command()
def info(files: TicketPaths, as_json: Json = False) -> None:
    """Say what tickets are: model, method, sparsity, cost, and how much is kept in each layer."""
    from ..core.ticket import Ticket

    loaded = [(path, Ticket.load(path)) for path in files]
    if as_json:
        facts = [_facts(path, ticket) for path, ticket in loaded]
        typer.echo(json.dumps(facts if len(facts) > 1 else facts[0], indent=2))
        return
    for path, ticket in loaded:
        _print_ticket(path, ticket)


@tickets.command()
def verify(
    files: Annotated[
        list[Path], typer.Argument(metavar="TICKET...", help="Ticket files.")
    ],
) -> None:
    """Read tickets and check every byte of them. Looks at all, and ends with code 2 if one is damaged."""
    from ..core.errors import SoupError
    from ..core.ticket import Ticket

    # all of them, so that one damaged file does not hide the next
    damaged = 0
    for path in files:
        try:
            ticket = Ticket.load(path)
        except SoupError as reason:
            damaged += 1
            say(f"{path}: damaged: {reason}")
        else:
            pattern = _pattern_of(ticket)
            grouped = f", pattern {pattern}" if pattern else ""
            say(
                f"{path}: ok, {ticket.digest[:16]}, {ticket.mask.kept:,} of {ticket.mask.scope.size:,} kept{grouped}"
            )
    if damaged:
        raise typer.Exit(2)


@tickets.command()
def diff(first: TicketPath, second: TicketPath, as_json: Json = False) -> None:
    """Set two tickets of one model side by side: what both keep, beyond what chance has them share; and by layer."""
    from ..core.agreement import agreement, by_layer
    from ..core.ticket import Ticket

    ticket = Ticket.load(first)
    other = Ticket.load(second)
    overall = agreement(ticket.mask, other.mask)
    layers = by_layer(ticket.mask, other.mask)
    same = {
        "base": ticket.base == other.base,
        "method": dict(ticket.method) == dict(other.method),
        "mask": ticket.mask == other.mask,
        "ticket": ticket.digest == other.digest,
    }
    if as_json:
        facts = {
            "same": same,
            "whole": asdict(overall),
            "layers": {name: asdict(layer) for name, layer in layers.items()},
        }
        typer.echo(json.dumps(facts, indent=2))
        return

    for name, is_same in same.items():
        say(f"{'same' if is_same else 'other'} {name}")

    counts = ["first only", "second only", "both"]
    rows = table(["layer", *counts, "cosine", "Jaccard", "beyond chance"])
    for name, layer in layers.items():
        add(rows, name, *_cells(layer))
    rows.add_section()
    add(rows, "all", *_cells(overall), style="bold")
    console.out().print(rows)

    say(
        "Beyond chance: the cosine above what as many survivors at random places within each layer would have, as a"
    )
    say(
        f"share of what is possible. Against random places anywhere in the model it is {overall.cosine_in_model:.3f}."
    )


@tickets.command()
def union(files: TicketPaths, output: Output, force: Force = False) -> None:
    """Keep what any of the tickets keeps. Starts where they do, or from the pre-trained weights."""
    from ..core import algebra

    _combine(files, output, algebra.union, force=force)


@tickets.command()
def intersection(files: TicketPaths, output: Output, force: Force = False) -> None:
    """Keep what all of the tickets keep. Starts where the first one does."""
    from ..core import algebra

    _combine(files, output, algebra.intersection, force=force)


@tickets.command()
def vote(
    files: TicketPaths,
    output: Output,
    sparsity: Annotated[
        float, typer.Option("--sparsity", help="Share of the prunable weights that goes.")
    ],
    force: Force = False,
) -> None:
    """Keep the weights that most of the tickets keep, exactly as many as asked for. Starts as `union` does."""
    from ..core import algebra

    _combine(files, output, lambda loaded: algebra.vote(loaded, sparsity), force=force)


@tickets.command()
def shuffle(
    file: TicketPath,
    output: Output,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Of the random places.")] = 0,
    force: Force = False,
) -> None:
    """Write a control of a ticket: as many survivors of each layer, at random places, at their pre-trained values.

    A ticket that does no better than this owes its merit to how much it keeps where. One that does not start from the
    pre-trained weights needs them: `instant-soup control` with a recipe makes its controls.
    """
    from ..core.ticket import Ticket
    from ..methods import shuffled

    control = shuffled(Ticket.load(file), seed)
    save_ticket(control, output, force=force)
    say(f"{output}: {control.mask}, to be fine-tuned")


def _combine(
    files: list[Path],
    output: Path,
    combine: Callable[[Sequence[Ticket]], Ticket],
    *,
    force: bool,
) -> None:
    """Write the ticket that *combine* makes of those in *files*."""
    from ..core.ticket import Ticket

    combined = combine([Ticket.load(path) for path in files])
    save_ticket(combined, output, force=force)
    say(f"{output}: {combined.mask}, to be fine-tuned")
    if combined.method.get("start") == "pre-trained":
        say(
            "It starts from the pre-trained weights: these tickets were trained apart, and what one of them pruned and "
            "another keeps has no common value."
        )


def _facts(path: Path, ticket: Ticket) -> dict[str, Any]:
    """What JSON says of a ticket."""
    scope = ticket.mask.scope
    layers = {}
    for name, kept in ticket.mask.kept_by_name.items():
        layers[name] = [kept, scope.numel(name)]

    return {
        "ticket": str(path),
        "digest": ticket.digest,
        "mask": ticket.mask.digest,
        "bytes": path.stat().st_size,
        "base": asdict(ticket.base),
        "method": dict(ticket.method),
        "sparsity": ticket.sparsity,
        "kept": ticket.mask.kept,
        "prunable": scope.size,
        "pattern": _pattern_of(ticket),
        "ready": ticket.ready,
        "cost": asdict(ticket.cost),
        "recipe": ticket.recipe,
        "starts_elsewhere": sorted(ticket.start),
        "layers": layers,
    }


def _pattern_of(ticket: Ticket) -> str | None:
    """The N:M pattern that the mask follows, however the ticket came to be."""
    from ..core.pattern import pattern_of

    pattern = pattern_of(ticket.mask)
    return str(pattern) if pattern else None


def _print_ticket(path: Path, ticket: Ticket) -> None:
    """Print what a ticket is, and how much of each layer it keeps."""
    mask = ticket.mask
    cost = ticket.cost
    state = "trained" if ticket.ready else "to be fine-tuned"
    method = str(ticket.method.get("name", "unknown"))
    knobs = [f"{knob}={value}" for knob, value in ticket.method.items() if knob != "name"]
    if knobs:
        method += f": {', '.join(knobs)}"

    say(f"{path}: {path.stat().st_size:,} bytes, {state}")
    say(f"  digest    {ticket.digest}")
    say(f"  model     {ticket.base.name} ({ticket.base.digest[:16]})")
    say(f"  method    {method}")
    say(
        f"  sparsity  {ticket.sparsity:.4%}: {mask.kept:,} of {mask.scope.size:,} prunable weights kept"
    )
    pattern = _pattern_of(ticket)
    if pattern:
        say(f"  pattern   {pattern}: every group of neighbouring inputs of every matrix")
    # a job over blocks does not count them
    flops = (
        f"{cost.flops:.2e} FLOPs" if cost.flops or not cost.passes else "FLOPs unknown"
    )
    say(f"  cost      {cost.steps:,} steps, {cost.passes:,} passes, {flops}")
    say(f"  recipe    {ticket.recipe or 'none'}")

    rows = table(["layer", "kept", "of", "share"])
    for name, kept in mask.kept_by_name.items():
        size = mask.scope.numel(name)
        # a layer of which nothing is kept cuts the network in two
        style = "red" if not kept else None
        add(rows, name, f"{kept:,}", f"{size:,}", f"{kept / size:.1%}", style=style)
    console.out().print(rows)
    if mask.collapsed:
        say(f"Nothing is kept of {', '.join(mask.collapsed)}")


def _cells(agreement: Agreement) -> list[str]:
    """How alike two masks are, as the cells of a row."""
    first_only = agreement.one - agreement.both
    second_only = agreement.other - agreement.both
    return [
        f"{first_only:,}",
        f"{second_only:,}",
        f"{agreement.both:,}",
        f"{agreement.cosine:.3f}",
        f"{agreement.jaccard:.3f}",
        f"{agreement.cosine_in_layers:.3f}",
    ]
