"""Tables: reads a file of parquet, CSV, TSV or JSON lines, or rows in memory, as a table.

CSV and TSV know no types, so all of their columns are text, and `labels` finds out what labels are. Columns of kinds
that cannot be learned from, such as lists of lists, are left out unless they are asked for.
"""

from __future__ import annotations

import csv
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import PIL.Image
import pyarrow as pa
import pyarrow.parquet as pq
from datasets import Dataset, Features, Image

from ..core.errors import DataError
from .columns import missing_column
from .text_files import parse_json, parse_separated, read_text

KINDS = {
    ".parquet": "parquet",
    ".csv": "csv",
    ".tsv": "tsv",
    ".jsonl": "json",
    ".ndjson": "json",
    ".json": "json",
}


def kind_of(path: Path) -> str | None:
    """What kind of table the file at *path* is, by its name; None if it is no table."""
    name = path.name.lower().removesuffix(".gz")
    return KINDS.get(Path(name).suffix)


def read_table(
    path: Path, wanted: Collection[str] | None = None, *, require_all: bool = True
) -> Dataset:
    """The rows of the file at *path*.

    Args:
        wanted: the columns that are needed; all that can be read if None.
        require_all: whether it is an error that one of these is missing.

    Raises:
        DataError: the file is no table, is damaged, or lacks a column that is wanted.
    """
    kind = kind_of(path)
    origin = str(path)
    try:
        if kind == "parquet":
            table = _read_parquet(path, wanted, require_all=require_all)
        elif kind == "json":
            rows = parse_json(read_text(path))
            return from_rows(rows, origin, wanted, require_all=require_all)
        else:
            delimiter = "\t" if kind == "tsv" else None
            table = parse_separated(read_text(path), delimiter)
    # JSON that nests too deeply raises RecursionError
    except (pa.ArrowException, OSError, ValueError, csv.Error, RecursionError) as reason:
        # a DataError is a ValueError, and says already what is wrong
        if isinstance(reason, DataError):
            raise
        description = "file of JSON lines" if kind == "json" else f"{kind} file"
        raise DataError(
            f"{path} is not a readable {description} ({_first_line(reason)}); write it again"
        ) from reason

    return from_arrow(table, origin, wanted, require_all=require_all)


def holds_bytes(path: Path, column: str) -> bool:
    """Whether *column* of a parquet file holds bytes or structs, as embedded images do, told without reading a row."""
    if kind_of(path) != "parquet":
        return False
    try:
        schema = pq.read_schema(path)
    except (pa.ArrowException, OSError):
        # whoever reads the table says what is wrong with it
        return False

    kinds = [schema.field(i).type for i in schema.get_all_field_indices(column)]
    return any(
        pa.types.is_struct(kind)
        or pa.types.is_binary(kind)
        or pa.types.is_large_binary(kind)
        for kind in kinds
    )


def _first_line(reason: Exception) -> str:
    return str(reason).partition("\n")[0] or type(reason).__name__


# parquet


def _read_parquet(
    path: Path, wanted: Collection[str] | None, *, require_all: bool
) -> pa.Table:
    names = pq.read_schema(path).names
    if wanted is not None and require_all:
        _check_columns(names, wanted, str(path))

    # other columns are never read: they may be large, or of kinds that cannot be read
    columns = None
    if wanted is not None:
        columns = [name for name in dict.fromkeys(names) if name in wanted]
    return pq.read_table(path, columns=columns)


def _check_columns(names: Sequence[str], wanted: Collection[str], origin: str) -> None:
    """Raise DataError unless every *wanted* column is among *names*, once."""
    for name in wanted:
        if name not in names:
            raise missing_column(name, names, origin)
        if list(names).count(name) > 1:
            raise DataError(
                f"column {name!r} is there twice in {origin}; rename one of them"
            )


