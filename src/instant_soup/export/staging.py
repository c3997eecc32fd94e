"""Staging: an export appears whole and checked, or not at all."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

from ..core.errors import StoreError


def refuse_existing(out: Path) -> None:
    """Raise StoreError when there is something at *out* already."""
    if out.exists() or out.is_symlink():
        raise StoreError(f"{out} exists already; choose another name or remove it")


@contextmanager
def staged(out: Path) -> Iterator[Path]:
    """A path to fill; what is there at the end, and beside it, moves to *out* and beside it.

    Nothing is left behind if anything goes wrong. Raises StoreError when something is there already, or the disk fails.
    """
    refuse_existing(out)
    folder = out.parent / f".{out.name}.{uuid4().hex}"
    try:
        folder.mkdir(parents=True)
        yield folder / out.name
        parts = sorted(folder.iterdir(), key=lambda part: part.name == out.name)  # what goes with it comes first
        for part in parts:
            refuse_existing(out.parent / part.name)
        for part in parts:
            part.rename(out.parent / part.name)
    except StoreError:
        raise
    except OSError as reason:
        raise StoreError(f"could not write {out} ({reason}); free some space or choose another folder") from reason
    finally:
        shutil.rmtree(folder, ignore_errors=True)
