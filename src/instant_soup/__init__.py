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

from .core.courier import appoint

if TYPE_CHECKING:
    from . import tasks
    from .checkpoints.checkpoint import Checkpoint
    from .checkpoints.prune import prune_checkpoint
    from .core.budget import Cost, Meter
    from .core.errors import RevivedError, SoupError
    from .core.mask import Mask
    from .core.names.match import Piece
    from .core.prune import prune
    from .core.scope import Scope
    from .core.ticket import Ticket
    from .export.export import export_ticket
    from .export.hub import pull_from_hub, push_to_hub
    from .export.importing import import_ticket
    from .integrations.adapters import Merged, mask_adapters, merge_adapters
    from .integrations.callback import TicketCallback
    from .integrations.guard import Guard, guard
    from .integrations.shira import shira, shira_config
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
    from .recipes.recipe import Recipe
    from .runs.progress import progress
    from .runs.result import Result
    from .runs.run import evaluate, run
    from .runs.transfer import transfer
    from .store.store import Store
    from .training.regime import Regime

_HOMES = {
    "Cost": "core.budget",
    "Meter": "core.budget",
    "RevivedError": "core.errors",
    "SoupError": "core.errors",
    "Mask": "core.mask",
    "Piece": "core.names.match",
    "prune": "core.prune",
    "Scope": "core.scope",
    "Ticket": "core.ticket",
    "pull_from_hub": "export.hub",
    "push_to_hub": "export.hub",
    "import_ticket": "export.importing",
    "prune_checkpoint": "checkpoints.prune",
    "export_ticket": "export.export",
    "Recipe": "recipes.recipe",
    "Result": "runs.result",
    "progress": "runs.progress",
    "evaluate": "runs.run",
    "run": "runs.run",
    "Store": "store.store",
    "transfer": "runs.transfer",
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
    "Checkpoint": "checkpoints.checkpoint",
    "Merged": "integrations.adapters",
    "mask_adapters": "integrations.adapters",
    "merge_adapters": "integrations.adapters",
    "Guard": "integrations.guard",
    "guard": "integrations.guard",
    "Regime": "training.regime",
    "shira": "integrations.shira",
    "shira_config": "integrations.shira",
    "TicketCallback": "integrations.callback",
}

__version__ = version("instant-soup")
__all__ = [
    "METHODS", "Checkpoint", "Cost", "Dense", "EarlyBird", "Gradual", "Grasp", "Guard", "InstantModelSoup",
    "InstantSoup", "Lottery", "LotteryPools", "Mask", "Merged", "Meter", "Method", "ModelSoup", "OneShot", "Piece",
    "Recipe", "Regime", "Result", "RevivedError", "Scope", "Snip", "SoupError", "Store", "Ticket", "TicketCallback",
    "control", "evaluate", "export_ticket", "guard", "import_ticket", "mask_adapters", "merge_adapters", "progress",
    "prune", "prune_checkpoint", "pull_from_hub", "push_to_hub", "run", "shira", "shira_config", "tasks", "transfer",
]  # fmt: skip


# tickets are of the lowest floor, and what reaches the hub is of a higher one
appoint(lambda: import_module(".export.hub", __name__))


def __getattr__(name: str) -> Any:
    if name == "tasks":
        return import_module(".tasks", __name__)
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f".{_HOMES[name]}", __name__), name)


def __dir__() -> list[str]:
    return sorted(__all__)
