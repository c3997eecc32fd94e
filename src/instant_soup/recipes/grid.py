"""Grid: a file of recipes whose fields hold lists -> every recipe that it asks for.

sparsity = [0.5, 0.7]          a list where the field takes one value: each of them

[sweep]                        the same, for any field by its path
seed = [0, 1, 2]
"method.denoisers" = [2, 4]

[cells.snip]                   a line of its own: what it sets wins over what is swept
method.name = "snip"

[cells.one-shot-longer]        as long as another cell costs, once that is known
method.name = "magnitude"
budget.as = "instant-soup"
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from typing import Any, Self

from ..core.errors import RecipeError, unknown
from ..methods import REFERENCES
from ..soup.denoiser import RANGES
from . import toml
from .recipe import DRAWN, Recipe

_LISTS = {("task", field) for field in ("columns", "metrics", "classes", "templates")}
Fields = dict[str, Any]


@dataclass(frozen=True)
class Wanted:
    """One run that a file asks for.

    Attributes:
        name: of its cell, with what sets it apart from the others of that cell.
        recipe: what to run; where *like* is set, but for its budget.
        like: the recipe whose whole cost is this one's budget.
    """

    name: str
    recipe: Recipe
    like: Recipe | None = None

    @property
    def key(self) -> str:
        """What it is known by, also before its budget is."""
        return self.recipe.key + (self.like.key if self.like else "")

    def with_budget(self, budget: float) -> Wanted:
        """The same with the budget that *like* turned out to cost."""
        fields = {**self.recipe.model_dump(exclude_unset=True), "budget": budget}
        return replace(self, recipe=Recipe.parse(fields, self.name), like=None)


@dataclass(frozen=True)
class _Axis:
    """Alternatives, in place of a value."""

    values: tuple[Any, ...]


def expand(
    path: str | Path, changes: Iterable[str] = (), cells: Iterable[str] = (), methods: Iterable[str] = ()
) -> tuple[Wanted, ...]:
    """Every run that a file asks for, each once, all of one seed before the next.

    Args:
        changes: such as ``"training.epochs=3"``, for all of them.
        cells: names of the cells to take; all if none is named.
        methods: names of methods in place of each cell's own, which keeps its knobs if it is among them.

    Raises:
        RecipeError: the file is missing, no TOML, or asks for what does not exist.
    """
    file = _File.read(Path(path), tuple(changes), tuple(methods))
    for name in (chosen := tuple(cells)):
        if name not in file.cells:
            known = f"{path}: {unknown('cell', name, file.cells)}"
            raise RecipeError(known if any(file.cells) else f"{path} holds no cells; leave --cell out")
    once: dict[str, Wanted] = {}
    for name in file.cells:
        for one in file.wanted(name) if not chosen or name in chosen else ():
            once.setdefault(one.key, one)
    return tuple(sorted(once.values(), key=lambda one: one.recipe.seed))


@dataclass(frozen=True)
class _File:
    """A file of recipes, and what is changed in all of them."""

    source: str
    fields: Fields
    cells: Mapping[str, Fields]
    changes: tuple[str, ...]
    methods: tuple[str, ...]

    @classmethod
    def read(cls, path: Path, changes: tuple[str, ...], methods: tuple[str, ...]) -> Self:
        fields = toml.read(path)
        return cls(str(path), fields, toml.cells(fields, str(path)) or {"": {}}, changes, methods)

    def wanted(self, name: str) -> Iterator[Wanted]:
        """Every run of one cell."""
        where = f"{self.source}, cell {name}" if name else self.source
        for values, one in _points(self._whole(name, where)):
            like, label = None, ", ".join([*([name] if name else []), *values])
            if isinstance(budget := one.get("budget"), Mapping):
                like = self._like(budget, one, where)
                one = {**one, "budget": 1.0}
            yield Wanted(label, _recipe(one, f"{where} ({label})" if values else where), like)

    def _whole(self, name: str, where: str) -> Fields:
        """What all share, the cell on top, the changes on top of that; alternatives marked."""
        shared, own = (_named(_swept(fields, where)) for fields in (self.fields, self.cells[name]))
        whole = _named(toml.merged(shared, own))
        for change in self.changes:
            toml.change(whole, change)
        whole = _named(whole)
        if self.methods:
            mine = whole.get("method", {})
            whole["method"] = [mine if mine.get("name") == method else {"name": method} for method in self.methods]
        return _marked(whole)

    def _like(self, budget: Mapping[str, Any], point: Fields, where: str) -> Recipe:
        """The recipe of the cell that *budget* names, at the same task, data, training, sparsity and seed."""
        if list(budget) != ["as"] or not isinstance(name := budget["as"], str):
            raise RecipeError(f"{where}: budget is {dict(budget)!r}; expected a number or the table budget.as = CELL")
        if name not in self.cells:
            raise RecipeError(f"{where}: budget.as: {unknown('cell', name, self.cells)}")
        same: Fields = {part: point[part] for part in ("task", "data", "training", "sparsity", "seed") if part in point}
        found = [one for _, one in _points({**self._whole(name, where), **same})]
        if len(found) != 1 or isinstance(found[0].get("budget"), Mapping):
            raise RecipeError(
                f"{where}: budget.as names {name!r}, which is not one run for each of these; name another"
            )
        return _recipe(found[0], where)


def _swept(fields: Fields, where: str) -> Fields:
    """*fields* with what its table ``sweep`` lists in its places."""
    fields = dict(fields)
    if not isinstance(sweep := fields.pop("sweep", {}), Mapping):
        raise RecipeError(f"{where}: sweep is {sweep!r}; expected a table of lists, such as seed = [0, 1, 2]")
    for path, values in _leaves(sweep):
        if not isinstance(values, list) or not values:
            raise RecipeError(f"{where}: sweep.{'.'.join(path)} is {values!r}; expected a list of values to go through")
        fields = toml.merged(fields, _nested(path, _Axis(tuple(values))))
    return fields


def _leaves(table: Mapping[str, Any], above: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    for name, value in table.items():
        path = (*above, *name.split("."))
        if isinstance(value, Mapping):
            yield from _leaves(value, path)
        else:
            yield path, value


def _nested(path: tuple[str, ...], value: Any) -> Fields:
    for name in reversed(path):
        value = {name: value}
    found: Fields = value
    return found


def _named(fields: Fields) -> Fields:
    """A method by its name alone is one at its defaults."""
    return {**fields, "method": {"name": fields["method"]}} if isinstance(fields.get("method"), str) else fields


def _marked(fields: Fields, above: tuple[str, ...] = ()) -> Fields:
    """*fields* with lists as alternatives, where the field does not take a list itself."""
    method = DRAWN.get(str(fields.get("name"))) if above == ("method",) else None
    found = {}
    for name, value in fields.items():
        many = isinstance(value, list)
        ranges = name in RANGES and above in (("method",), ("method", "protocols"))
        knob = method is not None and isinstance(method.knobs.get(name), tuple)
        takes = (*above, name) in _LISTS or ranges or knob
        if many and (not takes or (value and all(isinstance(each, list) for each in value))):
            value = _Axis(tuple(value))
        found[name] = _marked(value, (*above, name)) if isinstance(value, dict) else value
    return found


def _points(fields: Fields) -> Iterator[tuple[list[str], Fields]]:
    """Every choice of alternatives, with its name and the fields that it makes."""
    axes = [(path, axis) for path, axis in _leaves(fields) if isinstance(axis, _Axis)]
    for choice in product(*(axis.values for _, axis in axes)):
        point = fields
        for (path, _), value in zip(axes, choice, strict=True):
            if path == ("method",) and isinstance(value, str):
                value = {"name": value}
            point = _put(point, path, value)
        yield [_said(path, value) for (path, _), value in zip(axes, choice, strict=True)], point


def _put(fields: Fields, path: tuple[str, ...], value: Any) -> Fields:
    name, *rest = path
    return {**fields, name: _put(fields[name], tuple(rest), value) if rest else value}


def _said(path: tuple[str, ...], value: Any) -> str:
    if path == ("method",):
        return str(value.get("name")) if isinstance(value, Mapping) else str(value)
    return f"{path[-1]} {value}"


def _recipe(fields: Fields, source: str) -> Recipe:
    """The recipe; what prunes nothing has neither sparsity nor control."""
    if isinstance(method := fields.get("method"), Mapping) and method.get("name") in REFERENCES:
        fields = {**fields, "sparsity": 0.0, "control": None}
    return Recipe.parse(fields, source)
