"""Notebook: values as small tables, where a notebook shows them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from html import escape

from .printable import printable


def facts(title: str, values: Mapping[str, str]) -> str:
    """Names and values beside each other, as HTML."""
    rows = "".join(
        f"<tr><th>{_text(name)}</th><td>{_text(value)}</td></tr>"
        for name, value in values.items()
    )
    return f"<table><caption>{_text(title)}</caption>{rows}</table>"


def table(title: str, head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table with its head, as HTML."""
    top = "".join(f"<th>{_text(cell)}</th>" for cell in head)

    lines = []
    for row in rows:
        cells = "".join(f"<td>{_text(cell)}</td>" for cell in row)
        lines.append(f"<tr>{cells}</tr>")
    body = "".join(lines)

    return f"<table><caption>{_text(title)}</caption><tr>{top}</tr>{body}</table>"


def _text(text: str) -> str:
    return escape(printable(text))
