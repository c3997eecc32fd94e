"""Image paths: images that a table names by where they lie, which is said from the folder of the table on."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from datasets import Value

from ..core.errors import DataError
from .folder import examples_in
from .tables import holds_bytes, kind_of, read_table

KINDS = (Value("string"), Value("large_string"))
"""Of a column that names images and does not hold them."""


def image_paths(names: Sequence[str | None], base: Path, source: str) -> list[str]:
    """The paths in full that a table calls *names*.

    Args:
        base: the folder that paths begin at.
        source: what errors call the table.

    Raises:
        DataError: a row names no image, or one that is not there.
    """
    paths = []
    for row, name in enumerate(names):
        if not name:
            raise DataError(
                f"row {row} of {source} names no image; remove it, or fill it in"
            )

        path = base / name
        if not os.path.isfile(path):  # noqa: PTH113 - never raises
            raise DataError(
                f"row {row} of {source} names {name!r}, and no image is at {path}; paths in a table begin at its folder"
            )
        paths.append(str(path))
    return paths


def image_files(place: Path, column: str) -> list[Path]:
    """The files that images are read from at *place*, a folder or a file, in a fixed order: tables, and images.

    Images count that lie in the folder, and those that a *column* of paths in a table names, wherever they lie.

    Raises:
        DataError: a table cannot be read.
    """
    files = examples_in(place)
    base = place.parent if place.is_file() else place
    named = []
    for table in files:
        # images that a table holds itself may be most of its bytes, and are not read for their names
        if kind_of(table) is None or holds_bytes(table, column):
            continue

        rows = read_table(table, (column,), require_all=False)
        if column in rows.column_names and rows.features[column] in KINDS:
            named += [base / name for name in rows[column] if name]

    existing = [path for path in named if os.path.isfile(path)]  # noqa: PTH113 - never raises
    return list(dict.fromkeys([*files, *existing]))
