"""Text files: reads CSV, TSV and JSON lines, in the encodings and with the separators that people's tools write."""

from __future__ import annotations

import csv
import gzip
import json
import warnings
from collections.abc import Sequence
from io import BytesIO, StringIO
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pacsv

from ..core.errors import DataError

_BYTE_ORDER_MARKS = {
    b"\xef\xbb\xbf": "utf-8-sig",
    b"\xff\xfe": "utf-16",
    b"\xfe\xff": "utf-16",
}
_FALLBACK = "cp1252"  # what spreadsheets write on Windows


def read_text(path: Path) -> str:
    """The text of a file. Its first bytes may state the encoding; otherwise it is UTF-8, or else Windows-1252."""
    open_file = gzip.open if path.name.lower().endswith(".gz") else open
    with open_file(path, "rb") as file:
        data: bytes = file.read()

    stated = None
    for mark, encoding in _BYTE_ORDER_MARKS.items():
        if data.startswith(mark):
            stated = encoding
            break

    try:
        return data.decode(stated or "utf-8")
    except UnicodeDecodeError as reason:
        # zero bytes are those of UTF-16 without a mark, or of no text at all
        if stated or b"\x00" in data:
            raise DataError(
                f"{path} is no text in UTF-8 or UTF-16 (byte {reason.start:,}); save it as UTF-8"
            ) from reason

    try:
        text = data.decode(_FALLBACK)
    except UnicodeDecodeError as reason:
        raise DataError(
            f"{path} is no text in UTF-8 (byte {reason.start:,}); save it as UTF-8"
        ) from reason
    warnings.warn(
        f"{path} is no UTF-8 and was read as Windows-1252; save it as UTF-8 to be sure",
        stacklevel=2,
    )
    return text


def parse_separated(text: str, delimiter: str | None) -> pa.Table:
    """A table whose columns are text, and whose first line names them.

    Args:
        delimiter: what stands between columns; guessed from the first line if None.

    Raises:
        ValueError: a row has more or fewer columns than the first line.
    """
    header = text.partition("\n")[0].rstrip("\r")
    if not header.strip():
        raise ValueError(
            "its first line is empty; expected the names of the columns there"
        )

    delimiter = delimiter or _guess_delimiter(header)
    names = next(csv.reader(StringIO(header), delimiter=delimiter))
    return _without_blank_rows(_parse_lines(text, names, delimiter))


def _parse_lines(text: str, names: Sequence[str], delimiter: str) -> pa.Table:
    """The rows of *text*, with quotes or without."""
    if delimiter != "\t":
        return _parse_csv(text, names, delimiter)

    # Quotes mean nothing in many files of tabs, GLUE's own among them. There a quote that opens and never closes
    # swallows the rows after it. They are read without quotes where every line by itself has all columns.
    lines = [line for line in text.splitlines() if line]
    are_even = all(line.count(delimiter) == len(names) - 1 for line in lines)
    try:
        table = _parse_csv(text, names, delimiter)
        rows_are_lost = table.num_rows < len(lines) - 1
    except pa.ArrowInvalid:
        rows_are_lost = True

    quoted = not (are_even and rows_are_lost)
    return _parse_csv(text, names, delimiter, quoted=quoted)


def _without_blank_rows(table: pa.Table) -> pa.Table:
    """*table* without rows that have separators and nothing else, as spreadsheets write below the last row."""
    # an empty row of a single column may be meant: a text without a word
    if table.num_columns < 2 or not table.num_rows:
        return table

    is_blank = pc.equal(table.column(0), "")
    for column in table.columns[1:]:
        is_blank = pc.and_(is_blank, pc.equal(column, ""))
    return table.filter(pc.invert(is_blank))


def _guess_delimiter(header: str) -> str:
    """What stands between the columns of a CSV, by its first line."""
    # spreadsheets write semicolons where the comma is a decimal point
    return max((",", ";", "\t"), key=header.count)


def _parse_csv(
    text: str, names: Sequence[str], delimiter: str, *, quoted: bool = True
) -> pa.Table:
    # Arrow would guess types: 007 would become a number, and NA a missing value
    as_text = pacsv.ConvertOptions(
        column_types=dict.fromkeys(names, pa.string()), strings_can_be_null=False
    )

    return pacsv.read_csv(
        BytesIO(text.encode("utf-8", errors="surrogatepass")),
        parse_options=pacsv.ParseOptions(
            delimiter=delimiter,
            quote_char='"' if quoted else False,
            double_quote=quoted,
            newlines_in_values=quoted,
        ),
        convert_options=as_text,
    )


def parse_json(text: str) -> list[Any]:
    """The objects of a file: one a line, or all in a list. Raises ValueError."""
    objects: Any
    if text.lstrip().startswith("["):
        objects = json.loads(text)
    else:
        # not splitlines: JSON allows U+2028 and its kind inside of strings
        lines = [line for line in text.split("\n") if line.strip()]
        objects = [json.loads(line) for line in lines]

    if not isinstance(objects, list) or not all(isinstance(row, dict) for row in objects):
        raise ValueError("expected an object of columns on each line")
    return objects
