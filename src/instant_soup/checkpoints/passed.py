"""Passed: how far a job over the blocks of a checkpoint is, in a file beside its shards."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any, Self

from torch import Tensor

from ..core.errors import StoreError
from ..core.files import write_text
from ..core.stored import UNREADABLE, header
from ..store.plain import seal, sealed
from .checkpoint import Checkpoint
from .job import RECORD, checksum_of, is_as_written, refuse_another_job

SCHEMA = 3
_ENDED = "all"
_DIGESTS = {
    "windows": "the text to calibrate on gives other windows of tokens",
    "config": "the model's config.json says something else",
}
"""What is known by a digest, and how a change of it is told."""


@dataclass
class Passed:
    """How far a job is.

    Attributes:
        folder: where its shards are.
        asked: what was asked for, and of which files.
        blocks: how many were passed; None where the job has ended.
        shards: the CRC-32 of each shard that was written; none of jobs that an earlier version began.
    """

    folder: Path
    asked: Mapping[str, Any]
    blocks: int | None = 0
    shards: dict[str, int] = field(default_factory=dict)

    @classmethod
    def begun(cls, folder: Path, asked: Mapping[str, Any]) -> Self:
        """How far an earlier call came, or a job that begins now.

        Raises StoreError where it was another job, its record was damaged, or a shard of it.
        """
        record = folder / RECORD
        if not record.is_file():
            begins = cls(folder, asked)
            begins._note()
            return begins

        try:
            told = json.loads(record.read_text(encoding="utf-8"))
            before = dict(told["blocks"])
            blocks = None if told["passed"] == _ENDED else int(told["passed"])
            # schema 1 noted none, and no checksum of itself
            shards = {str(name): int(crc) for name, crc in told.get("shards", {}).items()}
            whole = told["schema"] == 1 or sealed(told)
        except UNREADABLE as reason:
            raise StoreError(
                f"{record} is of another job or not readable ({reason!r}); choose another folder"
            ) from reason
        if not whole:
            raise StoreError(
                f"{record} does not match its checksum; delete {folder} and begin again"
            )

        plain = {name: value for name, value in asked.items() if name not in _DIGESTS}
        refuse_another_job(folder, before, plain)
        _refuse_changes(folder, before, asked)

        goes_on = cls(folder, asked, blocks, shards)
        goes_on._refuse_damage()
        return goes_on

    def wrote(self, shard: Path) -> None:
        """Take down what a shard holds, for the next note."""
        self.shards[shard.name] = checksum_of(shard)

    def note(self, blocks: int) -> None:
        """Remember how many blocks are passed."""
        self.blocks = blocks
        self._note()

    def end(self) -> None:
        """Remember that the job has ended."""
        self.blocks = None
        self._note()

    def _note(self) -> None:
        facts = {
            "schema": SCHEMA,
            "blocks": dict(self.asked),
            "passed": _ENDED if self.blocks is None else self.blocks,
            "shards": self.shards,
        }
        write_text(self.folder / RECORD, json.dumps(seal(facts)))

    def _refuse_damage(self) -> None:
        for name, checksum in self.shards.items():
            path = self.folder / name
            if not is_as_written(path, checksum):
                raise StoreError(
                    f"{path} is not as it was written; delete {self.folder} and begin again"
                )


def _refuse_changes(
    folder: Path, before: Mapping[str, Any], asked: Mapping[str, Any]
) -> None:
    """Raise StoreError where a digest of *asked* is another one than it was *before*."""
    for name, words in _DIGESTS.items():
        # earlier schemas noted none
        digest = before.get(name)
        if digest is not None and digest != asked[name]:
            raise StoreError(
                f"{words} than when {folder} was begun; put back what was there, choose another folder, or delete "
                f"this one"
            )


def facts(
    source: Path, checkpoint: Checkpoint, job: Mapping[str, Any], windows: Tensor | None
) -> dict[str, Any]:
    """What a job is known by: *job*, what was asked for, and of which files.

    Args:
        windows: the tokens to calibrate on, int64 [n, L]; None where it takes none.
    """
    files = []
    for file, state in checkpoint.states.items():
        files.append([file.name, state.size, state.modified])

    config = sha256((source / "config.json").read_bytes()).hexdigest()
    tokens = None
    if windows is not None:
        tokens = sha256(windows.numpy().tobytes()).hexdigest()
    return {
        "source": source.resolve().name,
        "files": files,
        "config": config,
        "windows": tokens,
        **job,
    }


def kept_by_shards(folder: Path) -> dict[str, int]:
    """How many weights each shard says to have kept of its parameters."""
    kept: dict[str, int] = {}
    for path in sorted(folder.glob("model-*-of-*.safetensors")):
        kept |= json.loads(header(path)[1].get("kept", "{}"))
    return kept
