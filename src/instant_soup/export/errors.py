"""Errors: the one kind of error of exports."""

from __future__ import annotations

from ..core.errors import SoupError


class ExportError(SoupError, ValueError):
    """A model cannot be exported, or what was exported does not do what the model does."""
