"""The command line: what a person types. Each noun has a file; slow imports wait until they are needed."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from . import checkpoint, evidence, export, hub, names, recipe, run, sweep, ticket, tickets, transfer
from .app import app, first_rank
from .console import ready_streams

__all__ = [
    "app", "checkpoint", "evidence", "export", "hub", "main", "names", "recipe", "run", "sweep", "ticket", "tickets",
    "transfer",
]  # fmt: skip


def main() -> None:
    """Run the command line."""
    from ..engine.memory import keep_freed_memory

    keep_freed_memory()
    ready_streams()
    with contextlib.ExitStack() as quiet:
        if not first_rank():
            quiet.enter_context(contextlib.redirect_stdout(quiet.enter_context(Path(os.devnull).open("w"))))
        app()
