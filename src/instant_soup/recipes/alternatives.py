"""Alternatives: the lists of a file of recipes, and every choice that they leave."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import product
from math import prod
from typing import Any

from ..core.errors import RecipeError
from . import toml
from .known import DRAWN
from .later import RANGES

_LISTS = {
    ("task", "columns"),
    ("task", "metrics"),
    ("task", "classes"),
    ("task", "templates"),
}
"""Fields outside methods that hold a list as one value."""

Fields = dict[str, Any]
FieldPath = tuple[str, ...]
"""The names of the tables that lead to a field, and its own."""


@dataclass(frozen=True)
class Axis:
    """Alternatives, in place of a value."""

    values: tuple[Any, ...]


def with_sweep(fields: Fields, where: str) -> Fields:
    """*fields* without their table ``sweep``, whose lists take the places of the fields that they name."""
    fields = dict(fields)
    sweep = fields.pop("sweep", {})

    if not isinstance(sweep, Mapping):
        raise RecipeError(
            f"{where}: sweep is {sweep!r}; expected a table of lists, such as seed = [0, 1, 2]"
        )

    for path, values in _leaves(sweep):
        if not isinstance(values, list) or not values:
            raise RecipeError(
                f"{where}: sweep.{'.'.join(path)} is {values!r}; expected a list of values to go through"
            )
        axis = Axis(tuple(values))
        fields = toml.merged(fields, _nested(path, axis))

    return fields


def _leaves(
    table: Mapping[str, Any], above: FieldPath = ()
) -> Iterator[tuple[FieldPath, Any]]:
    for name, value in table.items():
        # "method.denoisers" in quotes is the same field as denoisers in a table method
        path = (*above, *name.split("."))
        if isinstance(value, Mapping):
            yield from _leaves(value, path)
        else:
            yield path, value


def _nested(path: FieldPath, value: Any) -> Fields:
    """Tables in each other, the innermost of which has *value* at the end of *path*."""
    *tables, last = path
    fields: Fields = {last: value}
    for name in reversed(tables):
        fields = {name: fields}
    return fields


def with_method_table(fields: Fields) -> Fields:
    """*fields* with a method that is given by its bare name as a table, which has the method's defaults."""
    if not isinstance(fields.get("method"), str):
        return fields
    return {**fields, "method": {"name": fields["method"]}}


def with_alternatives(fields: Fields, where: str, above: FieldPath = ()) -> Fields:
    """*fields* with each list as an `Axis`, unless the field takes a list as its value."""
    result: Fields = {}
    for name, value in fields.items():
        path = (*above, name)
        if isinstance(value, dict):
            result[name] = with_alternatives(value, where, path)
        elif isinstance(value, list) and _is_axis(value, path, fields):
            if not value:
                raise RecipeError(
                    f"{where}: {'.'.join(path)} lists nothing; give it a value, or some"
                )
            result[name] = Axis(tuple(value))
        else:
            result[name] = value

    return result


def _is_axis(values: list[Any], path: FieldPath, fields: Fields) -> bool:
    """Whether *values* are alternatives: lists of lists always are, others where the field takes no list itself."""
    of_lists = bool(values) and all(isinstance(value, list) for value in values)
    return of_lists or not _takes_a_list(path, fields)


def _takes_a_list(path: FieldPath, fields: Fields) -> bool:
    """Whether the field at *path*, one of *fields*, is a list itself."""
    *above, name = path
    if path in _LISTS:
        return True
    if above not in (["method"], ["method", "protocols"]):
        return False

    if name in RANGES:
        return True
    if above != ["method"]:
        return False
    method = DRAWN.get(str(fields.get("name")))
    return method is not None and isinstance(method.knobs.get(name), tuple)


def _axes(fields: Fields) -> list[tuple[FieldPath, Axis]]:
    """Every field that has alternatives, by its path."""
    axes = []
    for path, value in _leaves(fields):
        if isinstance(value, Axis):
            axes.append((path, value))
    return axes


def count(fields: Fields) -> int:
    """How many choices of alternatives there are."""
    return prod(len(axis.values) for _, axis in _axes(fields))


def choices(fields: Fields) -> Iterator[tuple[list[str], Fields]]:
    """Every choice of alternatives, with its name and the fields that it makes."""
    axes = _axes(fields)
    for choice in product(*(axis.values for _, axis in axes)):
        point = fields
        names = []
        for (path, _), value in zip(axes, choice, strict=True):
            names.append(_title(path, value))
            # a list of methods may hold bare names
            if path == ("method",) and isinstance(value, str):
                value = {"name": value}
            point = _put(point, path, value)
        yield names, point


def _put(fields: Fields, path: FieldPath, value: Any) -> Fields:
    """A copy of *fields* with *value* at *path*; tables that other points share stay as they are."""
    name, *rest = path
    if not rest:
        return {**fields, name: value}

    inner = fields.get(name)
    if not isinstance(inner, Mapping):
        # a name with a dot in it, which only the table ``sweep`` takes for a path
        raise RecipeError(
            f"{'.'.join(path)} is no field of a recipe; list values of a field by its path under [sweep]"
        )
    return {**fields, name: _put(dict(inner), tuple(rest), value)}


def _title(path: FieldPath, value: Any) -> str:
    """An alternative, as a person reads it."""
    if path == ("method",):
        name = value.get("name") if isinstance(value, Mapping) else value
        return str(name)
    return f"{path[-1]} {value}"
