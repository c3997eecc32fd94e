"""Lottery tickets from large pre-trained transformers, at a fraction of the cost of IMP.

    import instant_soup as soup

    task = soup.tasks.text("glue/cola", model="google-bert/bert-base-uncased", data="path/to/parquet")
    ticket = soup.InstantSoup(denoisers=4).draw(task, sparsity=0.5)
    result = soup.evaluate(ticket, task)
    ticket.save("cola.safetensors")

Names are loaded when they are first used, so that importing the package costs little.
"""

from __future__ import annotations

from importlib import import_module
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from . import tasks
    from .core.budget import Cost, Meter
    from .core.errors import RevivedError, SoupError
    from .core.mask import Mask
    from .core.prune import prune
    from .core.scope import Scope
    from .core.ticket import Ticket
    from .export.importing import import_ticket
    from .lab.large import prune_checkpoint
    from .lab.recipe import Recipe
    from .lab.run import Result, evaluate, run
    from .lab.store import Store
    from .methods import (
        METHODS,
        Dense,
        EarlyBird,
        Gradual,
        Grasp,
        InstantModelSoup,
        InstantSoup,
        Lottery,
        LotteryPools,
        Method,
        ModelSoup,
        OneShot,
        Snip,
        control,
    )
    from .models.checkpoint import Checkpoint
    from .training.callback import TicketCallback
    from .training.guard import Guard, guard
    from .training.regime import Regime

_HOMES = {
    "Cost": "core.budget",
    "Meter": "core.budget",
    "RevivedError": "core.errors",
    "SoupError": "core.errors",
    "Mask": "core.mask",
    "prune": "core.prune",
    "Scope": "core.scope",
    "Ticket": "core.ticket",
    "import_ticket": "export.importing",
    "prune_checkpoint": "lab.large",
    "Recipe": "lab.recipe",
    "Result": "lab.run",
    "evaluate": "lab.run",
    "run": "lab.run",
    "Store": "lab.store",
    "METHODS": "methods",
    "Dense": "methods",
    "EarlyBird": "methods",
    "Gradual": "methods",
    "Grasp": "methods",
    "InstantModelSoup": "methods",
    "InstantSoup": "methods",
    "Lottery": "methods",
    "LotteryPools": "methods",
    "Method": "methods",
    "ModelSoup": "methods",
    "OneShot": "methods",
    "Snip": "methods",
    "control": "methods",
    "Checkpoint": "models.checkpoint",
    "Guard": "training.guard",
    "guard": "training.guard",
    "Regime": "training.regime",
    "TicketCallback": "training.callback",
}

__version__ = version("instant-soup")
__all__ = [
    "METHODS", "Checkpoint", "Cost", "Dense", "EarlyBird", "Gradual", "Grasp", "Guard", "InstantModelSoup",
    "InstantSoup", "Lottery", "LotteryPools", "Mask", "Meter", "Method", "ModelSoup", "OneShot", "Recipe", "Regime",
    "Result", "RevivedError", "Scope", "Snip", "SoupError", "Store", "Ticket", "TicketCallback", "control",
    "evaluate", "guard", "import_ticket", "prune", "prune_checkpoint", "run", "tasks",
]  # fmt: skip


def __getattr__(name: str) -> Any:
    if name == "tasks":
        return import_module(".tasks", __name__)
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f".{_HOMES[name]}", __name__), name)


def __dir__() -> list[str]:
    return sorted(__all__)
