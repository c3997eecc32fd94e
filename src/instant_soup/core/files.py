"""Files: written beside and renamed, so that a reader finds the old one or the new one, whole."""

from __future__ import annotations

import contextlib
import json
import os
import re
import stat
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any
from uuid import uuid4

from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import Tensor

from .errors import DataError, SoupError, StoreError
from .filetype import not_ours
from .stored import header

_KEY = "instant_soup"  # the one metadata entry, a JSON object
# as `write` names a file until it is whole
_BESIDE = re.compile(r"\.(?P<name>.+)\.[0-9a-z]{4,32}", re.DOTALL)


def write(path: Path, fill: Callable[[Path], object]) -> None:
    """Let *fill* write a file beside *path* that then takes its place, whole or not at all.

    Raises StoreError where it cannot be written, or where what is there is no regular file.
    """
    refuse_irregular(path)
    beside = path.with_name(f".{path.name}.{uuid4().hex}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        beside.touch()
        # what the user's umask gives; safetensors would make it private
        mode = beside.stat().st_mode

        fill(beside)
        beside.chmod(mode)

        # the content has to be on the disk before the name points to it
        with beside.open("rb") as written:
            os.fsync(written.fileno())
        beside.replace(path)
    except (OSError, SafetensorError) as reason:
        raise StoreError(
            f"could not write {path} ({reason}); free some space or choose another folder"
        ) from reason
    finally:
        with contextlib.suppress(OSError):
            beside.unlink(missing_ok=True)


def refuse_irregular(path: Path) -> None:
    """Raise StoreError where something is at *path* that is no regular file: a rename would replace it all the same.

    Links are not followed, so that no device, pipe or socket is replaced, nor a link by what was meant for its target.
    """
    try:
        mode = path.lstat().st_mode
    except (FileNotFoundError, NotADirectoryError):
        return
    except (OSError, ValueError) as reason:
        # a name that is too long, or that no file can have
        raise StoreError(
            f"could not write {path} ({reason}); choose another name"
        ) from reason

    if not stat.S_ISREG(mode):
        raise StoreError(
            f"{path} is {_kind(mode)} and no regular file; choose another name, nothing was written"
        )


def _kind(mode: int) -> str:
    """What a file of this *mode* is called."""
    kinds = {
        stat.S_ISLNK: "a symbolic link",
        stat.S_ISDIR: "a folder",
        stat.S_ISFIFO: "a pipe",
        stat.S_ISSOCK: "a socket",
        stat.S_ISCHR: "a device",
        stat.S_ISBLK: "a device",
    }
    for is_kind, name in kinds.items():
        if is_kind(mode):
            return name
    return "something else"


def write_text(path: Path, text: str) -> None:
    """Write *text* to *path*, in one piece or not at all. Raises StoreError."""
    write(path, lambda beside: beside.write_text(text, encoding="utf-8"))


def write_tensors(
    path: Path, tensors: Mapping[str, Tensor], facts: Mapping[str, Any]
) -> None:
    """Write safetensors with *facts* as JSON metadata, in one piece or not at all. Raises StoreError."""
    solid = {}
    for name, tensor in tensors.items():
        solid[name] = tensor.detach().cpu().contiguous()

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


def half_written(path: Path) -> list[Path]:
    """What killed processes left beside *path* while they were writing it."""
    return left_behind(path.parent, [path.name])


def left_behind(folder: Path, names: Collection[str]) -> list[Path]:
    """What killed processes left in *folder* while they were writing files of these *names*, as `write` calls it.

    Hidden files of another origin, links and folders are none of it.
    """
    left = []
    for path in sorted(folder.glob(".*")):
        match = _BESIDE.fullmatch(path.name)
        if match and match["name"] in names and path.is_file() and not path.is_symlink():
            left.append(path)
    return left
