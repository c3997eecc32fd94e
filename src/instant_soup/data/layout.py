"""Layout: finds out which files of a folder are which split, under the names that the hub and its users give them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import MappingProxyType

from ..core.errors import DataError
from .tables import KINDS, kind_of

SPLIT_NAMES: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "train": ("train", "training"),
        "validation": ("validation", "valid", "val", "dev"),
        "test": ("test", "testing"),
    }
)
"""What a split may be called, in any case."""
DEPTH = 3  # folders below the given one that are looked into
_SHARD = re.compile(r"[-_.]?\d+([-_]of[-_]\d+)?$", re.IGNORECASE)
_WORD = re.compile(r"[a-z]+", re.IGNORECASE)


def split_of(name: str) -> str | None:
    """The split that a file or folder called *name* is of; None where its words say none, or several.

    ``train-00000-of-00001``, ``sst2_train``, ``Training`` and ``TRAIN`` are all of the training split.
    """
    words = {word.lower() for word in _WORD.findall(name)}
    splits = [split for split, names in SPLIT_NAMES.items() if words.intersection(names)]
    return splits[0] if len(splits) == 1 else None


def tables_in(folder: Path) -> list[Path]:
    """The tables in *folder* and in the folders in it, in order, without hidden ones."""
    tables = []
    # sorted, because the order of a directory differs from one file system to the next
    for path in sorted(folder.rglob("*")):
        steps = path.relative_to(folder).parts
        is_hidden = any(step.startswith(".") for step in steps)
        if is_hidden or len(steps) > DEPTH + 1:
            continue
        if kind_of(path) and path.is_file():
            tables.append(path)
    return tables


def files_by_split(folder: Path) -> dict[str, list[Path]]:
    """The files of each split in *folder*, by name; under "" those of a table that has no splits.

    A file whose name is that of its split has precedence over others.

    Raises:
        DataError: several files could be one split.
    """
    candidates: dict[str, list[Path]] = {}
    for path in tables_in(folder):
        # MNLI has two validation sets; papers report the matched one
        if "mismatched" not in path.name.lower():
            candidates.setdefault(_split_of_path(path, folder), []).append(path)

    # files without a split in their names count only where no file has one
    unsplit = candidates.pop("", [])
    if candidates:
        files = {}
        for split, paths in candidates.items():
            files[split] = shards_of_table(paths, f"the {split} split", folder)
        return files
    if unsplit:
        return {"": shards_of_table(unsplit, "the data", folder)}
    return {}


def _split_of_path(path: Path, folder: Path) -> str:
    """The split that a file's own name states, or else the nearest folder above it; "" if none does."""
    above = reversed(path.relative_to(folder).parts[:-1])
    for step in (stem(path), *above):
        split = split_of(step)
        if split:
            return split
    return ""


def stem(path: Path) -> str:
    """The name of a file, in lower case, without the suffixes that state its kind."""
    name = path.name.lower().removesuffix(".gz")
    return name.removesuffix(Path(name).suffix)


def shards_of_table(paths: list[Path], role: str, folder: Path) -> list[Path]:
    """Those of *paths* that are the shards of one table: alike in folder, kind and name, but for a number.

    Args:
        role: what errors call the table.

    Raises:
        DataError: there are several such tables.
    """
    names_of_splits = {name for names in SPLIT_NAMES.values() for name in names}
    plain = [path for path in paths if stem(path) in names_of_splits]

    groups: dict[tuple[Path, str, str], list[Path]] = {}
    for path in plain or paths:
        name = _SHARD.sub("", stem(path))
        # prose is no table, and has no kind
        kind = kind_of(path) or ""
        groups.setdefault((path.parent, name, kind), []).append(path)

    if len(groups) > 1:
        firsts = listing(str(group[0].relative_to(folder)) for group in groups.values())
        raise DataError(
            f"{folder} holds several files that could be {role}: {firsts}; leave one, or give its path"
        )
    return next(iter(groups.values()))


def content(folder: Path) -> str:
    """What is in *folder*, for errors."""
    return listing(path.name for path in folder.iterdir())


def listing(names: Iterable[str], most: int = 10) -> str:
    """Names in one line, in order; the first *most* of them if there are more."""
    ordered = sorted(names)
    if not ordered:
        return "nothing"

    line = ", ".join(ordered[:most])
    if len(ordered) > most:
        line += f" and {len(ordered) - most} more"
    return line


SUFFIXES = ", ".join(KINDS)
