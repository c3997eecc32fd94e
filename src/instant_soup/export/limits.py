"""Limits: bounds the memory that a file may make its reader ask for."""

from __future__ import annotations

from pathlib import Path

from ..core.errors import DataError

ROOM = 1 << 30
"""Bytes that any file may unfold into, however small it is."""
_FACTOR = 256  # bytes that each byte of a larger file may unfold into


def limit_of(path: Path, limit: int | None = None) -> int:
    """Bytes that the file at *path* may unfold into: *limit*, or what follows from the file's size if it is None."""
    if limit is not None:
        return limit
    return max(ROOM, _FACTOR * path.stat().st_size)


def check_room(size: int, limit: int) -> None:
    """Raise DataError where *size* bytes are more than *limit*."""
    if size > limit:
        raise DataError(
            f"it would unfold into {size:,} bytes; if you trust it, read it with limit={size}"
        )
