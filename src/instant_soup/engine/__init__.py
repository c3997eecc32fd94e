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
    from .worker import Make
    from .workers import Workers

Engine = Literal["here", "processes", "ray"]
ENGINES: tuple[Engine, ...] = get_args(Engine)


def hiring(
    engine: Engine, make: Make, *, workers: int | None = None, address: str = "auto"
) -> Callable[[], Workers] | None:
    """What hires *workers* that each keep what *make* makes; None for ``"here"``, which needs none.

    Args:
        engine: where the workers are: processes of this machine, or actors of a Ray cluster.
        make: makes what does the work; it is pickled.
        workers: how many; as many as there is room for if None.
        address: of the Ray cluster: ``"auto"`` for the one that this machine is part of, ``"local"`` to start one for
            as long as the workers are there.

    Raises:
        UnknownName: there is no such engine.
        MissingExtra: Ray is not installed.
    """
    if engine not in ENGINES:
        raise unknown("engine", engine, ENGINES)

    import torch  # slow, and not needed by who asks for the names only

    threads = torch.get_num_threads()
    if engine == "processes":
        return lambda: _on_processes(make, threads, workers)
    if engine == "ray":
        must_have_ray()
        return lambda: _on_ray(make, threads, workers, address)
    return None


def _on_processes(make: Make, threads: int, count: int | None) -> Workers:
    from .processes import Processes
    from .workers import Workers

    room = max(1, (os.cpu_count() or 1) // threads)
    return Workers(Processes(make, threads), count or room)


def _on_ray(make: Make, threads: int, count: int | None, address: str) -> Workers:
    from .ray import Actors
    from .workers import Workers

    actors = Actors(make, threads, address)
    return Workers(actors, count or actors.room)


def must_have_ray() -> None:
    """Raises MissingExtra where Ray is not installed."""
    extra("ray", "ray", "engine 'ray'")
