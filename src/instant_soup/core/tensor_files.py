"""Tensor files: tensors and what is known of them in one safetensors file, written whole and read back checked."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors.torch import save_file
from torch import Tensor

from .errors import DataError, SoupError
from .files import write
from .filetype import not_ours
from .stored import header

_KEY = "instant_soup"  # the one metadata entry, a JSON object


def write_tensors(
    path: Path, tensors: Mapping[str, Tensor], facts: Mapping[str, Any]
) -> None:
    """Write safetensors with *facts* as JSON metadata, in one piece or not at all. Raises StoreError."""
    solid = {}
    written: set[int] = set()
    for name, tensor in tensors.items():
        alone = tensor.detach().cpu().contiguous()
        memory = alone.untyped_storage().data_ptr()
        # a file has each tensor in bytes of its own, those that a model ties to one another too
        solid[name] = alone.clone() if memory in written else alone
        written.add(memory)

    metadata = {_KEY: json.dumps(facts, sort_keys=True)}
    write(path, lambda beside: save_file(solid, beside, metadata))


def read_tensors(
    path: Path, error: type[SoupError], what: str
) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Read what `write_tensors` wrote. Raises *error* when *path* holds no readable *what*."""
    if not path.exists():
        raise error(f"no {what} at {path}; check the path")

    stranger = not_ours(path)
    if stranger is not None:
        lacking = (
            f"no {what} at {path}"
            if path.is_dir()
            else f"{path} is not a readable {what}"
        )
        raise error(f"{lacking}: it is {stranger.words}; {stranger.advice}")

    try:
        tensors, facts = _unpacked(path)
    except (
        DataError,
        OSError,
        KeyError,
        TypeError,
        ValueError,
        RecursionError,
    ) as reason:
        raise error(
            f"{path} is not a readable {what} ({reason}); it may be truncated or of another kind"
        ) from reason

    if facts is None:
        raise error(
            f"{path} is not a readable {what}: it holds tensors of another tool; where they are weights of a sparse "
            f"model, `instant-soup import` makes a ticket of them"
        )
    return tensors, facts


def _unpacked(path: Path) -> tuple[dict[str, Tensor], Any]:
    """The tensors of a file and what we wrote beside them; None in place of that in a file of another tool."""
    parts, metadata = header(path)
    if _KEY not in metadata:
        return {}, None
    tensors = {name: part.read() for name, part in parts.items()}
    return tensors, json.loads(metadata[_KEY])
