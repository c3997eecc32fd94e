"""Progress: where a run stands, in a file that others can read while it runs."""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from ..core.budget import Pulse
from ..core.errors import StoreError
from ..recipes.recipe import Recipe
from ..runs.plan import rehearse
from ..runs.run import Watch
from ..runs.sizes import Sizes
from ..store.plain import Kinds, read_json, write_json
from ..store.store import Store
from ..tasks import CourseTask

EVERY = 1.0  # seconds between notes
_NUMBER = (int, float)
KINDS: Kinds = {
    "pid": int,
    "host": str,
    "since": _NUMBER,
    "expected": int,
    "passes": int,
    "stage": str,
}
"""What a note says, and of which kind each is."""


@dataclass
class Progress:
    """Notes of one run in ``DIR/locks``, beside the lock that says that it runs."""

    path: Path
    _passes: dict[str, int] = field(default_factory=dict)
    _told: float = 0.0

    @classmethod
    def of(cls, store: Store, recipe: Recipe) -> Self:
        """Where a run of *recipe* notes how far it is."""
        return cls(store.progress(recipe))

    @classmethod
    def all(cls, store: Store) -> list[Self]:
        """Every place in *store* where a run notes how far it is."""
        return [cls(path) for path in store.progresses()]

    def begin(
        self, recipe: Recipe, tell: Callable[[str, Pulse], None] | None, task: CourseTask
    ) -> Watch:
        """What `run` is to call as it goes on: it notes in this file where the run stands, and calls *tell*, too."""
        draw, train = rehearse(recipe, Sizes.of(task))
        facts = {
            "pid": os.getpid(),
            "host": platform.node(),
            "since": time.time(),
            "expected": draw.spent.passes + train.spent.passes,
        }
        write_json(self.path, {**facts, "passes": 0, "stage": "begins"})

        def watch(stage: str, pulse: Pulse) -> None:
            self._passes[stage] = pulse.spent.passes
            if time.monotonic() - self._told >= EVERY:
                self._told = time.monotonic()
                now = {
                    "passes": sum(self._passes.values()),
                    "stage": f"{stage}: {pulse.purpose}",
                    "loss": pulse.loss,
                    "sparsity": pulse.sparsity,
                }
                write_json(self.path, {**facts, **now})

            if tell:
                tell(stage, pulse)

        return watch

    def read(self) -> Mapping[str, Any]:
        """The last note; nothing where there is none."""
        try:
            return read_json(self.path)
        except StoreError:
            return {}  # it has just begun, or just ended

    def end(self) -> None:
        """Forget it: the run is over."""
        self.path.unlink(missing_ok=True)
