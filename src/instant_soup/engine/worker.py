"""Worker: what a worker keeps between errands, and how it computes."""

from __future__ import annotations

import os
import platform
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from importlib.metadata import version
from typing import Any

import torch

from ..core.errors import EngineError, SoupError
from ..core.telemetry import switch_off
from .memory import keep_freed_memory

Warm = Callable[[Any, Any], Any]
"""(what all errands of a round share, one errand) -> its answer."""
Make = Callable[[], Warm]
Facts = Mapping[str, Any]
_THREADS = "OMP_NUM_THREADS"


def compute(threads: int) -> None:
    """Compute with so many threads, keep the memory that a step frees, and report to nobody."""
    switch_off()
    keep_freed_memory()
    torch.set_num_threads(threads)


@contextmanager
def threads_of_libraries(threads: int) -> Iterator[None]:
    """Threads as libraries read them when they are loaded, for processes that are started meanwhile."""
    before = os.environ.get(_THREADS)
    os.environ[_THREADS] = str(threads)
    try:
        yield
    finally:
        if before is None:
            del os.environ[_THREADS]
        else:
            os.environ[_THREADS] = before


def place() -> Facts:
    """What the bits of a result depend on, where this process runs."""
    hardware = torch.backends.cpu.get_cpu_capability()
    if torch.cuda.is_available():
        hardware = torch.cuda.get_device_name()

    return {
        "host": platform.node(),
        "pid": os.getpid(),
        "versions": {name: version(name) for name in ("instant-soup", "torch")},
        "hardware": hardware,
        "threads": torch.get_num_threads(),
    }


def compare(theirs: Facts, ours: Facts) -> None:
    """Warn where a worker's hardware may round differently. Raises EngineError where its versions are others."""
    if theirs["versions"] != ours["versions"]:
        raise EngineError(
            f"the worker on {theirs['host']} has {_in_words(theirs['versions'])} and this process "
            f"{_in_words(ours['versions'])}; install the same on all"
        )

    for fact in ("hardware", "threads"):
        if theirs[fact] != ours[fact]:
            warnings.warn(
                f"{fact} of the worker on {theirs['host']} is {theirs[fact]} and here {ours[fact]}; sums may round "
                f"differently, so the ticket may not be the one that this machine alone draws",
                stacklevel=2,
            )


def portable_error(error: Exception) -> SoupError | str:
    """An error as it travels: one of our own as it is, of any other what it says and where it was."""
    if isinstance(error, SoupError):
        return error
    return f"{type(error).__name__}: {error}, on {platform.node()}"


def _in_words(versions: Mapping[str, str]) -> str:
    return " and ".join(f"{name} {number}" for name, number in versions.items())
