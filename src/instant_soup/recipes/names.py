"""Names: what a recipe names and no table holds, told out of the listing, before methods and tasks are imported."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from ..core.errors import RecipeError, unknown
from . import listing
from .later import RANGES

_OF_ALL = ("name", "preset")  # what every method's table may hold beside its knobs
_DESCRIBED = ("kind", "columns")  # what makes a task one's own, whatever its name


def refuse_unknown_names(fields: Mapping[str, Any], source: str) -> None:
    """Raise RecipeError for a method, a knob or a task that does not exist. What is no name is left to the recipe."""
    method = fields.get("method")
    if isinstance(method, Mapping) and isinstance(method.get("name"), str):
        _refuse_method(method, source)

    task = fields.get("task")
    if isinstance(task, Mapping) and not any(task.get(name) for name in _DESCRIBED):
        _refuse(task.get("name"), "task", listing.read()["tasks"], source, OWN)


def _refuse_method(method: Mapping[str, Any], source: str) -> None:
    methods = listing.read()["methods"]
    name = method["name"]
    _refuse(name, "method", methods, source)

    knobs = methods[name]["knobs"]
    moved = RANGES if "protocols" in knobs else ()
    for knob in method:
        if knob not in (*_OF_ALL, *moved):
            _refuse(knob, f"knob of {name}", knobs, source)


OWN = (
    ". For a task of your own, name its columns, such as task.columns = ['text'] and task.label = 'label', or set "
    "task.kind to 'images' or 'language'"
)


def _refuse(
    name: Any, kind: str, known: Collection[str], source: str, advice: str = ""
) -> None:
    if isinstance(name, str) and name not in known:
        raise RecipeError(f"{source}: {unknown(kind, name, known)}{advice}")
