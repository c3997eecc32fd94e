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
from .app import app, first_rank, is_full
from .console import complain, hush, ready_streams

__all__ = [
    "app", "checkpoint", "evidence", "export", "hub", "main", "names", "recipe", "run", "sweep", "ticket", "tickets",
    "transfer",
]  # fmt: skip


def main() -> None:
    """Run the command line."""
    from ..engine.memory import keep_freed_memory

    switch_off()
    hush()
    keep_freed_memory()
    ready_streams()
    with contextlib.ExitStack() as quiet:
        if not first_rank():
            quiet.enter_context(
                contextlib.redirect_stdout(
                    quiet.enter_context(Path(os.devnull).open("w"))
                )
            )
        _run()


def _run() -> None:
    """Run it, and have all of its output written before it ends."""
    try:
        try:
            app()
        finally:
            sys.stdout.flush()
    except OSError as error:
        if not is_full(error):
            raise
        _forget_output()
        complain(
            f"there is no room left to write to ({error}); free some space, or send the output elsewhere"
        )
        sys.exit(2)


def _forget_output() -> None:
    """Have what could not be written go nowhere, so that Python does not try once more when it ends."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    os.close(nowhere)
