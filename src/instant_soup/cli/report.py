"""Report: the runs of a folder as one page. Slow imports wait until they are needed."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .app import RUNS, app, say
from .compare import Folder, Reference


@app.command()
def report(
    folder: Folder = RUNS,
    output: Annotated[Path, typer.Option("-o", "--output", metavar="FILE", help="The page to write.")] = Path(
        "report.html"
    ),
    reference: Reference = "magnitude",
    title: Annotated[str, typer.Option("--title", help="Of the page.")] = "",
) -> None:
    """Write what the runs in DIR say as one page with tables, charts and recipes. It needs no network."""
    from ..report.page import report as write

    written = write(folder, output, reference=reference, title=title)
    for sentence in written.damaged:
        warn(f"left out: {sentence}")
    say(f"{output}: {written.runs} runs, {output.stat().st_size / 1e6:.1f} MB")
