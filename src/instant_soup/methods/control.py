"""Control tickets: what is left of a ticket's merit when its choice of weights is taken away.

After Frankle et al. (2021): a mask that does no better than its own shuffle says which layers to
prune, not which weights.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from hashlib import sha256

import torch
from torch import Tensor

from ..core.budget import Meter
from ..core.errors import RankError, TicketError, unknown
from ..core.kinds import checked
from ..core.mask import Mask
from ..core.table import Table
from ..core.task import Task
from ..core.ticket import Ticket

Controlled = tuple[Tensor, Tensor]
"""The mask and the weights of one parameter."""


@checked
def control(ticket: Ticket, task: Task, kind: str, meter: Meter | None = None) -> Ticket:
    """A control of *ticket*, to be fine-tuned as any other.

    Args:
        kind: ``"layers"`` keeps as many weights of each parameter, chosen at random, at their
            pre-trained values. ``"shuffled"`` moves the ticket's own survivors, mask and values
            alike, to random places within their parameter.

    Raises:
        TicketError: the ticket belongs to another model.
        UnknownName: there is no such kind.
        RankError: the model is held by several ranks between them.
    """
    if kind not in CONTROLS:
        raise unknown("control", kind, CONTROLS)

    learner = task.learner(meter or Meter())
    if learner.scope.shards.team.size > 1:
        raise RankError(
            "a control moves weights within whole parameters, which no rank has under FSDP2; use one rank"
        )
    ticket.check_base(learner.base, learner.scope)

    # a ticket holds only what differs from the pre-trained weights
    weights = {**learner.origin, **ticket.start}
    masks = {}
    for name in learner.scope:
        dice = torch.Generator().manual_seed(learner.seed("control", kind, name))
        masks[name], weights[name] = CONTROLS[kind](
            ticket.mask[name], weights[name], learner.origin[name], dice
        )

    learner.apply_mask(Mask(learner.scope, masks))
    learner.restore(weights)
    method = {
        "name": "control",
        "kind": kind,
        "of": ticket.digest,
        "method": dict(ticket.method),
    }
    return Ticket.drawn(learner, method)


def shuffled(ticket: Ticket, seed: int = 0) -> Ticket:
    """The ``"layers"`` control of a ticket that starts from the pre-trained weights, which then need not be there.

    Raises TicketError for any other ticket.
    """
    moved = [name for name in ticket.mask if name in ticket.start]
    if moved:
        raise TicketError(
            f"the ticket does not start from the pre-trained weights ({moved[0]!r} is elsewhere), which its control "
            f"needs; make it with `instant-soup control` and the ticket's recipe"
        )

    masks = {}
    for name in ticket.mask:
        # by the name, so that a parameter's control does not depend on what comes before it
        name_hash = sha256(f"{seed}/{name}".encode()).digest()
        dice = torch.Generator().manual_seed(int.from_bytes(name_hash[:8]) >> 1)
        masks[name] = _permuted(ticket.mask[name], dice)[0]

    method = {
        "name": "control",
        "kind": "layers",
        "of": ticket.digest,
        "seed": seed,
        "method": dict(ticket.method),
    }
    mask = Mask(ticket.mask.scope, masks)
    return Ticket(mask, ticket.start, ticket.base, method=method)


def _layers(
    mask: Tensor, start: Tensor, origin: Tensor, dice: torch.Generator
) -> Controlled:
    del start
    return _permuted(mask, dice)[0], origin


def _shuffled(
    mask: Tensor, start: Tensor, origin: Tensor, dice: torch.Generator
) -> Controlled:
    del origin
    moved, places = _permuted(mask, dice)
    return moved, start.detach().cpu().flatten()[places].view(start.shape)


def _permuted(mask: Tensor, dice: torch.Generator) -> tuple[Tensor, Tensor]:
    """The mask in another order, and from which place each of its weights comes."""
    places = torch.randperm(mask.numel(), generator=dice)
    return mask.flatten()[places].view(mask.shape), places


CONTROLS: Mapping[
    str, Callable[[Tensor, Tensor, Tensor, torch.Generator], Controlled]
] = Table("control", {"layers": _layers, "shuffled": _shuffled})
