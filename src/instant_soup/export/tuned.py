"""Tuned: checks fine-tuned weights, and puts them in the place of a ticket's start."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from ..core.apply import named
from ..core.errors import SoupError, StoreError, TicketError, nearest
from ..core.mask import Mask
from ..core.ticket import Ticket
from ..core.weights import first_not_finite
from ..store.record import Record, read_run


@torch.no_grad()
def take_over(model: nn.Module, path: Path, ticket: Ticket) -> Record | None:
    """Copy the weights of *path* into *model*.

    Returns:
        The record of the run that made the weights, where it lies beside them; otherwise None.

    Raises:
        StoreError: there is no such file, or it is damaged.
        TicketError: they are not of this model, not finite, or not zero where the ticket prunes. Nothing is changed
            then.
    """
    weights = _load_weights(path)
    tensors = named(model)

    for name, parameter in model.named_parameters():
        if name not in weights:
            raise TicketError(
                f"{path} has no {name!r}; give weights of the ticket's own model, fine-tuned"
            )
        if weights[name].shape != parameter.shape:
            raise TicketError(
                f"{name!r} of {path} has shape {tuple(weights[name].shape)} and the model's {tuple(parameter.shape)}; "
                f"give weights that were fine-tuned from this ticket"
            )

    for name in weights:
        if name not in tensors:
            raise TicketError(
                f"{path} has {name!r}, which the model does not have ({nearest(name, tensors)})"
            )

    # a single weight that came back to life would make the sparsity of the card untrue
    _check_zeros(weights, ticket.mask, path)
    diverged = first_not_finite(weights)
    if diverged is not None:
        raise TicketError(
            f"{diverged!r} of {path} holds NaN or infinity: training has diverged; train at a lower rate"
        )

    for name, tensor in weights.items():
        tensors[name].copy_(tensor)
    return record_beside(path, ticket)


def _load_weights(path: Path) -> dict[str, Tensor]:
    """The tensors of a safetensors file. Raises StoreError where there is none, or it is damaged."""
    if not path.is_file():
        raise StoreError(f"no weights at {path}; check the path")
    try:
        return load_file(path)
    except (SafetensorError, OSError, ValueError) as reason:
        raise StoreError(
            f"{path} is not a readable safetensors file ({reason}); it may be truncated"
        ) from reason


def _check_zeros(weights: Mapping[str, Tensor], mask: Mask, path: Path) -> None:
    """Raise TicketError unless *weights* are zero where *mask* prunes."""
    for name in mask:
        alive = (weights[name] != 0) & ~mask[name]
        if alive.any():
            index = alive.nonzero()[0].tolist()
            raise TicketError(
                f"{name}{index} of {path} is {float(weights[name][tuple(index)]):.3g}, and the ticket prunes it; "
                f"give weights that were fine-tuned from this ticket, under its mask"
            )


def record_beside(path: Path, ticket: Ticket) -> Record | None:
    """The record of the run that made *path*, a file of *ticket*; None where there is none, or it is damaged."""
    try:
        record = read_run(path.parent / "record.json")
    # weights may come from elsewhere, without a record
    except SoupError:
        return None
    return record if record.ticket.digest == ticket.digest else None
