"""Console: the one place where text meets a terminal, a pipe or a file.

Names come from files and from the world. They are shown as letters: no markup of rich, no escape of a terminal, no
newline and no half of a surrogate pair takes effect. Letters that a terminal cannot encode are replaced by ones that
it can.
"""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Iterable, Sequence
from contextlib import suppress
from io import TextIOWrapper
from pathlib import Path
from typing import Literal, TextIO

from rich.console import Console
from rich.table import Table
from rich.text import Text

from ..core.printable import FALLBACK, fitting, printable

# columns of a pipe or a file: nothing is cut off there, because programs read it
BROAD = 10_000
_HOUSE = Path(__file__).parents[1]  # our code
NARROW = 80  # columns of a terminal below which tables leave out columns that follow from the others


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
            # the stream may be closed, or not open for writing
            with suppress(ValueError):
                stream.reconfigure(errors=FALLBACK)


# streams


def out() -> Console:
    """Standard output."""
    # made anew at each call, because tests and redirections put another stream in its place
    console = Console()
    # rich would take a pipe for a terminal of 80 columns, and fold tables there
    return console if console.is_terminal else Console(width=BROAD)


def err(*, quiet: bool = False) -> Console:
    """Standard error."""
    return Console(stderr=True, quiet=quiet)


# lines


def say(text: str = "", *, style: str | None = None) -> None:
    """Print one line for people, on standard output."""
    out().print(cell(text), soft_wrap=True, style=style)


def pour(text: str) -> None:
    """Print text for programs, as it is, on standard output."""
    sys.stdout.write(text)


def warn(text: str) -> None:
    """Print one line of warning, on standard error."""
    console = err()
    console.print(cell(f"warning: {text}", console), soft_wrap=True, style="yellow")


def show_warnings() -> None:
    """Have what the library warns of shown as `warn` shows it, without the place in the code that Python adds."""
    before = warnings.showwarning

    def show(
        message: Warning | str,
        category: type[Warning],
        filename: str,
        lineno: int,
        file: TextIO | None = None,
        line: str | None = None,
    ) -> None:
        is_ours = issubclass(category, UserWarning) and Path(filename).is_relative_to(
            _HOUSE
        )
        if is_ours and file is None:
            warn(str(message))
        else:
            before(message, category, filename, lineno, file, line)

    warnings.showwarning = show


def complain(text: str, process: str = "") -> None:
    """Print one line of error, on standard error; *process* says which one it happened to, and begins with a space."""
    console = err()
    # messages of libraries bring newlines of their own
    line = " ".join(text.split())
    console.print(cell(f"error{process}: {line}", console), soft_wrap=True, style="red")


def cell(text: str, console: Console | None = None) -> Text:
    """*text* as letters that *console* shows: no markup or escape in it takes effect."""
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
    """A table that folds what does not fit, and cuts nothing off.

    Args:
        figures: whether all columns but the first hold numbers, and so stand right.
    """
    made = Table(
        title=None if title is None else cell(title),
        title_justify="left",
        caption=None if caption is None else cell(caption),
    )

    for position, head in enumerate(heads):
        # a column without a head holds marks, not numbers
        is_right = figures and position > 0 and head != ""
        justify: Literal["left", "right"] = "right" if is_right else "left"
        made.add_column(cell(head), overflow="fold", justify=justify)

    for row in rows:
        add(made, *row)
    return made


def grid(rows: Iterable[Sequence[str]] = ()) -> Table:
    """A table of names and facts, without a frame."""
    made = Table.grid(padding=(0, 2))
    for row in rows:
        add(made, *row)
    return made


def add(rows: Table, *cells: str | Text, style: str | None = None) -> None:
    """Add one row. Text of rich is taken as it is; a plain string is shown as letters."""
    shown = [text if isinstance(text, Text) else cell(text) for text in cells]
    rows.add_row(*shown, style=style)
