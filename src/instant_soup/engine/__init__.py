"""Where work runs: in this process, in several of this machine, or on a Ray cluster. Methods never know.

An engine knows nothing of models or methods. A worker makes something that works, once, keeps it warm and hands it
one errand after another, each with what all errands of a round share.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Literal, get_args

from ..core.errors import unknown
from ..core.extras import extra

if TYPE_CHECKING:
    from .crew import Crew
    from .worker import Make

Engine = Literal["here", "processes", "ray"]
ENGINES: tuple[Engine, ...] = get_args(Engine)


def hiring(
    engine: Engine, make: Make, *, workers: int | None = None, address: str = "auto"
) -> Callable[[], Crew] | None:
    """What hires a crew of *workers* that each keep what *make* makes; None for ``"here"``, which needs none.

    Args:
        engine: where the workers are: processes of this machine, or actors of a Ray cluster.
        make: makes what does the work; it is pickled.
        workers: how many; as many as there is room for if None.
        address: of the Ray cluster: ``"auto"`` for the one that this machine is part of, ``"local"`` to start one for
            as long as the crew works.

    Raises:
        UnknownName: there is no such engine.
        MissingExtra: Ray is not installed.
    """
    if engine not in ENGINES:
        raise unknown("engine", engine, ENGINES)
    import torch  # slow, and not needed by who asks for the names only

    threads = torch.get_num_threads()
    if engine == "processes":
        return lambda: _processes(make, threads, workers)
    if engine == "ray":
        must_have_ray()
        return lambda: _ray(make, threads, workers, address)
    return None


def _processes(make: Make, threads: int, workers: int | None) -> Crew:
    from .crew import Crew
    from .processes import Processes

    return Crew(Processes(make, threads), workers or max(1, (os.cpu_count() or 1) // threads))


def _ray(make: Make, threads: int, workers: int | None, address: str) -> Crew:
    from .crew import Crew
    from .ray import Actors

    actors = Actors(make, threads, address)
    return Crew(actors, workers or actors.room)


def must_have_ray() -> None:
    """Raises MissingExtra where Ray is not installed."""
    extra("ray", "ray", "engine 'ray'")
