"""Layout: which files of a folder are which split, under the names that the hub and its users give them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import MappingProxyType

from ..core.errors import DataError
from .tables import KINDS, kind_of

NAMES: Mapping[str, tuple[str, ...]] = MappingProxyType(
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
    words = [word.lower() for word in _WORD.findall(name)]
    splits = [
        split for split, names in NAMES.items() if any(word in names for word in words)
    ]
    return splits[0] if len(splits) == 1 else None


def tables_in(folder: Path) -> list[Path]:
    """The tables in *folder* and in the folders in it, hidden ones left out, in order."""
    paths = sorted(folder.rglob("*"))
    inside = [path for path in paths if len(path.relative_to(folder).parts) <= DEPTH + 1]
    shown = [
        path
        for path in inside
        if not any(part.startswith(".") for part in path.relative_to(folder).parts)
    ]
    return [path for path in shown if kind_of(path) and path.is_file()]


def files_by_split(folder: Path) -> dict[str, list[Path]]:
    """The files of each split in *folder*, by name; under "" those of a table that has no splits.

    A file that is called as its split is goes before others; `validation_mismatched` of MNLI does not count.

    Raises:
        DataError: several files could be one split.
    """
    named: dict[str, list[Path]] = {}
    for path in tables_in(folder):
        if "mismatched" not in path.name.lower():
            named.setdefault(_split_of_path(path, folder), []).append(path)

    whole = named.pop("", [])
    if named:
        return {
            split: _one_table(paths, f"the {split} split", folder)
            for split, paths in named.items()
        }
    return {"": _one_table(whole, "the data", folder)} if whole else {}


def _split_of_path(path: Path, folder: Path) -> str:
    """The split of a file: what its own name says, or else that of the folder that it is in; "" without one."""
    above = reversed(path.relative_to(folder).parts[:-1])
    return next(
        (split for step in (_stem(path), *above) if (split := split_of(step))), ""
    )


def _stem(path: Path) -> str:
    """The name of a file without what says its kind."""
    name = path.name.lower().removesuffix(".gz")
    return name.removesuffix(Path(name).suffix)


def _one_table(paths: list[Path], what: str, folder: Path) -> list[Path]:
    """*paths*, which have to be the parts of one table: of one folder, one kind and one name but for a number."""
    plain = [
        path for path in paths if any(_stem(path) in names for names in NAMES.values())
    ]
    groups: dict[tuple[Path, str, str], list[Path]] = {}
    for path in plain or paths:
        groups.setdefault(
            (path.parent, _SHARD.sub("", _stem(path)), kind_of(path) or ""), []
        ).append(path)

    if len(groups) > 1:
        firsts = listed(str(group[0].relative_to(folder)) for group in groups.values())
        raise DataError(
            f"{folder} holds several files that could be {what}: {firsts}; leave one, or give its path"
        )
    return next(iter(groups.values()))


def content(folder: Path) -> str:
    """What is in *folder*, for errors."""
    return listed(path.name for path in folder.iterdir())


def listed(names: Iterable[str], most: int = 10) -> str:
    """Names in one line, the first ones if there are many."""
    known = sorted(names)
    return (
        ", ".join(known[:most])
        + (f" and {len(known) - most} more" if len(known) > most else "")
        or "nothing"
    )


SUFFIXES = ", ".join(KINDS)
