"""Layout: finds out which files of a folder are which split, under the names that the hub and its users give them."""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterable, Mapping, Sequence
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
LESSER_NAMES: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "validation": ("eval", "evaluation"),
        "test": ("holdout", "heldout"),
    }
)
"""What else it may be called, where no word of `SPLIT_NAMES` stands beside it."""
NAMES_OF_TESTS = (
    *SPLIT_NAMES["test"],
    *SPLIT_NAMES["validation"],
    *LESSER_NAMES["test"],
    *LESSER_NAMES["validation"],
)
"""What rows to test on may be called beside train; a validation set without a test set is tested on."""
DEPTH = 3  # folders below the given one that are looked into
_SHARD = re.compile(r"[-_.]?\d+([-_]of[-_]\d+)?$", re.IGNORECASE)
_WORD = re.compile(r"[a-z]+", re.IGNORECASE)
_HELD_OUT = re.compile(r"(?<![a-z])(hold|held)[-_ ]out(?![a-z])", re.IGNORECASE)
_ABOUT = ("dataset_dict", "dataset_info", "dataset_infos", "state")
"""The stems of files that libraries write beside tables, and that look like tables."""


def split_of(name: str) -> str | None:
    """The split that a file or folder called *name* is of; None where its words say none, or several.

    ``train-00000-of-00001``, ``sst2_train``, ``Training`` and ``TRAIN`` are all of the training split.
    """
    splits = _splits_among(SPLIT_NAMES, name) or _splits_among(LESSER_NAMES, name)
    return splits[0] if len(splits) == 1 else None


def is_lesser(name: str) -> bool:
    """Whether what is called *name* gives way to a file or folder of the same split that is called by `SPLIT_NAMES`."""
    return split_of(name) is not None and not _splits_among(SPLIT_NAMES, name)


def is_mismatched(name: str) -> bool:
    """Whether *name* is that of the second validation set of MNLI; papers report the other, the matched one."""
    return "mismatched" in name.lower()


def _splits_among(names: Mapping[str, tuple[str, ...]], name: str) -> list[str]:
    """The splits of which a word stands in *name*."""
    words = _words_of(name)
    return [split for split, known in names.items() if words.intersection(known)]


def is_split_name(name: str) -> bool:
    """Whether *name* is that of a split and says nothing else."""
    return len(_words_of(name)) == 1 and split_of(name) is not None


def _words_of(name: str) -> set[str]:
    """The words in *name*, in lower case; that of a set which is held out is one word."""
    joined = _HELD_OUT.sub(r"\1out", name)
    return {word.lower() for word in _WORD.findall(joined)}


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

    A file whose name is that of its split has precedence over others. Tables that are of no split, or give way to
    such a file, are passed over with a warning that names them.

    Raises:
        DataError: several files could be one split.
    """
    candidates: dict[str, list[Path]] = {}
    for path in tables_in(folder):
        if not is_mismatched(path.name):
            candidates.setdefault(_split_of_path(path, folder), []).append(path)

    files = _chosen(candidates, folder)
    tables = [path for paths in candidates.values() for path in paths]
    read = [path for paths in files.values() for path in paths]
    warn_of_passed_over(folder, tables, read)
    return files


def _chosen(candidates: Mapping[str, list[Path]], folder: Path) -> dict[str, list[Path]]:
    """The files that are read of the *candidates* for each split; of those for "" only where there is no split."""
    files = {}
    for split, paths in candidates.items():
        if split:
            files[split] = shards_of_table(paths, f"the {split} split", folder)

    if not files and candidates:
        files[""] = shards_of_table(candidates[""], "the data", folder)
    return files


def warn_of_passed_over(
    folder: Path, candidates: Sequence[Path], files: Sequence[Path]
) -> None:
    """Warn of those *candidates* in *folder* that are not among the *files* that are read, with their names."""
    skipped = []
    for path in candidates:
        if path not in files and stem(path) not in _ABOUT:
            skipped.append(str(path.relative_to(folder)))
    if not skipped:
        return

    read = listing((str(path.relative_to(folder)) for path in files), 5)
    warnings.warn(
        f"not of the data that is read ({read}), and passed over in {folder}: {listing(skipped, 5)}; join what belongs "
        f"together into one file",
        stacklevel=3,
    )


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
    plain = _called(SPLIT_NAMES, paths) or _called(LESSER_NAMES, paths)

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


def _called(names: Mapping[str, tuple[str, ...]], paths: list[Path]) -> list[Path]:
    """Those of *paths* whose name is that of a split, and nothing else."""
    known = {name for of_split in names.values() for name in of_split}
    return [path for path in paths if stem(path) in known]


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
