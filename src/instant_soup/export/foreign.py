"""Foreign: reads sparse models that other tools wrote, as masks and weights by name.

The content of a file decides what it is, never its name. Safetensors are read as they are, in one file or in shards.
Pickles run code when they are opened, so they are read only on request, and then by torch's loader that knows nothing
but tensors. `instant_soup.export.layouts` knows what the tensors mean.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from ..checkpoints.checkpoint import INDEX, SINGLE, Checkpoint
from ..core.errors import DataError
from ..core.filetype import file_type
from ..core.stored import UNREADABLE, header
from . import bitmask, pickles
from .layouts import Foreign, interpret, interpret_pairs

PICKLED = "pytorch_model.bin"
PICKLED_INDEX = "pytorch_model.bin.index.json"
# how files begin that a Trainer keeps with the weights
_NOT_WEIGHTS = ("training_args", "optimizer", "scheduler", "scaler", "rng_state")


def read(path: str | Path, *, pickle: bool = False) -> Foreign:
    """Read the sparse model at *path*, a file or a folder.

    Args:
        pickle: whether a pickle may be read, by ``torch.load(weights_only=True)``.

    Raises:
        DataError: there is no model, it is damaged or of an unknown kind, or it is a pickle and that was not allowed.
    """
    path = Path(path)
    try:
        pickled = _find_pickles(path)
    except OSError as reason:
        raise DataError(
            f"{path} cannot be read ({reason.strerror}); check the path"
        ) from reason
    if not pickled:
        return _read_safetensors(path)
    if not pickle:
        raise DataError(
            f"{pickled[0]} is a pickle, which can run code when it is read; if you trust where it is from, allow it "
            f"with --pickle (pickle=True), and only its tensors are read"
        )

    weights: dict[str, Tensor] = {}
    masks: dict[str, Tensor] = {}
    for file in pickled:
        more_weights, more_masks = pickles.read(file)
        weights |= more_weights
        masks |= more_masks
    if masks:
        return interpret_pairs(weights, masks)
    return interpret(weights)


def _read_safetensors(path: Path) -> Foreign:
    """The model in the safetensors at *path*. Raises DataError where it is a ticket already."""
    checkpoint = Checkpoint.open(path)
    _, metadata = header(checkpoint.files[0])

    kind = _own_kind(metadata)
    if kind == "ticket":
        raise DataError(
            f"{path} is a ticket already; `instant-soup ticket info` shows it"
        )
    if kind == "bitmask":
        bundle = bitmask.read(checkpoint.files[0])
        return Foreign("bitmask file of instant-soup", bundle.tensors, bundle.mask)
    return interpret(checkpoint)


def _own_kind(metadata: Mapping[str, Any]) -> str:
    """The kind of a file that this library wrote, by its metadata; "" for a file of another tool."""
    try:
        facts = json.loads(metadata.get("instant_soup", "{}"))
        return "ticket" if "scope" in facts else str(facts.get("format", ""))
    except (ValueError, TypeError, AttributeError, RecursionError):
        return ""


def _find_pickles(path: Path) -> list[Path]:
    """The pickles at *path*; none where there are safetensors. Raises DataError where there is neither."""
    if path.is_dir():
        return _pickles_in_folder(path)

    kind = file_type(path)
    if kind.kind == "other":
        raise DataError(
            f"{path} is {kind.words}, neither safetensors nor a pickle; {kind.advice}"
        )
    return [path] if kind.kind == "pickle" else []


def _pickles_in_folder(folder: Path) -> list[Path]:
    """The pickles of a model's *folder*; none where it holds safetensors."""
    # safetensors first: whoever keeps both means the one that runs no code
    known = (folder / INDEX, folder / SINGLE)
    if any(path.is_file() for path in known) or any(folder.glob("*.safetensors")):
        return []
    if (folder / PICKLED_INDEX).is_file():
        return _pickled_shards(folder)
    if (folder / PICKLED).is_file():
        return [folder / PICKLED]

    pickled = []
    for file in sorted(folder.iterdir()):
        is_other = file.name.startswith(_NOT_WEIGHTS) or not file.is_file()
        if not is_other and file_type(file).kind == "pickle":
            pickled.append(file)

    if len(pickled) > 1:
        names = ", ".join(file.name for file in pickled[:4])
        raise DataError(
            f"{folder} holds {len(pickled)} pickles ({names}); give the one that is meant"
        )
    return pickled


def _pickled_shards(folder: Path) -> list[Path]:
    """The files that the index of a sharded pickle names. Raises DataError where one is not in *folder*."""
    path = folder / PICKLED_INDEX
    try:
        index = json.loads(path.read_text(encoding="utf-8"))
        names = sorted(set(index["weight_map"].values()))
        are_present = all(_is_inside(name, folder) for name in names)
    except UNREADABLE as reason:
        raise DataError(
            f"{path} is not a readable index ({reason!r}); restore it"
        ) from reason

    if not names or not are_present:
        raise DataError(f"{path} names files that are not in its folder; restore them")
    return [folder / name for name in names]


def _is_inside(name: str, folder: Path) -> bool:
    """Whether the file *name* is in *folder*, and not elsewhere by way of a path in its name."""
    return Path(name).name == name and (folder / name).is_file()
