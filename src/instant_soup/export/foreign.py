"""Foreign: sparse models as other tools write them, read as masks and weights by name.

What a file is, is told by what is in it and never by its name. Safetensors are read as they are, in one file or in
shards. Pickles run code when they are opened, so they are read only on request and then by torch's loader that knows
nothing but tensors. What the tensors mean is in `instant_soup.export.layouts`.
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
from .layouts import Foreign, beside, foreign

PICKLED = "pytorch_model.bin"
PICKLED_INDEX = "pytorch_model.bin.index.json"
# what a Trainer keeps with the weights
_BESIDE = ("training_args", "optimizer", "scheduler", "scaler", "rng_state")


def read(path: str | Path, *, pickle: bool = False) -> Foreign:
    """Read the sparse model at *path*, a file or a folder.

    Args:
        pickle: whether a pickle may be read, by ``torch.load(weights_only=True)``.

    Raises:
        DataError: there is none, it is damaged or of no kind that is known, or it is a pickle and that was not allowed.
    """
    path = Path(path)
    try:
        pickled = _pickles_in(path)
    except OSError as reason:
        raise DataError(
            f"{path} cannot be read ({reason.strerror}); check the path"
        ) from reason
    if not pickled:
        return _of_safetensors(path)

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
    return beside(weights, masks) if masks else foreign(weights)


def _of_safetensors(path: Path) -> Foreign:
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
    return foreign(checkpoint)


def _own_kind(metadata: Mapping[str, Any]) -> str:
    """What of ours a file is, by its metadata."""
    try:
        facts = json.loads(metadata.get("instant_soup", "{}"))
        return "ticket" if "scope" in facts else str(facts.get("format", ""))
    except (ValueError, TypeError, AttributeError, RecursionError):
        return ""


def _pickles_in(path: Path) -> list[Path]:
    """The pickles at *path*, if that is what there is. Raises DataError where there is neither tensors nor a pickle."""
    if path.is_dir():
        return _pickles_of(path)

    kind = file_type(path)
    if kind.kind == "other":
        raise DataError(
            f"{path} is {kind.words}, neither safetensors nor a pickle; {kind.advice}"
        )
    return [path] if kind.kind == "pickle" else []


def _pickles_of(folder: Path) -> list[Path]:
    """The pickles of a model's *folder*; none where it holds safetensors."""
    # safetensors first: whoever keeps both means the one that runs no code
    known = (folder / INDEX, folder / SINGLE)
    if any(path.is_file() for path in known) or any(folder.glob("*.safetensors")):
        return []
    if (folder / PICKLED_INDEX).is_file():
        return _shards(folder)
    if (folder / PICKLED).is_file():
        return [folder / PICKLED]

    pickled = []
    for file in sorted(folder.iterdir()):
        beside_weights = file.name.startswith(_BESIDE) or not file.is_file()
        if not beside_weights and file_type(file).kind == "pickle":
            pickled.append(file)

    if len(pickled) > 1:
        names = ", ".join(file.name for file in pickled[:4])
        raise DataError(
            f"{folder} holds {len(pickled)} pickles ({names}); give the one that is meant"
        )
    return pickled


def _shards(folder: Path) -> list[Path]:
    path = folder / PICKLED_INDEX
    try:
        index = json.loads(path.read_text(encoding="utf-8"))
        names = set(index["weight_map"].values())
        # a name with a folder in it could lead anywhere
        present = [
            Path(name).name == name and (folder / name).is_file() for name in names
        ]
    except UNREADABLE as reason:
        raise DataError(
            f"{path} is not a readable index ({reason!r}); restore it"
        ) from reason

    if not names or not all(present):
        raise DataError(f"{path} names files that are not in its folder; restore them")
    return [folder / name for name in sorted(names)]
