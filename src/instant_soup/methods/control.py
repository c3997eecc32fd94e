"""Control tickets: what is left of a ticket's merit when its choice of weights is taken away.

After Frankle et al. (2021): a mask that does no better than its own shuffle says which layers to
prune, not which weights.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from hashlib import sha256

import torch
from torch import Tensor

from ..core.budget import Meter
from ..core.errors import RankError, TicketError, unknown
from ..core.kinds import checked
from ..core.mask import Mask
from ..core.pattern import Pattern, follows, pattern_of, rows, unrows
from ..core.table import Table
from ..core.task import Learner, Task
from ..core.ticket import Ticket


@checked
def control(ticket: Ticket, task: Task, kind: str, meter: Meter | None = None) -> Ticket:
    """A control of *ticket*, to be fine-tuned as any other.

    Args:
        kind: ``"layers"`` keeps as many weights of each parameter (of each group, where the ticket follows an N:M
            pattern), chosen at random, in the model as it is before any training. ``"shuffled"`` moves the ticket's
            own survivors, mask and values alike, to random places within their parameter, or their group.

    Its cost is that of *ticket*, which had to be drawn first.

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

    weights = CONTROLS[kind].start(ticket, learner)
    pattern = pattern_of(ticket.mask)
    masks = {}
    for name in learner.scope:
        dice = torch.Generator().manual_seed(learner.seed("control", kind, name))
        dim = learner.scope.inputs.get(name, -1)
        masks[name], places = _permuted(ticket.mask[name], pattern, dim, dice)
        if CONTROLS[kind].moves_weights:
            values = weights[name].detach().cpu()
            weights[name] = values.flatten()[places].view(values.shape)

    learner.apply_mask(Mask(learner.scope, masks))
    learner.restore(weights)
    method = {
        "name": "control",
        "kind": kind,
        "of": ticket.digest,
        "method": dict(ticket.method),
    }
    controlled = Ticket.drawn(learner, method)
    return replace(controlled, cost=ticket.cost + controlled.cost)


def shuffled(ticket: Ticket, seed: int = 0) -> Ticket:
    """The ``"layers"`` control of a ticket that starts from the pre-trained weights, which then need not be there.

    Raises TicketError for any other ticket.
    """
    moved = _moved(ticket)
    if moved is not None:
        raise TicketError(
            f"the ticket does not start from the pre-trained weights ({moved!r} is elsewhere), which its control "
            f"needs; make it with `instant-soup control` and the ticket's recipe"
        )

    pattern = pattern_of(ticket.mask)
    masks = {}
    for name in ticket.mask:
        # by the name, so that a parameter's control does not depend on what comes before it
        name_hash = sha256(f"{seed}/{name}".encode()).digest()
        dice = torch.Generator().manual_seed(int.from_bytes(name_hash[:8]) >> 1)
        dim = ticket.mask.scope.inputs.get(name, -1)
        masks[name], _ = _permuted(ticket.mask[name], pattern, dim, dice)

    method = {
        "name": "control",
        "kind": "layers",
        "of": ticket.digest,
        "seed": seed,
        "method": dict(ticket.method),
    }
    mask = Mask(ticket.mask.scope, masks)
    return Ticket(mask, ticket.start, ticket.base, method=method)


def _moved(ticket: Ticket) -> str | None:
    """The first parameter in scope that *ticket* does not start at its pre-trained values; None if there is none."""
    return next((name for name in ticket.mask if name in ticket.start), None)


def _untrained(ticket: Ticket, learner: Learner) -> dict[str, Tensor]:
    """The model before any training, also where the ticket has been trained.

    What the task added to the model, such as a head, is that of a ticket which starts from the pre-trained weights.
    """
    weights = dict(learner.origin)
    if _moved(ticket) is None:
        for name, tensor in ticket.start.items():
            if name in learner.fresh:
                weights[name] = tensor
    return weights


def _own(ticket: Ticket, learner: Learner) -> dict[str, Tensor]:
    """All weights that *ticket* stands for, which holds only what differs from the pre-trained ones."""
    return {**learner.origin, **ticket.start}


def _permuted(
    mask: Tensor, pattern: Pattern | None, dim: int, dice: torch.Generator
) -> tuple[Tensor, Tensor]:
    """The mask in another order, and from which place each of its weights comes.

    Args:
        mask: of one parameter.
        pattern: that the ticket follows; weights then stay in their group, for a control follows it too.
        dim: along which the groups lie.
    """
    if pattern is None or not follows(mask, pattern, dim):
        places = torch.randperm(mask.numel(), generator=dice)
    else:
        numbers = torch.arange(mask.numel()).view(mask.shape)
        groups = rows(numbers, dim).reshape(-1, pattern.of)
        order = torch.rand(groups.shape, generator=dice).argsort(dim=1)
        places = unrows(groups.gather(1, order), mask.shape, dim).flatten()

    return mask.flatten()[places].view(mask.shape), places


@dataclass(frozen=True)
class Control:
    """A kind of control.

    Attributes:
        start: the weights that it begins with, of a ticket and a learner.
        moves_weights: whether the weights in scope move along with the mask.
    """

    start: Callable[[Ticket, Learner], dict[str, Tensor]]
    moves_weights: bool


CONTROLS: Mapping[str, Control] = Table(
    "control",
    {
        "layers": Control(_untrained, moves_weights=False),
        "shuffled": Control(_own, moves_weights=True),
    },
)
