"""Bars: how far work over the bytes of files is, stage by stage."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
)

from . import console


@contextmanager
def progress_bars(*, quiet: bool) -> Iterator[Callable[[str, int, int], None]]:
    """Yield a function of stage, bytes done and bytes in all, which shows a bar for each stage on a terminal."""
    err = console.err()
    if quiet or not err.is_terminal:
        yield lambda *_: None
        return

    columns = (
        TextColumn("{task.description:<8}"),
        BarColumn(32),
        DownloadColumn(binary_units=True),
    )
    with Progress(*columns, TimeRemainingColumn(), console=err) as progress:
        bars: dict[str, TaskID] = {}

        def watch(stage: str, done: int, total: int) -> None:
            if stage not in bars:
                bars[stage] = progress.add_task(stage, total=total)
            progress.update(bars[stage], completed=done)

        yield watch
