"""Launch: whether this process is one of several ranks. Knows the environment alone, so that asking costs nothing."""

from __future__ import annotations

import os


def launched() -> bool:
    """Whether this process is one of several ranks."""
    return "LOCAL_RANK" in os.environ and int(os.environ.get("WORLD_SIZE", "1")) > 1
