"""Tables: one file of parquet, CSV, TSV or JSON lines, or what is in memory already -> rows with columns.

CSV and TSV know no types, so all of their columns are text, and `labels` tells what labels are. Columns of kinds that
cannot be learned from, such as lists of lists, are left out unless they are asked for.
"""

from __future__ import annotations

import csv
import gzip
import json
import warnings
from collections.abc import Collection, Iterable, Mapping, Sequence
from io import BytesIO, StringIO
from pathlib import Path
from typing import Any

import PIL.Image
import pyarrow as pa
import pyarrow.csv as pacsv
import pyarrow.parquet as pq
from datasets import Dataset, Features, Image

from ..core.errors import DataError, nearest

KINDS = {
    ".parquet": "parquet",
    ".csv": "csv",
    ".tsv": "tsv",
    ".jsonl": "json",
    ".ndjson": "json",
    ".json": "json",
}
_MARKS = {b"\xef\xbb\xbf": "utf-8-sig", b"\xff\xfe": "utf-16", b"\xfe\xff": "utf-16"}
_OTHER = "cp1252"  # what spreadsheets write on Windows


def kind_of(path: Path) -> str | None:
    """What kind of table the file at *path* is, by its name; None if it is none."""
    name = path.name.lower().removesuffix(".gz")
    return KINDS.get(Path(name).suffix)


def read_table(
    path: Path, wanted: Collection[str] | None = None, *, whole: bool = True
) -> Dataset:
    """The rows of the file at *path*.

    Args:
        wanted: the columns that are needed; all that can be read if None.
        whole: whether none of these may be missing.

    Raises:
        DataError: it is no such file, is damaged, or lacks a column that is wanted.
    """
    kind = kind_of(path)
    try:
        if kind == "parquet":
            table = _parquet(path, wanted, whole=whole)
        elif kind == "json":
            return from_rows(_objects(_decoded(path)), str(path), wanted, whole=whole)
        else:
            table = _separated(_decoded(path), "\t" if kind == "tsv" else None)
    except (pa.ArrowException, OSError, ValueError, csv.Error, RecursionError) as reason:
        if isinstance(reason, DataError):
            raise
        what = {"parquet": "parquet file", "json": "file of JSON lines"}.get(
            kind or "", f"{kind} file"
        )
        raise DataError(
            f"{path} is not a readable {what} ({_first_line(reason)}); write it again"
        ) from reason

    return from_arrow(table, str(path), wanted, whole=whole)


def _first_line(reason: Exception) -> str:
    return str(reason).partition("\n")[0] or type(reason).__name__


# parquet


def _parquet(path: Path, wanted: Collection[str] | None, *, whole: bool) -> pa.Table:
    names = pq.read_schema(path).names
    if wanted is not None and whole:
        _require(names, wanted, str(path))
    columns = (
        None
        if wanted is None
        else [name for name in dict.fromkeys(names) if name in wanted]
    )
    return pq.read_table(path, columns=columns)


def _require(names: Sequence[str], wanted: Collection[str], origin: str) -> None:
    """Raise DataError unless every *wanted* column is among *names*, once."""
    for name in wanted:
        if name not in names:
            raise DataError(
                f"no column {name!r} in the data; {nearest(name, names)} (in {origin})"
            )
        if list(names).count(name) > 1:
            raise DataError(
                f"column {name!r} is there twice in {origin}; rename one of them"
            )


def from_arrow(
    table: pa.Table,
    origin: str,
    wanted: Collection[str] | None = None,
    *,
    whole: bool = True,
) -> Dataset:
    """The columns of *table* that rows can be made of, and of these the *wanted* ones, all of them if *whole*.

    Raises DataError where one that is wanted is missing, of another kind, or no UTF-8.
    """
    names = table.schema.names
    if wanted is not None and whole:
        _require(names, wanted, origin)
    columns = [
        name
        for name in names
        if names.count(name) == 1 and (wanted is None or name in wanted)
    ]
    table = table.select(columns)

    features = _marked(table.schema)
    if features is None:
        table = table.replace_schema_metadata(None)
    for name in columns:
        trouble = _trouble(table, name)
        if trouble and wanted is not None:
            raise DataError(f"column {name!r} of {origin} {trouble}")
        if trouble:
            table = table.drop_columns([name])
    return Dataset(_told(table, features))


def _marked(schema: pa.Schema) -> Features | None:
    """What the metadata of Hugging Face says of the columns; None where it is broken, or there is none."""
    try:
        return (
            Features.from_arrow_schema(schema)
            if b"huggingface" in (schema.metadata or {})
            else None
        )
    except Exception:  # whatever broken metadata makes it raise
        return None


def _trouble(table: pa.Table, name: str) -> str:
    """Why rows cannot be made of a column; "" if they can."""
    column, kind = table[name], table.schema.field(name).type
    if (
        pa.types.is_string(kind)
        or pa.types.is_large_string(kind)
        or pa.types.is_string_view(kind)
    ):
        try:
            column.validate(full=True)
        except pa.ArrowInvalid:
            return "holds bytes that are no UTF-8; write it again as UTF-8"

    try:
        Features.from_arrow_schema(pa.schema([table.schema.field(name)]))
    except Exception as reason:  # whatever a kind that is not known makes it raise
        return f"is of a kind that cannot be learned from, {kind} ({_first_line(reason)}); expected text or numbers"

    return ""


