"""Toml: files of recipes as plain data, before anyone asks what they mean."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..core.errors import RecipeError


def read(path: Path) -> dict[str, Any]:
    """What a file holds, on top of the files that its ``extends`` names, the later on top of the earlier.

    Raises RecipeError when a file is missing or no TOML, or extends itself.
    """
    return _read(path, ())


def _read(path: Path, below: tuple[Path, ...]) -> dict[str, Any]:
    try:
        fields = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        source = f", which {below[-1]} extends" if below else ""
        raise RecipeError(f"no recipe at {path}{source}; check the path") from None
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise RecipeError(f"{path} is not TOML ({error}); see recipes/demo.toml for a recipe that is") from error
    bases = fields.pop("extends", [])
    bases = [bases] if isinstance(bases, str) else bases
    if not isinstance(bases, list) or not all(isinstance(base, str) for base in bases):
        raise RecipeError(f"{path}: extends is {bases!r}; expected a path, from where this file is, or some")
    if path.resolve() in below:
        raise RecipeError(f"{path} extends itself by way of {below[-1]}; take one of them out")
    whole: dict[str, Any] = {}
    for base in bases:
        whole = merged(whole, _read(path.parent / base, (*below, path.resolve())))
    return merged(whole, fields)


def cells(fields: dict[str, Any], source: str) -> dict[str, dict[str, Any]]:
    """Take the cells, what each recipe of the file has for its own, out of *fields*. Raises RecipeError."""
    found = fields.pop("cells", {})
    if not isinstance(found, dict) or not all(isinstance(cell, dict) for cell in found.values()):
        raise RecipeError(f"{source}: 'cells' is no table of tables; write [cells.NAME]")
    return found


def merged(fields: Mapping[str, Any], own: Mapping[str, Any]) -> dict[str, Any]:
    """*fields* with *own* on top, table by table; another method comes with its own knobs only."""
    whole = dict(fields)
    for name, value in own.items():
        here = whole.get(name)
        if isinstance(here, Mapping) and isinstance(value, Mapping) and not _another(name, here, value):
            whole[name] = merged(here, value)
        else:
            whole[name] = value
    return whole


def _another(name: str, here: Mapping[str, Any], value: Mapping[str, Any]) -> bool:
    return name == "method" and value.get("name", here.get("name")) != here.get("name")


def change(fields: dict[str, Any], change: str) -> None:
    """Set the field that *change*, such as ``"method.denoisers=8"``, names. Raises RecipeError."""
    path, equals, text = change.partition("=")
    if not equals or not path.strip() or "\n" in change:
        raise RecipeError(f"--set {change!r} is not key=value; write for example --set method.denoisers=8")
    *tables, last = (part.strip() for part in path.split("."))
    for table in tables:
        fields = fields.setdefault(table, {})
        if not isinstance(fields, dict):
            raise RecipeError(f"--set {change!r}: {table!r} is no table; see `instant-soup plan` for the fields")
    try:
        fields[last] = tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        fields[last] = text.strip()  # a bare word is text


def without_none(fields: dict[str, Any]) -> dict[str, Any]:
    """TOML has no null: a field that is not set is left out."""
    return {
        name: without_none(value) if isinstance(value, dict) else value
        for name, value in fields.items()
        if value is not None
    }
