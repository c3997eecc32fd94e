"""Staging: writes an export elsewhere first, so that it appears complete and checked, or not at all."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from safetensors import SafetensorError

from ..core.errors import StoreError
from ..core.files import forget_abandoned, staging_of

_FULL_BELOW = 1 << 16  # bytes; with fewer free, a disk is full


def refuse_existing(out: Path) -> None:
    """Raise StoreError where there is something at *out* already, whatever it is."""
    # not exists(), which is false of a link to nowhere
    if os.path.lexists(out):
        raise StoreError(f"{out} exists already; choose another name or remove it")


def _is_full(folder: Path) -> bool:
    return folder.exists() and shutil.disk_usage(folder).free < _FULL_BELOW


def _make_readable(folder: Path) -> None:
    """Give the files in *folder* the rights that the user's umask gives: safetensors makes its own private."""
    example = folder / ".rights"
    example.touch()
    mode = example.stat().st_mode
    example.unlink()

    for path in folder.rglob("*"):
        if path.is_file() and not path.is_symlink():
            path.chmod(mode)


@contextmanager
def staged(out: Path) -> Iterator[Path]:
    """Yield a path to write to. At the end of the block the file there, and files beside it, move to *out*'s folder.

    Nothing is left behind if anything goes wrong.

    Raises:
        StoreError: there is something at *out* already, or the disk fails.
    """
    refuse_existing(out)
    folder = staging_of(out)
    try:
        forget_abandoned(out)
        folder.mkdir(parents=True)
        yield folder / out.name

        _make_readable(folder)
        # the file itself comes last, so that whoever sees it finds the files beside it
        files = sorted(folder.iterdir(), key=lambda file: file.name == out.name)
        for file in files:
            refuse_existing(out.parent / file.name)
        for file in files:
            file.rename(out.parent / file.name)
    except StoreError:
        raise
    except (OSError, SafetensorError) as reason:
        raise StoreError(
            f"could not write {out} ({reason}); free some space or choose another folder"
        ) from reason
    # libraries that write files raise many kinds where the disk is full
    except Exception as reason:
        if _is_full(folder):
            raise StoreError(
                f"could not write {out}: the disk is full; free some space"
            ) from reason
        raise
    finally:
        shutil.rmtree(folder, ignore_errors=True)