def _told(table: pa.Table, features: Features | None) -> pa.Table:
    """*table* with what *features* say of the columns that are left."""
    if features is None:
        return table.replace_schema_metadata(None)
    left = Features(
        {name: features[name] for name in table.column_names if name in features}
    )
    return table.replace_schema_metadata(
        left.arrow_schema.metadata if len(left) == table.num_columns else None
    )


# text


def _decoded(path: Path) -> str:
    """The text of a file, whose encoding is told by its first bytes; else it is UTF-8, or Windows-1252."""
    opened = gzip.open if path.name.lower().endswith(".gz") else open
    with opened(path, "rb") as file:
        data: bytes = file.read()

    marked = next(
        (encoding for mark, encoding in _MARKS.items() if data.startswith(mark)), None
    )
    try:
        return data.decode(marked or "utf-8")
    except UnicodeDecodeError as reason:
        if marked or b"\x00" in data:
            raise DataError(
                f"{path} is no text in UTF-8 or UTF-16 (byte {reason.start:,}); save it as UTF-8"
            ) from reason
    try:
        text = data.decode(_OTHER)
    except UnicodeDecodeError as reason:
        raise DataError(
            f"{path} is no text in UTF-8 (byte {reason.start:,}); save it as UTF-8"
        ) from reason
    warnings.warn(
        f"{path} is no UTF-8 and was read as Windows-1252; save it as UTF-8 to be sure",
        stacklevel=2,
    )
    return text


def _separated(text: str, separator: str | None) -> pa.Table:
    """Columns of text. Raises ValueError where rows are not as long as the first one, which names the columns."""
    header = text.partition("\n")[0].rstrip("\r")
    if not header.strip():
        raise ValueError(
            "its first line is empty; expected the names of the columns there"
        )
    mark = separator or _separator(header)
    names = next(csv.reader(StringIO(header), delimiter=mark))
    if mark != "\t":
        return _parsed(text, names, mark)

    # quotes mean nothing in many files of tabs, GLUE's own among them
    even = all(line.count(mark) == len(names) - 1 for line in text.splitlines() if line)
    try:
        table = _parsed(text, names, mark)
        swallowed = table.num_rows < sum(1 for line in text.splitlines() if line) - 1
    except pa.ArrowInvalid:
        swallowed = True
    return (
        _parsed(text, names, mark, quoted=False)
        if even and swallowed
        else _parsed(text, names, mark)
    )


def _separator(header: str) -> str:
    """What stands between the columns of a CSV: spreadsheets write semicolons where the comma is a decimal point."""
    return max((",", ";", "\t"), key=header.count)


def _parsed(
    text: str, names: Sequence[str], mark: str, *, quoted: bool = True
) -> pa.Table:
    return pacsv.read_csv(
        BytesIO(text.encode("utf-8", errors="surrogatepass")),
        parse_options=pacsv.ParseOptions(
            delimiter=mark,
            quote_char='"' if quoted else False,
            double_quote=quoted,
            newlines_in_values=quoted,
        ),
        convert_options=pacsv.ConvertOptions(
            column_types=dict.fromkeys(names, pa.string()), strings_can_be_null=False
        ),
    )


def _objects(text: str) -> list[Any]:
    """The objects of a file: one a line, or all in a list. Raises ValueError."""
    is_list = text.lstrip().startswith("[")
    objects = (
        json.loads(text)
        if is_list
        else [json.loads(line) for line in text.split("\n") if line.strip()]
    )
    if not isinstance(objects, list) or not all(isinstance(row, dict) for row in objects):
        raise ValueError("expected an object of columns on each line")
    return objects


# in memory


def from_rows(
    rows: Sequence[Mapping[str, Any]],
    origin: str,
    wanted: Collection[str] | None = None,
    *,
    whole: bool = True,
) -> Dataset:
    """A table of mappings from columns to values; a column that a row lacks is None there. Raises DataError."""
    names = list(dict.fromkeys(name for row in rows for name in row))
    if wanted is not None:
        if whole:
            _require([str(name) for name in names], wanted, origin)
        names = [name for name in names if name in wanted]

    columns: dict[str, pa.Array] = {}
    for name in names:
        values = [row.get(name) for row in rows]
        if any(isinstance(value, PIL.Image.Image) for value in values):
            columns[str(name)] = _images(values)
            continue
        try:
            columns[str(name)] = pa.array(values)
        except (pa.ArrowException, OverflowError, ValueError, TypeError) as reason:
            if wanted is not None:
                raise DataError(
                    f"column {name!r} of {origin} holds values of several kinds ({_first_line(reason)}); expected one"
                ) from reason
    return from_arrow(pa.table(columns), origin, wanted, whole=whole)


def _images(values: Iterable[Any]) -> pa.Array:
    """Images in memory as the bytes of files."""
    feature = Image()
    return pa.array(
        [None if value is None else feature.encode_example(value) for value in values]
    )
