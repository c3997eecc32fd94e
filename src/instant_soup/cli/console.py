"""Console: the one place where text meets a terminal, a pipe or a file.

Names come from files and from the world. They are shown as letters: no markup of rich, no escape of a terminal, no
newline and no half of a surrogate pair takes effect. What a terminal cannot encode is written in its own letters.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Sequence
from contextlib import suppress
from io import TextIOWrapper

from rich.console import Console
from rich.table import Table
from rich.text import Text

from ..core.printable import FALLBACK, fitting, printable

# columns of what is no terminal: nothing is cut for who reads on by program
BROAD = 10_000
NARROW = 80  # columns of a terminal below which tables leave out what can be done without


_HUSHED = {
    "HF_DATASETS_DISABLE_PROGRESS_BARS": "1",
    "HF_HUB_DISABLE_PROGRESS_BARS": "1",  # those of transformers, too
    "TQDM_DISABLE": "1",
    "TRANSFORMERS_VERBOSITY": "error",
}
"""What libraries are told, before they are imported, so that their bars and remarks do not mix with ours."""


def hush() -> None:
    """Have other libraries draw no bars and make no remarks, unless the environment says otherwise already."""
    for variable, value in _HUSHED.items():
        os.environ.setdefault(variable, value)


def ready_streams() -> None:
    """Let standard output and error take any text, whatever their encoding."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            with suppress(ValueError):  # closed, or not open for writing
                stream.reconfigure(errors=FALLBACK)


# streams


def out() -> Console:
    """Standard output. What is no terminal has no width."""
    console = Console()
    return console if console.is_terminal else Console(width=BROAD)


def err(*, quiet: bool = False) -> Console:
    """Standard error."""
    return Console(stderr=True, quiet=quiet)


# lines


def say(text: str = "", *, style: str | None = None) -> None:
    """One line for people, on standard output."""
    out().print(cell(text), soft_wrap=True, style=style)


def pour(text: str) -> None:
    """Text for programs, as it is, on standard output."""
    sys.stdout.write(text)


def warn(text: str) -> None:
    """One line of warning, on standard error."""
    console = err()
    console.print(cell(f"warning: {text}", console), soft_wrap=True, style="yellow")


def complain(text: str, who: str = "") -> None:
    """One line of what went wrong, on standard error."""
    console = err()
    console.print(
        cell(f"error{who}: {' '.join(text.split())}", console),
        soft_wrap=True,
        style="red",
    )


def cell(text: str, console: Console | None = None) -> Text:
    """*text* as letters."""
    console = console or out()
    return Text(fitting(printable(text), console.encoding))


# tables


def table(
    heads: Iterable[str],
    rows: Iterable[Sequence[str | Text]] = (),
    *,
    title: str | None = None,
    caption: str | None = None,
    figures: bool = False,
) -> Table:
    """A table that folds what does not fit, and cuts nothing. With *figures* all but the first column stand right."""
    shown = Table(
        title=None if title is None else cell(title),
        title_justify="left",
        caption=None if caption is None else cell(caption),
    )

    for place, head in enumerate(heads):
        right = figures and place and head
        shown.add_column(
            cell(head), overflow="fold", justify="right" if right else "left"
        )

    for row in rows:
        add(shown, *row)
    return shown


def grid(rows: Iterable[Sequence[str]] = ()) -> Table:
    """Names and facts beside each other, without a frame."""
    shown = Table.grid(padding=(0, 2))
    for row in rows:
        add(shown, *row)
    return shown


def add(shown: Table, *cells: str | Text, style: str | None = None) -> None:
    """One more row."""
    shown.add_row(
        *(text if isinstance(text, Text) else cell(text) for text in cells), style=style
    )
