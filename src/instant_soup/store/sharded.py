"""Pieces: tensors that ranks hold between them, saved by torch.distributed.checkpoint and cut anew when read.

FOLDER/PLACE-NUMBER.pieces/   one safetensors file of each rank, and facts.json

Any number of ranks may read what any other number has written, one that works alone included. Everything is written
beside and renamed, so that a killed team leaves the place before or the new one, whole. No file holds pickled objects.
"""

from __future__ import annotations

import json
import shutil
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch import distributed as dist
from torch.distributed.checkpoint.hf_storage import HuggingFaceStorageReader, HuggingFaceStorageWriter
from torch.distributed.checkpoint.metadata import TensorStorageMetadata
from torch.distributed.checkpoint.state_dict_loader import load as read
from torch.distributed.checkpoint.state_dict_saver import save as write
from torch.distributed.tensor import DTensor

from ..core.errors import StoreError
from ..core.files import write_text
from ..core.ranks.team import Team
from ..training.layout import empty_rows

_FACTS = "facts.json"


def found(folder: Path, place: str) -> Path | None:
    """Where *place* was last saved in pieces, if it was."""
    return max(folder.glob(f"{place}-*.pieces"), default=None, key=_number)


def save(folder: Path, place: str, tensors: Mapping[str, Tensor], facts: Mapping[str, Any], team: Team) -> None:
    """Keep *tensors*, DTensors or the same on every rank, and *facts*, over what was kept at *place*."""
    number = team.told(_number(last) + 1 if (last := found(folder, place)) else 1)
    beside, name = folder / f".{place}.new", f"{place}-{number:06d}.pieces"
    if team.rank == 0:
        shutil.rmtree(beside, ignore_errors=True)
        beside.mkdir(parents=True)
    team.told(None)  # before anyone writes into it
    whole = {key: list(tensor.shape) for key, tensor in tensors.items() if not isinstance(tensor, DTensor)}
    solid = {key: tensor.detach().reshape(-1) if key in whole else tensor for key, tensor in tensors.items()}
    write(solid, storage_writer=HuggingFaceStorageWriter(str(beside), save_distributed=True))
    if team.rank == 0:
        write_text(beside / _FACTS, json.dumps({"facts": facts, "whole": whole}))
        beside.rename(folder / name)
        for old in folder.glob(f"{place}-*.pieces"):
            if old.name != name:
                shutil.rmtree(old, ignore_errors=True)
    team.told(None)


def load(path: Path, *, cut: bool) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """What `save` kept at *path*: as DTensors over the ranks that are here now, or whole. Raises StoreError."""
    try:
        said = json.loads((path / _FACTS).read_text(encoding="utf-8"))
        reader = HuggingFaceStorageReader(str(path))
        room: dict[str, Any] = {}
        for key, kept in reader.read_metadata().state_dict_metadata.items():
            if isinstance(kept, TensorStorageMetadata):
                make = empty_rows if cut and key not in said["whole"] else _empty
                room[key] = make(tuple(kept.size), kept.properties.dtype)
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "torch.distributed is disabled")  # it is meant to be, for one alone
            read(room, storage_reader=reader, no_dist=not dist.is_initialized())
    except (OSError, ValueError, KeyError) as reason:
        raise StoreError(
            f"{path} cannot be read ({reason}); remove it, and the run begins this stage again"
        ) from reason
    tensors = {key: tensor.view(said["whole"][key]) if key in said["whole"] else tensor for key, tensor in room.items()}
    return tensors, said["facts"]


def remove(folder: Path, place: str) -> None:
    """Forget *place*."""
    for path in folder.glob(f"{place}-*.pieces"):
        shutil.rmtree(path, ignore_errors=True)


def _empty(shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
    return torch.empty(shape, dtype=dtype)


def _number(path: Path) -> int:
    return int(path.stem.rpartition("-")[2])
