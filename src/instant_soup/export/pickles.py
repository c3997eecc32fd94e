"""Pickles: the tensors in a file of torch, read by its loader that knows nothing but tensors, and looked at one by one.

Weights and masks may lie in dictionaries within dictionaries, under the names that training scripts give them.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..core.errors import DataError
from .limits import check_room, limit_of

WEIGHTS = ("state_dict", "model_state_dict", "model", "module", "net", "weights")
MASKS = ("mask", "masks", "mask_dict")
_DEPTH = 8  # dictionaries within one another
_FLOATS = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
_WHOLE = (torch.bool, torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64)


def read(
    path: Path, limit: int | None = None
) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """The weights and the masks in the pickle at *path*, by name. Nothing in it is run.

    Args:
        limit: bytes that its tensors may unfold into; by default 1 GiB or 256 times the file, whichever is more.

    Raises:
        DataError: it holds what is no tensor, no tensors by name, or tensors that cannot be taken as they are.
    """
    content = _loaded(path)
    weights, masks = _told_apart(content)
    if not weights and not masks:
        raise DataError(
            f"{path} holds no tensors by name; expected a state dict or masks"
        )

    try:
        return _plain(weights, masks, limit_of(path, limit))
    except DataError as reason:
        raise DataError(f"{path} cannot be taken as it is: {reason}") from reason


def _loaded(path: Path) -> Any:
    try:
        # torch goes by the name of a path, so it is given the open file
        with path.open("rb") as file, torch.sparse.check_sparse_tensor_invariants(True):  # type: ignore[no-untyped-call]
            return torch.load(file, map_location="cpu", weights_only=True)
    except Exception as reason:
        # of bytes that are no sound pickle, its machine raises whatever its stack gives
        raise DataError(
            f"{path} could not be read as tensors alone ({_why(reason)}); save its state dict as safetensors"
        ) from reason


def _why(reason: Exception) -> str:
    """What torch objects to, without its advice to allow it."""
    kind = re.search(r"GLOBAL ([\w.]+)", str(reason))
    if kind:
        return f"it holds a {kind[1]}"
    lines = str(reason).strip().splitlines() or [type(reason).__name__]
    return re.sub(r"\x1b\[[0-9;]*m", "", lines[0])


def _told_apart(content: Any) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Weights and masks, from the outermost dictionary that has any of them inwards."""
    masks: dict[str, Tensor] = {}
    seen: set[int] = set()
    while _is_dictionary(content) and id(content) not in seen and len(seen) < _DEPTH:
        seen.add(id(content))

        for key in MASKS:
            if not masks and _is_dictionary(content.get(key)):
                masks = _tensors(content[key])

        inner = _next_inwards(content, seen)
        if inner is None:
            return _tensors(content), masks
        content = inner

    return {}, masks


def _next_inwards(content: Mapping[str, Any], seen: set[int]) -> Any:
    """The dictionary of weights within *content* that was not looked at yet: one may hold itself. None without any."""
    for key in WEIGHTS:
        inner = content.get(key)
        if _is_dictionary(inner) and id(inner) not in seen:
            return inner
    return None


def _is_dictionary(content: object) -> bool:
    return isinstance(content, Mapping) and all(isinstance(name, str) for name in content)


def _tensors(content: Mapping[str, Any]) -> dict[str, Tensor]:
    return {name: value for name, value in content.items() if isinstance(value, Tensor)}


def _plain(
    weights: Mapping[str, Tensor], masks: Mapping[str, Tensor], limit: int
) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """The same as plain, dense tensors. Raises DataError where one cannot become that, or all of them are too large."""
    size = 0
    for name, tensor in [*weights.items(), *masks.items()]:
        _check(name, tensor)
        size += tensor.numel() * tensor.element_size()
    check_room(size, limit)

    return (
        {name: _dense(tensor) for name, tensor in weights.items()},
        {name: _dense(tensor) for name, tensor in masks.items()},
    )


def _check(name: str, tensor: Tensor) -> None:
    if tensor.is_quantized:
        raise DataError(
            f"{name!r} is quantised ({tensor.dtype}); give the model before it was quantised"
        )

    if tensor.is_meta:
        raise DataError(
            f"{name!r} has a shape and no values (device meta); save the model after it is loaded"
        )

    if tensor.is_nested:
        raise DataError(f"{name!r} is a nested tensor; expected one of a single shape")

    if tensor.dtype not in _FLOATS + _WHOLE:
        raise DataError(
            f"{name!r} is {tensor.dtype}; expected {', '.join(map(str, _FLOATS))}, or whole numbers"
        )


def _dense(tensor: Tensor) -> Tensor:
    dense = tensor.detach()
    return dense.to_dense() if dense.layout is not torch.strided else dense
