"""Apply: put a mask and start weights into a model that somebody else is going to train."""

from __future__ import annotations

import re
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from .errors import ScopeError, TicketError, nearest
from .mask import Mask
from .scope import Scope
from .task import Base
from .weights import Weights, are_of, digest

# what stands in names because of torch.compile, of data-parallel wrappers, and of peft
_COMPILED = "_orig_mod."
_PARALLEL = "module."
_ADAPTED = "base_model.model."
# peft's own weight beside an adapter, and beside a copy that is trained whole
_BASE = re.compile(r"\b(base_layer|original_module)\.")
_COPY = re.compile(r"\bmodules_to_save\.[^.]+\.")


def named(model: nn.Module) -> dict[str, Tensor]:
    """The live parameters and buffers of *model*, by the names that they have without torch.compile and wrappers.

    A tensor that goes by several names is listed under each of them. In a model of peft, the base model's have their
    old names.
    """
    parameters = {
        name.replace(_COMPILED, ""): p
        for name, p in model.named_parameters(remove_duplicate=False)
    }
    buffers = {
        name.replace(_COMPILED, ""): b
        for name, b in model.named_buffers(remove_duplicate=False)
    }
    tensors = buffers | parameters

    # a wrapper is told by its prefix on every parameter; buffers may be outside
    if all(name.startswith(_PARALLEL) for name in parameters):
        parameters = {name.removeprefix(_PARALLEL): p for name, p in parameters.items()}
        tensors = {
            name.removeprefix(_PARALLEL): tensor for name, tensor in tensors.items()
        }

    if all(name.startswith(_ADAPTED) for name in parameters):
        tensors = {
            _BASE.sub("", name.removeprefix(_ADAPTED)): tensor
            for name, tensor in tensors.items()
        }
    return tensors


def parameters_of(model: nn.Module, scope: Scope) -> dict[str, Tensor]:
    """The live parameters of *model* that *scope* lists. Raises ScopeError when one is missing or has another shape."""
    tensors = named(model)
    for name, shape in scope.shapes.items():
        _check_fits(name, shape, tensors)
    return {name: tensors[name] for name in scope}


@torch.no_grad()
def apply(
    model: nn.Module, mask: Mask, start: Weights, base: Base, *, check: bool = True
) -> None:
    """Put *start* into *model* and zeros where *mask* prunes, in place.

    Args:
        base: the pre-trained model that both belong to.
        check: whether to make sure that the prunable weights of *model* are those of *base*.

    Raises:
        ScopeError: a tensor is missing, has another shape, or is trained as a copy by peft.
        TicketError: the weights are others. Nothing is changed then.
    """
    tensors = named(model)
    parameters = parameters_of(model, mask.scope)
    for name, tensor in start.items():
        _check_fits(name, tuple(tensor.shape), tensors)

    copies = {_COPY.sub("", name) for name in tensors if _COPY.search(name)}
    copied = sorted(copies & (start.keys() | parameters.keys()))
    if copied:
        raise ScopeError(
            f"peft trains a copy of {copied[0]!r}; apply the ticket before get_peft_model"
        )

    if check:
        _check_base(model, parameters, mask.scope, base)

    for name, tensor in start.items():
        tensors[name].copy_(tensor)
    clear(parameters, mask)


@torch.no_grad()
def clear(parameters: Weights, mask: Mask) -> None:
    """Zero what *mask* drops, in place."""
    for name, parameter in parameters.items():
        # a product would leave -0.0, and NaN
        parameter.masked_fill_(~mask[name].to(parameter.device), 0)


def _check_base(model: nn.Module, weights: Weights, scope: Scope, base: Base) -> None:
    """Raise TicketError unless *weights*, what may be pruned in *model*, are those of *base*."""
    if not are_of(weights, scope, base.digest):
        raise TicketError(
            f"the ticket was drawn from {base.name!r} ({base.digest[:12]}), and the prunable weights of "
            f"this {type(model).__name__} are others ({digest(weights, scope)[:12]}); load that checkpoint as it is "
            f"stored or with dtype=torch.float32, or say check=False if they are meant to differ"
        )


def _check_fits(name: str, shape: tuple[int, ...], tensors: Mapping[str, Tensor]) -> None:
    """Raise ScopeError unless *tensors* have *name*, of *shape*."""
    if name not in tensors:
        raise ScopeError(
            f"the ticket has {name!r} and the model has no such tensor ({nearest(name, tensors)}); "
            f"`ticket.transfer(model)` fits a ticket to a model with other names or another head"
        )

    actual = tuple(tensors[name].shape)
    if actual != shape:
        raise ScopeError(
            f"the ticket's {name!r} has shape {shape} and the model's {actual}; "
            f"`ticket.transfer(model)` fits a ticket to a model with another head"
        )
