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
    """A ticket of *mask* that starts where the first one does: there all of them start, or the pre-trained weights."""
    first = tickets[0]

    start: dict[str, Tensor] = {}
    for name, tensor in first.start.items():
        start[name] = tensor.masked_fill(~mask[name], 0) if name in mask else tensor

    cost = sum((ticket.cost for ticket in tickets), Cost())
    method = {"name": operation, "of": [ticket.digest for ticket in tickets]}
    return Ticket(mask, start, first.base, cost, method=method)
