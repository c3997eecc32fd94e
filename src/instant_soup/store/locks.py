"""Locks: who works on what, among all processes that share a store. A lock dies with its owner."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock, Timeout

from ..core.errors import StoreError


@dataclass(frozen=True)
class Locks:
    """Locks by name in one folder. Held by the operating system, so that not even kill -9 leaves one behind.

    A process that holds a lock may take it again; it is free when each taking has ended.
    """

    folder: Path

    @contextmanager
    def hold(self, name: str) -> Iterator[None]:
        """Wait until *name* is free, then hold it. Raises StoreError where the folder cannot be written."""
        lock = self._lock(name)
        try:
            lock.acquire()
        except (OSError, NotImplementedError) as reason:
            raise _unusable(self.folder, reason) from reason
        try:
            yield
        finally:
            lock.release()

    @contextmanager
    def attempt(self, name: str) -> Iterator[bool]:
        """Hold *name* if nobody else does; yields whether it is held. Raises StoreError."""
        lock = self._lock(name)
        try:
            lock.acquire(blocking=False)
        except Timeout:
            yield False
            return
        except (OSError, NotImplementedError) as reason:
            raise _unusable(self.folder, reason) from reason

        try:
            yield True
        finally:
            lock.release()

    def busy(self, name: str) -> bool:
        """Whether somebody, this process included, holds *name*."""
        path = self.folder / f"{name}.lock"
        if not path.exists():
            return False
        if self._lock(name).is_locked:
            return True
        with self.attempt(name) as free:
            return not free

    def _lock(self, name: str) -> FileLock:
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as reason:
            raise _unusable(self.folder, reason) from reason

        # one object a path, so that a process that holds a lock may take it again
        path = self.folder / f"{name}.lock"
        return FileLock(path, is_singleton=True, thread_local=False)


def _unusable(folder: Path, reason: Exception) -> StoreError:
    return StoreError(
        f"could not lock in {folder} ({reason}); choose a folder that can be written and locked"
    )
