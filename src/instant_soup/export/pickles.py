"""Pickles: reads the tensors in a file of torch, by torch's loader that knows nothing but tensors, and checks each.

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
_INTEGERS = (torch.bool, torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64)


def read(
    path: Path, limit: int | None = None
) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """The weights and the masks in the pickle at *path*, by name. No code in it is run.

    Args:
        limit: bytes that its tensors may unfold into; by default 1 GiB or 256 times the file, whichever is more.

    Raises:
        DataError: it holds other objects than tensors, no tensors by name, or tensors that are not plain numbers.
    """
    content = _load(path)
    weights, masks = _separate(content)
    if not weights and not masks:
        raise DataError(
            f"{path} holds no tensors by name; expected a state dict or masks"
        )

    try:
        return _make_plain(weights, masks, limit_of(path, limit))
    except DataError as reason:
        raise DataError(f"{path} cannot be taken as it is: {reason}") from reason


def _load(path: Path) -> Any:
    """The content of the pickle at *path*. Raises DataError where it cannot be read as tensors alone."""
    try:
        # the open file, because torch reads some suffixes of a path in another way; and the check of sparse tensors,
        # because indices out of range would read beyond their memory
        with path.open("rb") as file, torch.sparse.check_sparse_tensor_invariants(True):  # type: ignore[no-untyped-call]
            return torch.load(file, map_location="cpu", weights_only=True)
    except Exception as reason:
        # of bytes that are no sound pickle, its machine raises whatever its stack gives
        raise DataError(
            f"{path} could not be read as tensors alone ({_reason_line(reason)}); save its state dict as safetensors"
        ) from reason


def _reason_line(reason: Exception) -> str:
    """The object that torch refuses, without its advice to allow it; or the first line of another error."""
    kind = re.search(r"GLOBAL ([\w.]+)", str(reason))
    if kind:
        return f"it holds a {kind[1]}"
    lines = str(reason).strip().splitlines() or [type(reason).__name__]
    return re.sub(r"\x1b\[[0-9;]*m", "", lines[0])


def _separate(content: Any) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """The weights of the innermost dictionary, and the masks of the outermost one that has any."""
    masks: dict[str, Tensor] = {}
    seen: set[int] = set()
    while _is_dictionary(content) and id(content) not in seen and len(seen) < _DEPTH:
        seen.add(id(content))

        for key in MASKS:
            if not masks and _is_dictionary(content.get(key)):
                masks = _tensors(content[key])

        inner = _inner_weights(content, seen)
        if inner is None:
            return _tensors(content), masks
        content = inner

    return {}, masks


def _inner_weights(content: Mapping[str, Any], seen: set[int]) -> Any:
    """The dictionary of weights in *content*; None without one that was not *seen* before: one may hold itself."""
    for key in WEIGHTS:
        inner = content.get(key)
        if _is_dictionary(inner) and id(inner) not in seen:
            return inner
    return None


def _is_dictionary(content: object) -> bool:
    return isinstance(content, Mapping) and all(isinstance(name, str) for name in content)


def _tensors(content: Mapping[str, Any]) -> dict[str, Tensor]:
    return {name: value for name, value in content.items() if isinstance(value, Tensor)}


def _make_plain(
    weights: Mapping[str, Tensor], masks: Mapping[str, Tensor], limit: int
) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Weights and masks as plain, dense tensors. Raises DataError where one cannot be, or all are too large."""
    size = 0
    for name, tensor in [*weights.items(), *masks.items()]:
        _check(name, tensor)
        # as large as it is when dense: a sparse or expanded tensor takes next to nothing in the file
        size += tensor.numel() * tensor.element_size()
    check_room(size, limit)

    dense_weights = {name: _make_dense(tensor) for name, tensor in weights.items()}
    dense_masks = {name: _make_dense(tensor) for name, tensor in masks.items()}
    return dense_weights, dense_masks


def _check(name: str, tensor: Tensor) -> None:
    """Raise DataError unless *tensor* holds plain numbers."""
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

    if tensor.dtype not in _FLOATS + _INTEGERS:
        raise DataError(
            f"{name!r} is {tensor.dtype}; expected {', '.join(map(str, _FLOATS))}, or whole numbers"
        )


def _make_dense(tensor: Tensor) -> Tensor:
    detached = tensor.detach()
    if detached.layout is torch.strided:
        return detached
    return detached.to_dense()
