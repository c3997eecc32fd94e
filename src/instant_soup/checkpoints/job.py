"""Job: what one call of `prune_checkpoint` has agreed on and done, in a file beside the shards that it writes."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from threading import Lock
from typing import Any
from zlib import crc32

from ..core.errors import StoreError
from ..core.files import forget, left_behind, write_text
from ..core.places import real
from ..core.stored import UNREADABLE
from ..store.locks import Locks
from ..store.plain import seal, sealed
from .checkpoint import INDEX
from .counts import Cut

SCHEMA = 2
RECORD = "instant_soup.json"
_READ = 1 << 20  # bytes read at a time


@dataclass
class PruneJob:
    """Where a checkpoint is cut, and which shards are written.

    Attributes:
        folder: where the shards go.
        asked: what was asked for, and of which files.
        size: how many weights the scope has.
        cuts: where each parameter is cut.
        shards: the CRC-32 of each shard that is written. It tells damage, and costs a third of the time of SHA-256.
    """

    folder: Path
    asked: Mapping[str, Any]
    size: int
    cuts: Mapping[str, Cut]
    shards: dict[str, int]

    def __post_init__(self) -> None:
        self._writing = Lock()

    @classmethod
    def begun(cls, folder: Path, asked: Mapping[str, Any]) -> PruneJob | None:
        """What an earlier call agreed on, if there was one.

        Raises StoreError when its record is damaged, or it was asked for something else.
        """
        path = folder / RECORD
        if not path.is_file():
            return None

        try:
            facts = json.loads(path.read_text(encoding="utf-8"))
            _check(facts)
            before = dict(facts["job"])
            cuts = {name: Cut(*cut) for name, cut in facts["cuts"].items()}
            # schema 1 noted none: they are written again
            shards = dict(facts.get("shards", {}))
            size = int(facts["prunable"])
        except UNREADABLE as reason:
            raise StoreError(
                f"{path} is not readable ({reason!r}); delete {folder} and begin again"
            ) from reason

        same_source = before.get("source") == asked["source"]
        if same_source and before.get("files") != asked["files"]:
            raise StoreError(
                f"the files of {asked['source']} have changed since {folder} was begun; delete it and begin again"
            )
        refuse_another_job(folder, before, asked)
        return cls(folder, asked, size, cuts, shards)

    def note(self) -> None:
        """Write down what is agreed on and done. Raises StoreError."""
        kept = sum(cut.kept for cut in self.cuts.values())
        facts = {
            "schema": SCHEMA,
            "job": dict(self.asked),
            "kept": kept,
            "prunable": self.size,
            "cuts": {name: [*asdict(cut).values()] for name, cut in self.cuts.items()},
            "shards": self.shards,
        }
        write_text(self.folder / RECORD, json.dumps(seal(facts), sort_keys=True))

    def wrote(self, shard: str, checksum: int) -> None:
        """Note that a shard is there. Threads may do so at the same time. Raises StoreError."""
        with self._writing:
            self.shards[shard] = checksum
            self.note()

    def has(self, shard: str) -> bool:
        """Whether a shard is there, to the byte as it was written."""
        if shard not in self.shards:
            return False
        return is_as_written(self.folder / shard, self.shards[shard])


def _check(facts: Mapping[str, Any]) -> None:
    if facts["schema"] > 1 and not sealed(facts):
        raise ValueError("it does not match its checksum")


def refuse_another_job(
    folder: Path, before: Mapping[str, Any], asked: Mapping[str, Any]
) -> None:
    """Raise StoreError where what was asked for *before* in *folder* differs from what is asked for now."""
    for field, value in asked.items():
        if before.get(field) != value:
            raise StoreError(
                f"{folder} was begun with {field} {before.get(field)!r}, and now it is {value!r}; "
                f"choose another folder, or delete this one"
            )


def is_as_written(shard: Path, checksum: int) -> bool:
    """Whether *shard* is a file, and no link, with this CRC-32. Raises StoreError where it cannot be read."""
    if shard.is_symlink() or not shard.is_file():
        return False
    return checksum_of(shard) == checksum


def checksum_of(path: Path) -> int:
    """The CRC-32 of a file. Raises StoreError where it cannot be read."""
    checksum = 0
    try:
        with path.open("rb") as file:
            # in pieces: a shard may be larger than memory
            while chunk := file.read(_READ):
                checksum = crc32(chunk, checksum)
    except OSError as reason:
        raise StoreError(
            f"could not read {path} ({reason}); delete it, and it is written again"
        ) from reason
    return checksum


@contextmanager
def alone(folder: Path, source: Path, files: Collection[str]) -> Iterator[None]:
    """Be the only job that writes into *folder*, in which there is nothing but what such jobs write.

    What killed jobs left half-written there is removed: of *files*, and of whatever goes with them.

    Raises StoreError where somebody else is at it, or it holds something else.
    """
    if real(folder) in (real(source), real(source).parent):
        raise StoreError(
            f"{folder} is where the source is; choose another folder to write to"
        )
    if folder.exists() and not folder.is_dir():
        raise StoreError(f"{folder} is no folder; choose another name to write to")

    for name in files:
        if name.startswith(RECORD) or name == INDEX:
            raise StoreError(
                f"the shard {name!r} has the name of a file that is written beside it; rename it"
            )

    begun = (folder / RECORD).is_file()
    if folder.is_dir() and not begun and any(folder.glob("*.safetensors")):
        raise StoreError(
            f"{folder} holds a checkpoint that is not of this job; choose another folder"
        )

    lock = folder / f"{RECORD}.lock"
    for path in (lock, folder / RECORD):
        if path.is_symlink():
            raise StoreError(
                f"{path} is a symbolic link, and it would be written to; choose another folder"
            )

    with Locks(folder).attempt(RECORD) as free:
        if not free:
            raise StoreError(
                f"another process is at work in {folder}; wait for it, or choose another folder"
            )
        beside = [path.name for path in source.glob("*")]
        forget(left_behind(folder, [RECORD, INDEX, *files, *beside]))
        try:
            yield
        finally:
            lock.unlink(missing_ok=True)
