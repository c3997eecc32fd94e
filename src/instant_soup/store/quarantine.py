"""Quarantine: where what is damaged in a store is put, under the path that it had; nothing is ever deleted."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from ..core.errors import StoreError
from .cell import unlinked


class Quarantine:
    """A folder of this very moment in ``DIR/quarantine``, made when something is first put there.

    Raises StoreError where ``DIR/quarantine`` is a link.
    """

    def __init__(self, root: Path) -> None:
        now = datetime.now(UTC).strftime("%Y%m%d-%H%M%S-%f")
        self._root = root
        self._folder = unlinked(root / "quarantine") / now

    def take(self, path: Path) -> Path | None:
        """Where *path* is now; None if it went already. Raises StoreError when it cannot be moved."""
        # a link to nothing does not exist, and is moved all the same
        if not path.exists() and not path.is_symlink():
            return None

        goal = self._folder / path.relative_to(self._root)
        try:
            goal.parent.mkdir(parents=True, exist_ok=True)
            path.rename(goal)
        except OSError as reason:
            raise StoreError(
                f"could not move {path} to {goal} ({reason}); make room or change its owner"
            ) from reason
        return goal
