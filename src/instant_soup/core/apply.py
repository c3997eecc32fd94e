"""Apply: put a ticket into a model that somebody else is going to train."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from .errors import ScopeError, TicketError, nearest
from .mask import Mask
from .scope import Scope
from .weights import Weights, digest

if TYPE_CHECKING:
    from .ticket import Ticket

# what stands in names because of torch.compile, of data-parallel wrappers, and of peft
_COMPILED, _PARALLEL, _ADAPTED = "_orig_mod.", "module.", "base_model.model."
_BASE = re.compile(r"\b(base_layer|original_module)\.")  # peft's, beside an adapter
_COPY = re.compile(r"\bmodules_to_save\.[^.]+\.")  # and beside a copy that is trained whole


def named(model: nn.Module) -> dict[str, Tensor]:
    """The live parameters and buffers of *model*, by the names that they have without torch.compile and wrappers.

    A tensor that goes by several names is listed under each of them. In a model of peft, the base model's have their
    old names.
    """
    parameters = {name.replace(_COMPILED, ""): p for name, p in model.named_parameters(remove_duplicate=False)}
    buffers = {name.replace(_COMPILED, ""): b for name, b in model.named_buffers(remove_duplicate=False)}
    tensors = buffers | parameters
    if all(name.startswith(_PARALLEL) for name in parameters):
        parameters = {name.removeprefix(_PARALLEL): p for name, p in parameters.items()}
        tensors = {name.removeprefix(_PARALLEL): tensor for name, tensor in tensors.items()}
    if all(name.startswith(_ADAPTED) for name in parameters):
        tensors = {_BASE.sub("", name.removeprefix(_ADAPTED)): tensor for name, tensor in tensors.items()}
    return tensors


def parameters_of(model: nn.Module, scope: Scope) -> dict[str, Tensor]:
    """The live parameters of *model* that *scope* lists. Raises ScopeError when one is missing or has another shape."""
    tensors = named(model)
    for name, shape in scope.shapes.items():
        _fit(name, shape, tensors)
    return {name: tensors[name] for name in scope}


@torch.no_grad()
def apply(ticket: Ticket, model: nn.Module, *, check: bool = True) -> None:
    """What `Ticket.apply` does."""
    tensors = named(model)
    parameters = parameters_of(model, ticket.mask.scope)
    for name, tensor in ticket.start.items():
        _fit(name, tuple(tensor.shape), tensors)
    copies = {_COPY.sub("", name) for name in tensors if _COPY.search(name)}
    if copied := sorted(copies & (ticket.start.keys() | parameters.keys())):
        raise ScopeError(f"peft trains a copy of {copied[0]!r}; apply the ticket before get_peft_model")
    if check and (found := digest(parameters, ticket.mask.scope)) != ticket.base.digest:
        raise TicketError(
            f"the ticket was drawn from {ticket.base.name!r} ({ticket.base.digest[:12]}), and the prunable weights of "
            f"this {type(model).__name__} are others ({found[:12]}); load that checkpoint in the dtype it was drawn "
            f"in, or say check=False if they are meant to differ"
        )
    for name, tensor in ticket.start.items():
        tensors[name].copy_(tensor)
    clear(parameters, ticket.mask)


@torch.no_grad()
def clear(parameters: Weights, mask: Mask) -> None:
    """Zero what *mask* drops, in place."""
    for name, parameter in parameters.items():
        parameter.masked_fill_(~mask[name].to(parameter.device), 0)  # a product would leave -0.0, and NaN


def _fit(name: str, shape: tuple[int, ...], tensors: Mapping[str, Tensor]) -> None:
    if name not in tensors:
        raise ScopeError(
            f"the ticket has {name!r} and the model has no such tensor ({nearest(name, tensors)}); "
            f"`ticket.transfer(model)` fits a ticket to a model with other names or another head"
        )
    if tuple(tensors[name].shape) != shape:
        raise ScopeError(
            f"the ticket's {name!r} has shape {shape} and the model's {tuple(tensors[name].shape)}; "
            f"`ticket.transfer(model)` fits a ticket to a model with another head"
        )
