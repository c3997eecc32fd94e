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
from math import prod
from pathlib import Path
from typing import Any, Self

from ..core.errors import RecipeError, unknown
from . import toml
from .known import DRAWN, REFERENCES
from .recipe import Recipe, refuse_unknown

MOST = 10_000  # runs that a file may ask for, unless more are allowed
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
    path: str | Path,
    changes: Iterable[str] = (),
    cells: Iterable[str] = (),
    methods: Iterable[str] = (),
    *,
    most: int | None = None,
) -> tuple[Wanted, ...]:
    """Every run that a file asks for, each once, all of one seed before the next.

    Args:
        changes: such as ``"training.epochs=3"``, for all of them.
        cells: names of the cells to take; all if none is named.
        methods: names of methods in place of each cell's own, which keeps its knobs if it is among them.
        most: how many runs there may be, `MOST` if None. They are counted before the first is made.

    Raises:
        RecipeError: the file is missing, no TOML, asks for what does not exist or for more than *most*.
    """
    file = _File.read(Path(path), tuple(changes), tuple(methods))
    chosen = tuple(cells)
    for name in chosen:
        if name not in file.cells:
            if not any(file.cells):
                raise RecipeError(f"{path} holds no cells; leave --cell out")
            raise RecipeError(f"{path}: {unknown('cell', name, file.cells)}")

    names = [name for name in file.cells if not chosen or name in chosen]
    count = sum(file.count(name) for name in names)
    limit = MOST if most is None else most
    if count > limit:
        raise RecipeError(
            f"{path} asks for {count:,} runs; expected up to {limit:,}: --most allows more"
        )

    once: dict[str, Wanted] = {}
    for name in names:
        for wanted in file.wanted(name):
            once.setdefault(wanted.key, wanted)

    # seed by seed, so that a sweep that is stopped early has whole comparisons
    return tuple(sorted(once.values(), key=lambda wanted: wanted.recipe.seed))


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
        cells = toml.cells(fields, str(path))
        # a file without cells is one of a single cell that has no name
        return cls(str(path), fields, cells or {"": {}}, changes, methods)

    def count(self, name: str) -> int:
        """How many runs one cell asks for, some of them perhaps twice."""
        return prod(len(axis.values) for _, axis in _axes(self._whole(name)))

    def wanted(self, name: str) -> Iterator[Wanted]:
        """Every run of one cell."""
        where = self._where(name)
        for values, point in _points(self._whole(name)):
            titles = [name, *values] if name else values
            label = ", ".join(titles)

            like = None
            budget = point.get("budget")
            if isinstance(budget, Mapping):
                like = self._like(budget, point, where)
                point = {**point, "budget": 1.0}

            source = f"{where} ({label})" if values else where
            yield Wanted(label, _recipe(point, source), like)

    def _where(self, name: str) -> str:
        return f"{self.source}, cell {name}" if name else self.source

    def _whole(self, name: str) -> Fields:
        """What all share, the cell on top, the changes on top of that; alternatives marked."""
        where = self._where(name)
        shared = _named(_swept(self.fields, where))
        own = _named(_swept(self.cells[name], where))
        whole = _named(toml.merged(shared, own))
        for change in self.changes:
            toml.change(whole, change)

        whole = _named(whole)
        if self.methods:
            # the cell's own method keeps its knobs, any other has its defaults
            own_method = whole.get("method", {})
            whole["method"] = [
                own_method if own_method.get("name") == method else {"name": method}
                for method in self.methods
            ]
        return _marked(whole, where)

    def _like(self, budget: Mapping[str, Any], point: Fields, where: str) -> Recipe:
        """The recipe of the cell that *budget* names, at the same task, data, training, sparsity and seed."""
        name = budget.get("as")
        if list(budget) != ["as"] or not isinstance(name, str):
            raise RecipeError(
                f"{where}: budget is {dict(budget)!r}; expected a number or the table budget.as = CELL"
            )
        if name not in self.cells:
            raise RecipeError(f"{where}: budget.as: {unknown('cell', name, self.cells)}")

        shared = ("task", "data", "training", "sparsity", "seed")
        same = {part: point[part] for part in shared if part in point}
        whole = {**self._whole(name), **same}
        single = prod(len(axis.values) for _, axis in _axes(whole)) == 1
        if not single or isinstance(whole.get("budget"), Mapping):
            raise RecipeError(
                f"{where}: budget.as names {name!r}, which is not one run for each of these; name another"
            )
        [(_, fields)] = _points(whole)
        return _recipe(fields, where)


