"""Child: a process that ends with its parent from its first moment on, also while it still imports.

Nothing slow is imported here: what is started is named, and looked up by the child once it watches its parent.
"""

from __future__ import annotations

import os
import shutil
import signal
import threading
from collections.abc import Callable
from importlib import import_module
from multiprocessing import get_context, parent_process
from multiprocessing.context import SpawnProcess
from pathlib import Path
from typing import Any


def child(
    work: Callable[..., None], *arguments: Any, forget: Path | None = None
) -> SpawnProcess:
    """A process, not started yet, that does *work*, a function of a module, and ends with this one.

    Args:
        arguments: of kinds that are imported fast, for they are unpacked before the child watches its parent.
        forget: a folder that the child removes where its parent was killed.
    """
    # spawned, for a fork of a process with threads of torch may hang
    context = get_context("spawn")
    named = (work.__module__, work.__name__, forget, arguments)
    return context.Process(target=_live, args=named, daemon=True)


def _live(
    module: str, function: str, forget: Path | None, arguments: tuple[Any, ...]
) -> None:
    """A child's life."""
    # the parent hears it too, and ends its children
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, args=(forget,), daemon=True).start()
    getattr(import_module(module), function)(*arguments)


def _end_with_parent(forget: Path | None) -> None:
    parent = parent_process()
    if parent is None:
        return

    parent.join()
    # nobody else is left to do it where the parent was killed
    if forget is not None:
        shutil.rmtree(forget, ignore_errors=True)
    os._exit(1)
