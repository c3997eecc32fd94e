"""Staging: an export appears whole and checked, or not at all."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from safetensors import SafetensorError

from ..core.errors import StoreError
from ..core.files import forget_abandoned, staging_of

_LEAST = 1 << 16  # bytes; with fewer free, a disk is full


def refuse_existing(out: Path) -> None:
    """Raise StoreError when there is something at *out* already, whatever it is."""
    if os.path.lexists(out):
        raise StoreError(f"{out} exists already; choose another name or remove it")


def _is_full(folder: Path) -> bool:
    return folder.exists() and shutil.disk_usage(folder).free < _LEAST


@contextmanager
def staged(out: Path) -> Iterator[Path]:
    """A path to fill; what is there at the end, and beside it, moves to *out* and beside it.

    Nothing is left behind if anything goes wrong. Raises StoreError when something is there already, or the disk fails.
    """
    refuse_existing(out)
    folder = staging_of(out)
    try:
        forget_abandoned(out)
        folder.mkdir(parents=True)
        yield folder / out.name

        # what goes with it comes first, so that whoever sees the file finds the rest
        parts = sorted(folder.iterdir(), key=lambda part: part.name == out.name)
        for part in parts:
            refuse_existing(out.parent / part.name)
        for part in parts:
            part.rename(out.parent / part.name)
    except StoreError:
        raise
    except (OSError, SafetensorError) as reason:
        raise StoreError(
            f"could not write {out} ({reason}); free some space or choose another folder"
        ) from reason
    except Exception as reason:
        # libraries that write files raise what they like where the disk is full
        if _is_full(folder):
            raise StoreError(
                f"could not write {out}: the disk is full; free some space"
            ) from reason
        raise
    finally:
        shutil.rmtree(folder, ignore_errors=True)
