"""Sharded: tensors that ranks hold between them, saved by torch.distributed.checkpoint and cut anew when read.

FOLDER/PLACE-NUMBER.pieces/   one safetensors file of each rank, and facts.json

Any number of ranks may read what any other number has written, one that works alone included. Everything is written
beside and renamed, so that a killed team leaves the place before or the new one, whole. No file holds pickled objects.
"""

from __future__ import annotations

import shutil
import warnings
from collections.abc import Mapping
from glob import escape
from hashlib import file_digest
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch import distributed as dist
from torch.distributed.checkpoint.hf_storage import (
    HuggingFaceStorageReader,
    HuggingFaceStorageWriter,
)
from torch.distributed.checkpoint.metadata import TensorStorageMetadata
from torch.distributed.checkpoint.state_dict_loader import load as read
from torch.distributed.checkpoint.state_dict_saver import save as write
from torch.distributed.tensor import DTensor

from ..core.errors import StoreError
from ..core.ranks.team import Team
from ..training.layout import empty_rows
from .plain import read_sealed, write_sealed

_FACTS = "facts.json"


def last(folder: Path, place: str) -> Path | None:
    """Where *place* was last saved in pieces, if it was."""
    return max(_saved(folder, place), default=None, key=_number)


def save(
    folder: Path,
    place: str,
    tensors: Mapping[str, Tensor],
    facts: Mapping[str, Any],
    team: Team,
) -> None:
    """Keep *tensors*, DTensors or the same on every rank, and *facts*, over what was kept at *place*."""
    before = last(folder, place)
    number = team.told(_number(before) + 1 if before else 1)
    beside = folder / f".{place}.new"
    name = f"{place}-{number:06d}.pieces"
    if team.rank == 0:
        shutil.rmtree(beside, ignore_errors=True)
        beside.mkdir(parents=True)
    team.told(None)  # before anyone writes into it

    # what every rank has whole is written flat, and its shape is noted
    whole: dict[str, list[int]] = {}
    solid: dict[str, Tensor] = {}
    for key, tensor in tensors.items():
        if isinstance(tensor, DTensor):
            solid[key] = tensor
        else:
            whole[key] = list(tensor.shape)
            solid[key] = tensor.detach().reshape(-1)

    writer = HuggingFaceStorageWriter(str(beside), save_distributed=True)
    write(solid, storage_writer=writer)

    if team.rank == 0:
        notes = {"facts": dict(facts), "whole": whole, "files": _digests(beside)}
        write_sealed(beside / _FACTS, notes)
        beside.rename(folder / name)
        for old in _saved(folder, place):
            if old.name != name:
                shutil.rmtree(old, ignore_errors=True)
    team.told(None)


def load(
    path: Path, team: Team, *, cut: bool
) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """What `save` kept at *path*: as DTensors over the ranks of *team*, or whole. Raises StoreError."""
    try:
        notes = read_sealed(path / _FACTS)
        _refuse_damage(team.told(_damaged(path, notes) if team.rank == 0 else ""))
        reader = HuggingFaceStorageReader(str(path))
        room: dict[str, Any] = {}
        for key, kept in reader.read_metadata().state_dict_metadata.items():
            if isinstance(kept, TensorStorageMetadata):
                make = empty_rows if cut and key not in notes["whole"] else _empty
                room[key] = make(tuple(kept.size), kept.properties.dtype)

        with warnings.catch_warnings():
            # it is meant to be, for one alone
            warnings.filterwarnings("ignore", "torch.distributed is disabled")
            read(room, storage_reader=reader, no_dist=not dist.is_initialized())
    except (OSError, ValueError, KeyError) as reason:
        raise StoreError(
            f"{path} cannot be read ({reason}); remove it, and the run begins this stage again"
        ) from reason

    tensors = {}
    for key, tensor in room.items():
        shape = notes["whole"].get(key)
        tensors[key] = tensor if shape is None else tensor.view(shape)
    return tensors, notes["facts"]


def remove(folder: Path, place: str) -> None:
    """Forget *place*."""
    for path in _saved(folder, place):
        shutil.rmtree(path, ignore_errors=True)


def _saved(folder: Path, place: str) -> list[Path]:
    folders = folder.glob(f"{escape(place)}-*.pieces")
    return [path for path in folders if not path.is_symlink()]


def _digests(folder: Path) -> dict[str, str]:
    """SHA-256 of each file of tensors."""
    digests = {}
    for path in sorted(folder.glob("*.safetensors")):
        with path.open("rb") as file:
            digests[path.name] = file_digest(file, "sha256").hexdigest()
    return digests


def _refuse_damage(name: str) -> None:
    if name:
        raise ValueError(f"{name} is not as it was written")


def _damaged(folder: Path, notes: Mapping[str, Any]) -> str:
    """The first file of tensors that is not as it was written; nothing where an earlier version noted no digests."""
    if "files" not in notes:
        return ""
    now = _digests(folder)
    names = sorted({*now, *notes["files"]})
    return next((name for name in names if now.get(name) != notes["files"].get(name)), "")


def _empty(shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
    return torch.empty(shape, dtype=dtype)


def _number(path: Path) -> int:
    return int(path.stem.rpartition("-")[2])
