"""Files: written beside and renamed, so that a reader finds the old one or the new one, whole.

Without torch, so that commands that write text alone need not wait for it.
"""

from __future__ import annotations

import os
import re
import shutil
import stat
import time
from collections.abc import Callable, Collection, Iterable
from contextlib import suppress
from pathlib import Path
from uuid import uuid4

from safetensors import SafetensorError

from .errors import StoreError

# seconds after which nobody writes to what is half-written any more
_ABANDONED = 600

HALF = re.compile(r"\.(?P<name>.+)\.[0-9a-f]{32}", re.DOTALL)
"""What files and exports are called until they are whole: `staging_of` their names."""


def write(path: Path, fill: Callable[[Path], object]) -> None:
    """Let *fill* write a file beside *path* that then takes its place, whole or not at all.

    Raises StoreError where it cannot be written, or where what is there is no regular file.
    """
    refuse_irregular(path)
    # a folder, for libraries put files of their own beside the one that they are to write
    staging = staging_of(path)
    beside = staging / path.name
    try:
        staging.mkdir(parents=True)
        forget_abandoned(path)
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
        shutil.rmtree(staging, ignore_errors=True)


def staging_of(path: Path) -> Path:
    """A hidden folder beside *path*, where what will be there is made; of a name that nobody else has."""
    return path.with_name(f".{path.name}.{uuid4().hex}")


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


def half_written(path: Path) -> list[Path]:
    """What killed processes left beside *path* while they were writing it."""
    return left_behind(path.parent, [path.name])


def left_behind(folder: Path, names: Collection[str]) -> list[Path]:
    """What killed processes left in *folder* while they were writing files of these *names*, as `write` calls it.

    Hidden files of another origin and links are none of it.
    """
    left = []
    for path in sorted(folder.glob(".*")):
        match = HALF.fullmatch(path.name)
        if match and match["name"] in names and not path.is_symlink():
            left.append(path)
    return left


def forget(left: Iterable[Path]) -> None:
    """Remove what `left_behind` found. For who knows that nobody writes to it any more."""
    for path in left:
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
            continue
        # a file, as earlier versions left them
        with suppress(OSError):
            path.unlink()


def forget_abandoned(path: Path) -> None:
    """Remove what was left beside *path* so long ago that whoever wrote it is dead."""
    forget(left for left in half_written(path) if is_abandoned(left))


def is_abandoned(left: Path) -> bool:
    """Whether nobody has written to *left*, a file or a folder, for as long as a writer never pauses."""
    try:
        newest = left.lstat().st_mtime
        for part in left.rglob("*"):
            newest = max(newest, part.lstat().st_mtime)
    except OSError:
        return False  # it is going just now
    return time.time() - newest > _ABANDONED
