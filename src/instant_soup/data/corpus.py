"""Corpus: which files are the text of which split, and the texts that they hold.

A file of prose is one text. A table, in parquet, CSV, TSV or JSON lines, has one text a row, in its column ``text``.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from datasets import Dataset, Value

from ..core.errors import DataError, nearest
from .layout import (
    DEPTH,
    SUFFIXES,
    content,
    listing,
    shards_of_table,
    split_of,
    stem,
    warn_of_passed_over,
)
from .tables import kind_of, read_table
from .text_files import read_text

COLUMN = "text"
PROSE = (".txt", ".text", ".md", ".tokens", ".raw")
"""Suffixes of files of prose; the last two are those of WikiText as its authors give it out."""
TRAIN = ("train",)
TEST = ("test", "validation")
# about a corpus, and never of it, unless such a file is given by its own path
_ABOUT = re.compile(r"(readme|licen[cs]e|notice|changelog|citation)\b")


def files_of(source: Path, splits: tuple[str, ...]) -> list[Path]:
    """The files that hold the text of the first of *splits* that *source* has, in the order in which they are read.

    In a folder the split stands in the name of a file, such as train.txt or train-00000-of-00001.parquet, or in that
    of a folder above it, whose files are all read. A folder where no name states the training split is one text, of
    all files that are of no other split; nothing of it can be judged on. README and its kind do not count. What else
    is passed over is named in a warning.

    Args:
        source: a folder, or a file, which is read whatever its name says.

    Raises:
        DataError: there is no such file, it is no text, or several could be meant.
    """
    if source.is_file():
        if not _is_prose(source) and kind_of(source) is None:
            raise DataError(
                f"{source} is no text that can be read; expected a file of one of {', '.join(PROSE)}, or a table with "
                f"a column {COLUMN!r}, of one of {SUFFIXES}"
            )
        return [source]

    by_split: dict[str, list[Path]] = {}
    for path in _texts_in(source):
        by_split.setdefault(_split_of(path, source), []).append(path)

    unsplit = by_split.pop("", [])
    # told once, with what is learned from
    strays = unsplit if splits == TRAIN else []
    for split in splits:
        if split in by_split:
            files = _files_of_split(by_split[split], split, source)
            warn_of_passed_over(source, [*by_split[split], *strays], files)
            return files

    if splits == TRAIN and unsplit:
        files = _files_without_split(unsplit, source)
        warn_of_passed_over(source, unsplit, files)
        return files

    setting = "data.test" if splits == TEST else "data.folder"
    raise DataError(
        f"{source} holds no {splits[0]}.parquet and no {splits[0]}.txt, but {content(source)}; put the text there, "
        f"or set {setting} to where it is"
    )


def texts_of(files: Sequence[Path]) -> Iterator[str]:
    """The texts in *files*, in order, empty rows of tables among them.

    Raises:
        DataError: a file cannot be read, or a table has no column of texts.
    """
    for path in files:
        if kind_of(path) is None:
            yield read_text(path)
            continue

        yield from texts_in(read_table(path, (COLUMN,)), str(path))


def texts_in(rows: Dataset, origin: str) -> Iterator[str]:
    """The texts in the column ``text`` of *rows*, in order; rows that have none are left out, and empty ones are not.

    Args:
        origin: what errors call the table.

    Raises:
        DataError: there is no such column, or it holds no texts.
    """
    if COLUMN not in rows.column_names:
        raise DataError(
            f"no column {COLUMN!r} in {origin}; {nearest(COLUMN, rows.column_names)}"
        )

    kind = rows.features[COLUMN]
    # a column of which nothing is there has no kind
    kinds = ("string", "large_string", "null")
    if not isinstance(kind, Value) or kind.dtype not in kinds:
        raise DataError(
            f"column {COLUMN!r} of {origin} is no text; expected a text a row"
        )
    # empty rows count, as they do in what papers report: they make runs of blank lines, and move all windows after them
    yield from (text for text in rows[COLUMN] if text is not None)


def _is_prose(path: Path) -> bool:
    return path.name.lower().removesuffix(".gz").endswith(PROSE)


def _texts_in(folder: Path) -> Iterator[Path]:
    """The files of text in *folder* and in the folders in it, in order, without hidden ones."""
    # sorted, because the order of a directory differs from one file system to the next
    for path in sorted(folder.rglob("*")):
        steps = path.relative_to(folder).parts
        is_hidden = any(step.startswith(".") for step in steps)
        if is_hidden or len(steps) > DEPTH + 1:
            continue

        is_text = _is_prose(path) or kind_of(path) is not None
        is_about = _ABOUT.match(stem(path)) is not None
        # a folder may have a name that ends like a file's
        if is_text and not is_about and path.is_file():
            yield path


def _split_of(path: Path, folder: Path) -> str:
    """The split that a file's own name states, or else the nearest folder above it; "" if none does."""
    return split_of(stem(path)) or _folder_of_split(path, folder)[0]


def _folder_of_split(path: Path, folder: Path) -> tuple[str, Path]:
    """The split that the nearest folder above *path* states, and that folder; "" and *folder* if none does."""
    for above in path.relative_to(folder).parents:
        split = split_of(above.name)
        if split:
            return split, folder / above
    return "", folder


def _files_of_split(paths: list[Path], split: str, folder: Path) -> list[Path]:
    """Those of *paths* that are the text of *split*. Raises DataError where there are several such texts."""
    named = [path for path in paths if split_of(stem(path)) == split]
    if named:
        return shards_of_table(named, f"the {split} split", folder)

    # all of one folder: its files are parts of one text, whatever they are called
    tops = sorted({_folder_of_split(path, folder)[1] for path in paths})
    if len(tops) > 1:
        names = listing(str(top.relative_to(folder)) for top in tops)
        raise DataError(
            f"{folder} holds several folders that could be the {split} split: {names}; leave one, or give its path"
        )
    return _of_one_kind(paths, folder)


def _files_without_split(paths: list[Path], folder: Path) -> list[Path]:
    """The files nearest to the top of *folder*: what lies deeper is about them, or of another text."""
    depth = min(len(path.parents) for path in paths)
    return _of_one_kind([path for path in paths if len(path.parents) == depth], folder)


def _of_one_kind(paths: list[Path], folder: Path) -> list[Path]:
    """*paths*, without JSON files beside others. Raises DataError where prose and tables are mixed."""
    # a single JSON file beside a text is about it, such as dataset_infos.json
    texts = [path for path in paths if path.suffix.lower() != ".json"] or paths
    prose = [path for path in texts if kind_of(path) is None]
    if prose and len(prose) < len(texts):
        names = listing(path.name for path in texts)
        raise DataError(
            f"{folder} holds texts and tables side by side: {names}; leave one kind, or give the path of one file"
        )
    return texts
