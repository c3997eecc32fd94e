"""Paths: arguments that name what is there already, looked for before the slow imports."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ..core.errors import DataError, RecipeError, StoreError, TicketError


def _recipe(path: Path) -> Path:
    """*path*, if anything is there. Raises RecipeError."""
    if not path.exists():
        raise RecipeError(
            f"no recipe at {path}; check the path, or let `instant-soup new {path}` write one"
        )
    return path


def _ticket(path: Path) -> Path:
    """*path*, if anything is there. Raises TicketError."""
    if not path.exists():
        raise TicketError(f"no ticket at {path}; check the path")
    return path


def _tickets(paths: list[Path]) -> list[Path]:
    """*paths*, if something is at each. Raises TicketError."""
    return [_ticket(path) for path in paths]


def _runs(folder: Path) -> Path:
    """*folder*, if it is one. Raises StoreError."""
    if not folder.is_dir():
        raise StoreError(f"no folder at {folder}; give the folder that runs are kept in")
    return folder


def _anything(path: Path) -> Path:
    """*path*, if anything is there. Raises DataError."""
    if not path.exists():
        raise DataError(f"nothing is at {path}; check the path")
    return path


RecipePath = Annotated[
    Path, typer.Argument(metavar="RECIPE", help="A recipe in TOML.", callback=_recipe)
]
TicketPath = Annotated[
    Path, typer.Argument(metavar="TICKET", help="A ticket file.", callback=_ticket)
]
TicketPaths = Annotated[
    list[Path],
    typer.Argument(metavar="TICKET...", help="Ticket files.", callback=_tickets),
]
RunsPath = Annotated[
    Path, typer.Argument(metavar="DIR", help="A folder of runs.", callback=_runs)
]
RecordsPath = Annotated[
    Path,
    typer.Argument(
        metavar="DIR",
        help="A folder of runs, or of records copied out of one.",
        callback=_runs,
    ),
]
CheckpointPath = Annotated[
    Path,
    typer.Argument(
        metavar="CHECKPOINT",
        help="A folder of safetensors, or one file.",
        callback=_anything,
    ),
]
SourcePath = Annotated[
    Path,
    typer.Argument(
        metavar="SOURCE",
        help="A sparse model of another tool: file or folder.",
        callback=_anything,
    ),
]
