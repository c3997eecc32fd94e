"""Passed: how far a job over the blocks of a checkpoint is, in a file beside its shards."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..core.errors import StoreError
from ..core.files import write_text
from ..core.stored import header
from .checkpoint import Checkpoint
from .job import RECORD


def facts(source: Path, checkpoint: Checkpoint, job: Mapping[str, Any]) -> dict[str, Any]:
    """What a job is known by: *job*, what was asked for, and of which files."""
    files = []
    for file in checkpoint.files:
        state = file.stat()
        files.append([file.name, state.st_size, state.st_mtime_ns])
    return {"source": source.resolve().name, "files": files, **job}


def begun(folder: Path, asked: Mapping[str, Any]) -> int | None:
    """How many blocks an earlier call passed; None where it has ended. Raises StoreError where it was another job."""
    record = folder / RECORD
    if not record.is_file():
        write_text(record, json.dumps({"schema": 1, "blocks": asked, "passed": 0}))
        return 0

    try:
        told = json.loads(record.read_text(encoding="utf-8"))
        before, passed = dict(told["blocks"]), told["passed"]
    except (OSError, ValueError, KeyError, TypeError) as reason:
        raise StoreError(
            f"{record} is of another job or not readable ({reason!r}); choose another folder"
        ) from reason

    for name, value in asked.items():
        if before.get(name) != value:
            raise StoreError(
                f"{folder} was begun with {name} {before.get(name)!r}, and now it is {value!r}; "
                f"choose another folder, or delete this one"
            )

    return None if passed == "all" else int(passed)


def note(folder: Path, passed: int | str) -> None:
    """Remember how many blocks are passed."""
    told = json.loads((folder / RECORD).read_text(encoding="utf-8"))
    write_text(folder / RECORD, json.dumps({**told, "passed": passed}))


def kept_by_shards(folder: Path) -> dict[str, int]:
    """How many weights each shard says to have kept of its parameters."""
    kept: dict[str, int] = {}
    for path in sorted(folder.glob("model-*-of-*.safetensors")):
        kept |= json.loads(header(path)[1].get("kept", "{}"))
    return kept
