"""Rows: a file that several runs of a benchmark fill, a row each."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from instant_soup.core.files import write_text
from instant_soup.runs.environment import environment


def add(path: Path, row: Mapping[str, Any], same: Sequence[str]) -> None:
    """Put *row* into the file, in place of an earlier one in which the fields *same* are the same, and print it."""
    rows = json.loads(path.read_text())["rows"] if path.exists() else []
    rows = [
        other for other in rows if any(other.get(key) != row.get(key) for key in same)
    ]
    facts = {"environment": environment(), "rows": [*rows, dict(row)]}
    write_text(path, json.dumps(facts, indent=2) + "\n")
    print(row, flush=True)
