"""Algebra: one ticket out of several of the same model."""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce
from operator import and_, or_

import torch
from torch import Tensor

from .budget import Cost
from .errors import ScopeError, TicketError
from .mask import Mask
from .prune import prune
from .ticket import Ticket


def union(tickets: Sequence[Ticket]) -> Ticket:
    """Keep what any of *tickets* keeps. Raises TicketError or ScopeError when they do not belong together."""
    return _combined(tickets, "union", reduce(or_, _masks(tickets)))


def intersection(tickets: Sequence[Ticket]) -> Ticket:
    """Keep what all of *tickets* keep. Raises TicketError or ScopeError when they do not belong together."""
    return _combined(tickets, "intersection", reduce(and_, _masks(tickets)))


def vote(tickets: Sequence[Ticket], sparsity: float) -> Ticket:
    """Keep exactly ``round((1 - sparsity) * size)`` weights, those first that most of *tickets* keep.

    Where votes tie, the earlier weight goes first, as in `prune`.

    Raises TicketError or ScopeError when they do not belong together, SparsityError for a sparsity that cannot be.
    """
    masks = _masks(tickets)
    scope = masks[0].scope

    votes: dict[str, Tensor] = {}
    for name in scope:
        flags = torch.stack([mask[name] for mask in masks])
        votes[name] = flags.sum(0, dtype=torch.float32)

    return _combined(tickets, "vote", prune(votes, Mask.dense(scope), sparsity))


def _masks(tickets: Sequence[Ticket]) -> list[Mask]:
    """The masks of *tickets*. Raises TicketError or ScopeError when they do not belong together."""
    if len(tickets) < 2:
        raise TicketError(f"{len(tickets)} ticket to combine; give two or more")

    first = tickets[0]
    for other in tickets[1:]:
        if other.base != first.base:
            raise TicketError(
                f"tickets of {first.base.name!r} ({first.base.digest[:12]}) and {other.base.name!r} "
                f"({other.base.digest[:12]}) do not combine; take tickets of one model"
            )
        if other.mask.scope != first.mask.scope:
            raise ScopeError(
                f"tickets of {first.mask.scope} and {other.mask.scope} do not combine"
            )

    return [ticket.mask for ticket in tickets]


def _combined(tickets: Sequence[Ticket], operation: str, mask: Mask) -> Ticket:
    """A ticket of *mask* that starts where *tickets* do, as far as they tell.

    It starts where the first one does. What that has pruned and *mask* keeps comes from the others, if all start from
    the same weights. Tickets that were trained apart have no common value of such a weight: there the new ticket starts
    from the pre-trained weights, and its method says so.
    """
    if not mask.kept:
        raise TicketError(
            f"the {operation} of these {len(tickets)} tickets keeps none of {mask.scope.size:,} weights; combine others"
        )

    first = tickets[0]
    method = {"name": operation, "of": [ticket.digest for ticket in tickets]}

    start: dict[str, Tensor] = {}
    for name, tensor in first.start.items():
        start[name] = tensor.masked_fill(~mask[name], 0) if name in mask else tensor

    if _keeps_more(mask, first):
        if _start_alike(tickets):
            _fill(start, mask, tickets)
        else:
            start = {}
            method["start"] = "pre-trained"

    cost = sum((ticket.cost for ticket in tickets), Cost())
    return Ticket(mask, start, first.base, cost, method=method)


def _keeps_more(mask: Mask, ticket: Ticket) -> bool:
    """Whether *mask* keeps weights whose values *ticket* holds as pruned."""
    return any(
        bool((mask[name] & ~ticket.mask[name]).any())
        for name in ticket.start
        if name in mask
    )


def _start_alike(tickets: Sequence[Ticket]) -> bool:
    """Whether *tickets* start from the same weights, as far as two of them keep the same ones."""
    first = tickets[0]
    for other in tickets[1:]:
        if other.start.keys() != first.start.keys():
            return False

        for name, tensor in first.start.items():
            difference = tensor != other.start[name]
            if name in first.mask:
                difference &= first.mask[name] & other.mask[name]
            if bool(difference.any()):
                return False
    return True


def _fill(start: dict[str, Tensor], mask: Mask, tickets: Sequence[Ticket]) -> None:
    """Put into *start* what *mask* keeps and the first of *tickets* has pruned, from the first that keeps it."""
    for name, tensor in start.items():
        if name not in mask:
            continue

        lacking = mask[name] & ~tickets[0].mask[name]
        for ticket in tickets[1:]:
            available = lacking & ticket.mask[name]
            tensor[available] = ticket.start[name][available]
            lacking &= ~available
