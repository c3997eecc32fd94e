"""Content: plain data as a key, the same wherever and whenever it is made."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

SHORT = 16  # digits of a key that name a file or a folder


def content_key(facts: Mapping[str, Any]) -> str:
    """SHA-256 of plain data, in 64 hexadecimal digits. The order of its entries does not matter."""
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()


def short(key: str) -> str:
    """*key* as files, folders and people know it."""
    return key[:SHORT]
