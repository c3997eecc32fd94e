"""The command line: what a person types. Each noun has a file; slow imports wait until they are needed."""

from __future__ import annotations

import contextlib
import os
import sys
from pathlib import Path

from ..core.telemetry import switch_off
from . import (
    checkpoint,
    evidence,
    export,
    hub,
    names,
    recipe,
    run,
    sweep,
    ticket,
    tickets,
    transfer,
)
from .app import app, is_first_rank, is_full
from .console import complain, hush, ready_streams, show_warnings

__all__ = [
    "app", "checkpoint", "evidence", "export", "hub", "main", "names", "recipe", "run", "sweep", "ticket", "tickets",
    "transfer",
]  # fmt: skip


def main() -> None:
    """Run the command line."""
    from ..engine.memory import keep_freed_memory

    # before a command imports the libraries that would report of their use
    switch_off()
    hush()
    show_warnings()
    keep_freed_memory()
    ready_streams()

    # all ranks do the work, and one prints; errors of the others still show on standard error
    with contextlib.ExitStack() as silenced:
        if not is_first_rank():
            nowhere = silenced.enter_context(Path(os.devnull).open("w"))
            silenced.enter_context(contextlib.redirect_stdout(nowhere))
        _run()


def _run() -> None:
    """Run the command that was typed, and write all of its output before the process ends."""
    try:
        # flushed here, where a full disk can still be told; Python's own flush at exit prints a traceback
        try:
            app()
        finally:
            sys.stdout.flush()
    except OSError as error:
        if not is_full(error):
            raise

        _discard_output()
        complain(
            f"there is no room left to write to ({error}); free some space, or send the output elsewhere"
        )
        sys.exit(2)


def _discard_output() -> None:
    """Send output that could not be written nowhere, so that Python does not try once more when it ends."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    os.close(nowhere)
