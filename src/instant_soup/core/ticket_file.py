"""Ticket file: how a ticket is written as safetensors, and read back without believing a byte of it.

It holds ``mask/NAME``: uint8, eight weights a byte, lowest bit first; and ``start/NAME``: the surviving values in
order for a parameter in scope, the whole tensor for any other. Scope, provenance and a checksum are in the header.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from .budget import Cost
from .errors import SoupError, TicketError
from .mask import Mask
from .scope import Scope
from .task import Base
from .tensor_files import read_tensors, write_tensors
from .weights import Weights, digest, first_not_finite, scatter

SCHEMA = 1
_DTYPES = {
    torch.float32,
    torch.float16,
    torch.bfloat16,
    torch.float64,
    torch.int64,
    torch.int32,
    torch.bool,
}


@dataclass(frozen=True)
class Content:
    """What a file holds: the fields of a `Ticket`."""

    mask: Mask
    start: Weights
    base: Base
    cost: Cost
    ready: bool
    method: Mapping[str, Any]
    notes: Mapping[str, Any]
    recipe: str | None


def write(path: Path, content: Content) -> None:
    """Write one file, in one piece or not at all.

    Raises StoreError, or TicketError for a dtype that does not fit or a start that is not finite.
    """
    diverged = first_not_finite(content.start)
    if diverged is not None:
        raise TicketError(
            f"{diverged!r} holds NaN or infinity, so training has diverged; draw again at a lower rate"
        )

    mask = content.mask
    tensors = {f"mask/{name}": mask.packed(name) for name in mask}
    for name, tensor in content.start.items():
        if tensor.dtype not in _DTYPES:
            raise TicketError(
                f"{name!r} is {tensor.dtype}, which no ticket holds; convert it to torch.float32 first"
            )
        tensors[f"start/{name}"] = tensor[mask[name]] if name in mask else tensor

    # a list, because the order counts and JSON objects are written sorted
    sizes = [[name, list(shape)] for name, shape in mask.scope.shapes.items()]
    facts = {
        "schema": SCHEMA,
        "scope": sizes,
        "sparsity": mask.sparsity,
        "kept": mask.kept,
        "base": asdict(content.base),
        "cost": asdict(content.cost),
        "ready": content.ready,
        "method": dict(content.method),
        "notes": dict(content.notes),
        "recipe": content.recipe,
    }
    if mask.scope.inputs:
        facts["inputs"] = dict(mask.scope.inputs)
    write_tensors(path, tensors, {**facts, "checksum": checksum(tensors, facts)})


def read(path: Path) -> Content:
    """Read what `write` wrote, and check every byte of it.

    Raises TicketError when the file is missing, truncated, altered or of a newer schema.
    """
    tensors, facts = read_tensors(path, TicketError, "ticket")
    # whatever a strange file makes of the types, its reader is told of the file
    try:
        return _content(tensors, facts)
    except (
        SoupError,
        KeyError,
        TypeError,
        ValueError,
        RuntimeError,
        IndexError,
        AttributeError,
    ) as error:
        raise TicketError(
            f"{path} is not a sound ticket: {error}; draw it again or restore a copy"
        ) from error


def _content(tensors: Mapping[str, Tensor], facts: dict[str, Any]) -> Content:
    schema = _typed(facts["schema"], int)
    if schema != SCHEMA:
        raise TicketError(
            f"it has schema {schema!r} and this version reads {SCHEMA}; upgrade instant-soup"
        )

    written = facts.pop("checksum")
    if written != checksum(tensors, facts):
        raise TicketError("its content does not match its checksum")

    mask = _mask(tensors, facts)
    start = _start(tensors, mask)
    diverged = first_not_finite(start)
    if diverged is not None:
        raise TicketError(f"it starts {diverged!r} from NaN or infinity")

    return Content(
        mask=mask,
        start=start,
        base=Base(**_all_typed(facts["base"], str)),
        cost=Cost(**_all_typed(facts["cost"], int)),
        ready=_typed(facts["ready"], bool),
        method=_typed(facts["method"], dict),
        notes=_typed(facts["notes"], dict),
        recipe=_typed(facts["recipe"], str, None),
    )


def _mask(tensors: Mapping[str, Tensor], facts: Mapping[str, Any]) -> Mask:
    """The mask among the *tensors* of a file."""
    sizes = facts["scope"]
    scope = Scope({name: tuple(shape) for name, shape in sizes}, inputs=_inputs(facts))
    if len(scope) != len(sizes):
        raise TicketError("its scope lists a parameter twice")

    mask = Mask.from_packed(scope, {name: tensors[f"mask/{name}"] for name in scope})
    if mask.kept != facts["kept"] or mask.sparsity != facts["sparsity"]:
        raise TicketError(
            f"its mask keeps {mask.kept:,} weights and its header says {facts['kept']!r}"
        )
    return mask


def _inputs(facts: Mapping[str, Any]) -> dict[str, int]:
    """Along which dimension the inputs of parameters lie; older files do not say, and have them last."""
    shapes = dict(facts["scope"])
    inputs = _all_typed(facts.get("inputs", {}), int)
    for name, dim in inputs.items():
        if dim >= len(shapes[name]):
            raise TicketError(f"it says that {name!r} has its inputs in dimension {dim}")
    return inputs


def _start(tensors: Mapping[str, Tensor], mask: Mask) -> dict[str, Tensor]:
    """The start weights among the *tensors* of a file."""
    start = {}
    for key, tensor in tensors.items():
        room, _, name = key.partition("/")
        if room == "start" and name and tensor.dtype in _DTYPES:
            start[name] = _whole(name, tensor, mask)
        elif room != "mask" or name not in mask:
            raise TicketError(f"it holds {key!r} of {tensor.dtype}, which no ticket has")
    return start


def _whole(name: str, tensor: Tensor, mask: Mask) -> Tensor:
    """A start tensor as the model has it, from how it is stored."""
    if name not in mask:
        return tensor

    survivors = mask.kept_by_name[name]
    if tuple(tensor.shape) != (survivors,):
        raise TicketError(
            f"it starts {name!r} from {tuple(tensor.shape)} values and its mask keeps {survivors:,}"
        )
    return scatter(tensor, mask[name])


def _typed(value: Any, kind: type, *others: object) -> Any:
    """*value*, which must be of just this kind (True is no number) and not below zero, or one of the *others*."""
    of_this_kind = type(value) is kind
    negative = kind is int and of_this_kind and value < 0
    if negative or not (of_this_kind or value in others):
        raise TicketError(f"it says {value!r} where {kind.__name__} is expected")
    return value


def _all_typed(values: Mapping[str, Any], kind: type) -> dict[str, Any]:
    return {key: _typed(value, kind) for key, value in values.items()}


def checksum(tensors: Mapping[str, Tensor], facts: Mapping[str, Any]) -> str:
    """SHA-256 of all that a file holds, this line of it left out."""
    content = json.dumps(facts, sort_keys=True) + digest(tensors, sorted(tensors))
    return hashlib.sha256(content.encode()).hexdigest()
