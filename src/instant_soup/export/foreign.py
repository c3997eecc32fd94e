"""Foreign: sparse models as other tools write them, read as masks and weights by name.

Known are dense safetensors with zeros (a file, or a folder with shards); the ``weight_orig`` and ``weight_mask`` of
torch's pruning; the masks of open_lth (a 0 or 1 for each weight, by name), and the ``mask_NAME`` buffers of its models;
the ``sparse-bitmask`` of SparseML, llm-compressor and compressed-tensors; and our own bitmask files. Pickles run code
when they are opened, so they are read only on request and then by torch's loader that knows nothing but tensors.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from math import prod
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..checkpoints.checkpoint import Checkpoint
from ..core.errors import DataError
from ..core.stored import header
from ..core.weights import Lazy, Weights, spread
from . import bitmask

PICKLES = (".pt", ".pth", ".bin", ".ckpt", ".pkl", ".pickle")
_NESTED = ("state_dict", "model_state_dict", "model")
_COMPRESSED, _BITMASK, _SHAPE, _ROWS = ".compressed", ".bitmask", ".shape", ".row_offsets"
_ORIGINAL, _MASK, _BUFFER = "_orig", "_mask", "mask_"


@dataclass(frozen=True)
class Foreign:
    """What a file of another tool holds.

    Attributes:
        kind: in words, for the report.
        weights: dense tensors, made when asked for.
        masks: bool or 0 and 1, of the parameters whose masks are there; of others the zeros are what is pruned.
    """

    kind: str
    weights: Weights
    masks: Weights = field(default_factory=dict)


def read(path: str | Path, *, pickle: bool = False) -> Foreign:
    """Read the sparse model at *path*, a file or a folder.

    Args:
        pickle: whether a pickle may be read, by ``torch.load(weights_only=True)``.

    Raises:
        DataError: there is none, it is damaged, or it is a pickle and that was not allowed.
    """
    path = Path(path)
    if (pickled := _pickled(path)) is not None:
        if not pickle:
            raise DataError(
                f"{pickled} is a pickle, which can run code when it is read; if you trust where it is from, allow it "
                f"with --pickle (pickle=True), and only its tensors are read"
            )
        return _of_tensors(_unpickled(pickled))
    checkpoint = Checkpoint.open(path)
    _, metadata = header(checkpoint.files[0])
    kind = _kind(metadata)
    if kind == "ticket":
        raise DataError(f"{path} is a ticket already; `instant-soup ticket info` shows it")
    if kind == "bitmask":
        found = bitmask.read(checkpoint.files[0])
        return Foreign("bitmask file of instant-soup", found.tensors, found.mask)
    return _of_tensors(checkpoint)


def _kind(metadata: Mapping[str, Any]) -> str:
    """What of ours a file is, by its metadata."""
    try:
        facts = json.loads(metadata.get("instant_soup", "{}"))
        return "ticket" if "scope" in facts else str(facts.get("format", ""))
    except (ValueError, TypeError, AttributeError, RecursionError):
        return ""


def _pickled(path: Path) -> Path | None:
    """The pickle at *path*, if that is what there is."""
    if path.is_dir():
        found = sorted(file for file in path.iterdir() if file.suffix in PICKLES)
        return found[0] if len(found) == 1 and not any(path.glob("*.safetensors")) else None
    return path if path.suffix in PICKLES else None


def _unpickled(path: Path) -> dict[str, Tensor]:
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except (
        OSError,
        EOFError,
        RuntimeError,
        ValueError,
        TypeError,
        KeyError,
        AttributeError,
        UnpicklingError,
    ) as reason:
        first = (str(reason).strip().splitlines() or [type(reason).__name__])[0]
        raise DataError(f"{path} could not be read as tensors alone ({first}); save it as safetensors") from reason
    while isinstance(content, dict) and (inner := next((content[key] for key in _NESTED if key in content), None)):
        if not isinstance(inner, dict):
            break
        content = inner
    found = {name: value for name, value in content.items() if isinstance(value, Tensor)} if _is_dict(content) else {}
    if not found:
        raise DataError(f"{path} holds no tensors by name; expected a state dict or masks")
    return found


def _is_dict(content: object) -> bool:
    return isinstance(content, dict) and all(isinstance(name, str) for name in content)


def _of_tensors(tensors: Weights) -> Foreign:
    """Masks and weights from the names that tools give them."""
    if made := _pairs(tensors, _ORIGINAL, _MASK):
        masks = Lazy(made, lambda name: tensors[name + _MASK] != 0)

        def product(name: str) -> Tensor:
            return tensors[name + _ORIGINAL].masked_fill(tensors[name + _MASK] == 0, 0)

        left = _others(tensors, (name + end for name in made for end in (_ORIGINAL, _MASK)))
        return Foreign("state dict with weight_orig and weight_mask", _joined(made, product, left), masks)
    if made := _pairs(tensors, _COMPRESSED, _BITMASK, _SHAPE):
        ends = (_COMPRESSED, _BITMASK, _SHAPE, _ROWS)
        left = _others(tensors, (name + end for name in made for end in ends))
        named = {name if name.endswith(".weight") else f"{name}.weight": name for name in made}
        return Foreign("sparse-bitmask", _joined(named, lambda name: _decompressed(tensors, named[name]), left))
    buffers = {name.removeprefix(_BUFFER).replace("___", "."): name for name in tensors if name.startswith(_BUFFER)}
    if buffers:
        masks = Lazy(buffers, lambda name: tensors[buffers[name]])
        left = _others(tensors, buffers.values())
        return Foreign("open_lth model with masks", _joined((), left.__getitem__, left), masks)
    if all(_is_mask(tensors[name]) for name in tensors):
        return Foreign("masks by name, as open_lth writes them", {}, tensors)
    return Foreign("dense checkpoint", tensors)


def _pairs(tensors: Weights, *ends: str) -> list[str]:
    """The names to which there is a tensor with each of the *ends*."""
    names = [name.removesuffix(ends[0]) for name in tensors if name.endswith(ends[0])]
    return [name for name in names if all(name + end in tensors for end in ends)]


def _others(tensors: Weights, taken: Iterable[str]) -> Lazy:
    known = set(taken)
    return Lazy([name for name in tensors if name not in known], lambda name: tensors[name])


def _joined(made: Iterable[str], make: Callable[[str], Tensor], left: Lazy) -> Lazy:
    names = dict.fromkeys(made)
    return Lazy([*names, *left], lambda name: make(name) if name in names else left[name])


def _is_mask(tensor: Tensor) -> bool:
    whole = not tensor.is_floating_point() and not tensor.is_complex()
    return tensor.ndim > 0 and whole and bool(((tensor == 0) | (tensor == 1)).all())


def _decompressed(tensors: Weights, name: str) -> Tensor:
    """A tensor from its non-zero values in order and, row by row, its bits: lowest first, rows filled up to bytes."""
    shape = [int(length) for length in tensors[name + _SHAPE].reshape(-1)[:8]]
    packed, values = tensors[name + _BITMASK], tensors[name + _COMPRESSED].reshape(-1)
    rows = prod(shape[:-1])
    wanted = rows * -(-shape[-1] // 8) if shape and min(shape) > 0 else -1
    if packed.dtype != torch.uint8 or packed.numel() != wanted:
        raise DataError(
            f"the bitmask of {name!r} is {packed.dtype} with {packed.numel():,} bytes; "
            f"expected torch.uint8 that holds rows of shape {shape}"
        )
    flags = np.unpackbits(packed.reshape(rows, -1).numpy(), axis=1, count=shape[-1], bitorder="little")
    kept = torch.from_numpy(flags.view(np.bool_)).reshape(shape)
    if int(kept.sum()) != len(values):
        raise DataError(f"the bitmask of {name!r} keeps {int(kept.sum()):,} weights and it has {len(values):,} values")
    return spread(values, kept)