def _swept(fields: Fields, where: str) -> Fields:
    """*fields* with what its table ``sweep`` lists in its places."""
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
        fields = toml.merged(fields, _nested(path, _Axis(tuple(values))))

    return fields


def _leaves(
    table: Mapping[str, Any], above: tuple[str, ...] = ()
) -> Iterator[tuple[tuple[str, ...], Any]]:
    for name, value in table.items():
        path = (*above, *name.split("."))
        if isinstance(value, Mapping):
            yield from _leaves(value, path)
        else:
            yield path, value


def _nested(path: tuple[str, ...], value: Any) -> Fields:
    """Tables in each other, the innermost of which has *value* at the end of *path*."""
    *tables, last = path
    fields: Fields = {last: value}
    for name in reversed(tables):
        fields = {name: fields}
    return fields


def _named(fields: Fields) -> Fields:
    """A method by its name alone is one at its defaults."""
    if not isinstance(fields.get("method"), str):
        return fields
    return {**fields, "method": {"name": fields["method"]}}


def _marked(fields: Fields, where: str, above: tuple[str, ...] = ()) -> Fields:
    """*fields* with lists as alternatives, where the field does not take a list itself."""
    marked: Fields = {}
    for name, value in fields.items():
        path = (*above, name)
        if isinstance(value, dict):
            marked[name] = _marked(value, where, path)
        elif isinstance(value, list) and _is_axis(value, path, fields):
            if not value:
                raise RecipeError(
                    f"{where}: {'.'.join(path)} lists nothing; give it a value, or some"
                )
            marked[name] = _Axis(tuple(value))
        else:
            marked[name] = value

    return marked


def _is_axis(values: list[Any], path: tuple[str, ...], fields: Fields) -> bool:
    """Whether a list holds alternatives: a list of lists always does, another where the field takes no list itself."""
    of_lists = bool(values) and all(isinstance(value, list) for value in values)
    return of_lists or not _takes_a_list(path, fields)


def _takes_a_list(path: tuple[str, ...], fields: Fields) -> bool:
    """Whether the field at *path*, one of *fields*, is a list itself."""
    *above, name = path
    if path in _LISTS:
        return True
    if above not in (["method"], ["method", "protocols"]):
        return False

    from ..soup.denoiser import RANGES

    if name in RANGES:
        return True
    method = DRAWN.get(str(fields.get("name"))) if above == ["method"] else None
    return method is not None and isinstance(method.knobs.get(name), tuple)


def _axes(fields: Fields) -> list[tuple[tuple[str, ...], _Axis]]:
    """Every field that has alternatives, by its path."""
    return [(path, value) for path, value in _leaves(fields) if isinstance(value, _Axis)]


def _points(fields: Fields) -> Iterator[tuple[list[str], Fields]]:
    """Every choice of alternatives, with its name and the fields that it makes."""
    axes = _axes(fields)
    for choice in product(*(axis.values for _, axis in axes)):
        point = fields
        names = []
        for (path, _), value in zip(axes, choice, strict=True):
            names.append(_title(path, value))
            by_name = path == ("method",) and isinstance(value, str)
            point = _put(point, path, {"name": value} if by_name else value)
        yield names, point


def _put(fields: Fields, path: tuple[str, ...], value: Any) -> Fields:
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


def _title(path: tuple[str, ...], value: Any) -> str:
    """What people read of an alternative."""
    if path == ("method",):
        return str(value.get("name")) if isinstance(value, Mapping) else str(value)
    return f"{path[-1]} {value}"


def _recipe(fields: Fields, source: str) -> Recipe:
    """The recipe; what prunes nothing has neither sparsity nor control."""
    refuse_unknown(fields, source)
    method = fields.get("method")
    if isinstance(method, Mapping) and method.get("name") in REFERENCES:
        fields = {**fields, "sparsity": 0.0, "control": None}
    return Recipe.parse(fields, source)
