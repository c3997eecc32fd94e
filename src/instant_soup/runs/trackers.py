"""Trackers: what happens in a run, passed on to TensorBoard, MLflow, W&B or Trackio by Accelerate's trackers.

Off unless asked for, and no part of a recipe: a tracker sees and cannot change. One that fails is
dropped with a warning, and the run goes on.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ..core.budget import Pulse
from ..core.errors import UnknownName, unknown
from ..core.extras import package
from ..recipes.recipe import Recipe
from ..store.record import Record

PROJECT = "instant-soup"
PACKAGES = {
    "tensorboard": "tensorboard",
    "mlflow": "mlflow",
    "wandb": "wandb",
    "trackio": "trackio",
}
"""Trackers by name, and the package that each needs."""


class Tracked:
    """Passes on what it is told to every tracker that still works."""

    def __init__(self, trackers: Mapping[str, Any]) -> None:
        self._trackers = dict(trackers)
        self._step = 0

    def watch(self, stage: str, pulse: Pulse) -> None:
        """Log a piece of work: what `run` tells."""
        self._step += 1
        values = {
            "loss": pulse.loss,
            "sparsity": pulse.sparsity,
            "steps": pulse.spent.steps,
            "passes": pulse.spent.passes,
        }

        # not every piece of work has a loss or a sparsity, and trackers take numbers only
        stated = {}
        for name, value in values.items():
            if value is not None:
                stated[f"{stage}/{name}"] = value
        self._log(stated)

    def finish(self, record: Record) -> None:
        """Log what came of the run."""
        self._step += 1
        values = {f"test/{name}": value for name, value in record.test.items()}
        values["validation"] = record.validation
        values["cost in T"] = record.cost.multiple_of_T
        self._log(values)

    def begin(self, configuration: Mapping[str, Any]) -> None:
        """Start every tracker, and log what is run."""
        self._each("start", lambda tracker: tracker.start())
        noted = dict(configuration)
        self._each("configure", lambda tracker: tracker.store_init_configuration(noted))

    def end(self) -> None:
        """Let every tracker write what it holds."""
        self._each("finish", lambda tracker: tracker.finish())

    def _log(self, values: Mapping[str, float]) -> None:
        # a copy for each, because trackers add to what they are given
        step = self._step
        self._each("log", lambda tracker: tracker.log(dict(values), step=step))

    def _each(self, act: str, action: Callable[[Any], object]) -> None:
        # a list, because a tracker that fails is taken out of the table meanwhile
        for name, tracker in list(self._trackers.items()):
            try:
                action(tracker)
            except Exception as reason:
                # whatever a tracker raises, the run is worth more
                del self._trackers[name]
                warnings.warn(
                    f"{name} could not {act} ({reason}); the run goes on without it",
                    stacklevel=2,
                )


@contextmanager
def tracked(names: Iterable[str], recipe: Recipe, folder: Path) -> Iterator[Tracked]:
    """Trackers for one run; their files go below *folder* where they keep files themselves.

    Raises UnknownName for a tracker there is none of, MissingExtra where its package is not installed.
    """
    by_name = {}
    for name in dict.fromkeys(names):
        by_name[name] = _tracker(name, recipe, folder)
    trackers = Tracked(by_name)
    trackers.begin(_flat(recipe.model_dump(mode="json")))

    try:
        yield trackers
    finally:
        trackers.end()


def _tracker(name: str, recipe: Recipe, folder: Path) -> Any:
    if name not in PACKAGES:
        raise UnknownName(str(unknown("tracker", name, PACKAGES)))
    package(PACKAGES[name], name, f"tracker {name!r}")
    from accelerate import PartialState, tracking

    # Accelerate's trackers ask it which of several processes logs
    PartialState()

    title = f"{recipe.label} {recipe.key[:8]}"
    # the title names a folder, and a task's name has a slash
    if name == "tensorboard":
        return tracking.TensorBoardTracker(
            title.replace("/", "-"), logging_dir=folder / "tensorboard"
        )
    if name == "mlflow":
        return tracking.MLflowTracker(experiment_name=PROJECT, run_name=title)

    by_name = {"wandb": tracking.WandBTracker, "trackio": tracking.TrackioTracker}
    return by_name[name](PROJECT, name=title)


def _flat(fields: Mapping[str, Any], above: str = "") -> dict[str, Any]:
    """One level of plain values, which is what trackers take."""
    level: dict[str, Any] = {}
    for name, value in fields.items():
        if isinstance(value, Mapping):
            level |= _flat(value, f"{above}{name}.")
        else:
            plain = isinstance(value, int | float | str | bool)
            level[f"{above}{name}"] = value if plain else str(value)
    return level
