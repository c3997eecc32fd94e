"""What goes wrong with exports, and extras that are missing."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from ..core.errors import SoupError


class ExportError(SoupError, ValueError):
    """A model cannot be exported, or what was exported does not do what the model does."""


def extra(module: str, name: str) -> Any:
    """*module*, which the extra *name* brings. Raises ExportError when it is not installed."""
    try:
        return import_module(module)
    except ImportError as reason:
        raise ExportError(
            f"format {name!r} needs {module} ({reason}); install it with: pip install 'instant-soup[{name}]'"
        ) from reason
