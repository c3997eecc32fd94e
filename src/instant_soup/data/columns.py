"""Columns: tells of a column that is asked for and not there."""

from __future__ import annotations

from collections.abc import Iterable

from datasets import Dataset

from ..core.errors import DataError, nearest


def check_column(rows: Dataset, name: str) -> None:
    """Raise DataError, with the nearest name, where *rows* have no column *name*."""
    if name not in rows.column_names:
        raise missing_column(name, rows.column_names)


def missing_column(name: str, known: Iterable[str], origin: str = "") -> DataError:
    """The error for a column *name* that is not among those *known* in *origin*, with how to name the right one."""
    place = f" (in {origin})" if origin else ""
    return DataError(
        f"no column {name!r} in the data; {nearest(name, known)}{place}. A task of your own names its columns itself: "
        f"columns and label in Python, task.columns and task.label in a recipe"
    )