def from_arrow(
    table: pa.Table,
    origin: str,
    wanted: Collection[str] | None = None,
    *,
    require_all: bool = True,
) -> Dataset:
    """The rows of *table*, with those of its columns that can be learned from.

    Args:
        origin: what errors call the table.
        wanted, require_all: as of `read_table`.

    Raises:
        DataError: a column that is wanted is missing, of a kind that cannot be learned from, or no UTF-8.
    """
    names = table.schema.names
    if wanted is not None and require_all:
        _check_columns(names, wanted, origin)

    columns = []
    for name in names:
        # of two columns of one name nobody can say which is meant
        is_unique = names.count(name) == 1
        if is_unique and (wanted is None or name in wanted):
            columns.append(name)
    table = table.select(columns)

    features = _stated_features(table.schema)
    for name in columns:
        problem = _problem(table, name)
        if problem and wanted is not None:
            raise DataError(f"column {name!r} of {origin} {problem}")
        if problem:
            table = table.drop_columns([name])
    return Dataset(_with_features(table, features))


def _stated_features(schema: pa.Schema) -> Features | None:
    """What the metadata of Hugging Face states of the columns; None where it is broken or missing."""
    if b"huggingface" not in (schema.metadata or {}):
        return None
    try:
        return Features.from_arrow_schema(schema)
    # datasets promises no kind of error for broken metadata
    except Exception:
        return None


def _problem(table: pa.Table, name: str) -> str:
    """Why rows cannot be made of a column; "" if they can."""
    field = table.schema.field(name)
    kind = field.type

    is_text = (
        pa.types.is_string(kind)
        or pa.types.is_large_string(kind)
        or pa.types.is_string_view(kind)
    )
    if is_text:
        try:
            # Arrow believes a file that says its bytes are UTF-8 until it is told to look
            table[name].validate(full=True)
        except pa.ArrowInvalid:
            return "holds bytes that are no UTF-8; write it again as UTF-8"

    try:
        Features.from_arrow_schema(pa.schema([field]))
    # datasets promises no kind of error for a type that it does not know
    except Exception as reason:
        return f"is of a kind that cannot be learned from, {kind} ({_first_line(reason)}); expected text or numbers"

    return ""


def _with_features(table: pa.Table, features: Features | None) -> pa.Table:
    """*table* with the metadata of those *features* whose columns are left."""
    if features is None:
        return table.replace_schema_metadata(None)

    names = [name for name in table.column_names if name in features]
    # metadata of fewer columns than there are makes Dataset raise
    if len(names) != table.num_columns:
        return table.replace_schema_metadata(None)
    left = Features({name: features[name] for name in names})
    return table.replace_schema_metadata(left.arrow_schema.metadata)


# in memory


def from_rows(
    rows: Sequence[Mapping[str, Any]],
    origin: str,
    wanted: Collection[str] | None = None,
    *,
    require_all: bool = True,
) -> Dataset:
    """A table of *rows* that map columns to values; a column that a row lacks is None there.

    Args:
        origin, wanted, require_all: as of `from_arrow`.

    Raises:
        DataError: a column that is wanted is missing, or holds values of several kinds.
    """
    # a dictionary and not a set, so that columns keep the order in which they first come
    names = list(dict.fromkeys(name for row in rows for name in row))
    if wanted is not None:
        if require_all:
            _check_columns([str(name) for name in names], wanted, origin)
        names = [name for name in names if name in wanted]

    columns: dict[str, pa.Array] = {}
    for name in names:
        values = [row.get(name) for row in rows]
        if any(isinstance(value, PIL.Image.Image) for value in values):
            columns[str(name)] = _encode_images(values)
            continue

        try:
            columns[str(name)] = pa.array(values)
        except (pa.ArrowException, OverflowError, ValueError, TypeError) as reason:
            # a column that nobody asked for by name is left out in silence
            if wanted is not None:
                raise DataError(
                    f"column {name!r} of {origin} holds values of several kinds ({_first_line(reason)}); expected one"
                ) from reason
    return from_arrow(pa.table(columns), origin, wanted, require_all=require_all)


def _encode_images(values: Iterable[Any]) -> pa.Array:
    """Images in memory as the bytes of files."""
    feature = Image()
    encoded = []
    for value in values:
        encoded.append(None if value is None else feature.encode_example(value))
    return pa.array(encoded)
