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
from pathlib import Path
from typing import Any, Self

from ..core.errors import RecipeError, unknown
from . import toml
from .alternatives import (
    Fields,
    choices,
    count,
    with_alternatives,
    with_method_table,
    with_sweep,
)
from .known import REFERENCES
from .names import refuse_unknown_names
from .recipe import Recipe, refuse_out_of_range, refuse_unknown

MOST_RUNS = 10_000  # runs that a file may ask for, unless more are allowed


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
        """What sets it apart from other runs, also while its budget is not known."""
        like = self.like.key if self.like else ""
        return self.recipe.key + like

    def with_budget(self, budget: float) -> Wanted:
        """The same run with the budget that *like* turned out to cost."""
        # parsed anew, because a changed copy would keep the key that was computed of the old budget
        fields = self.recipe.model_dump(exclude_unset=True)
        fields["budget"] = budget
        recipe = Recipe.parse(fields, self.name)
        return replace(self, recipe=recipe, like=None)


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
        most: how many runs there may be, `MOST_RUNS` if None. They are counted before the first is made.

    Raises:
        RecipeError: the file is missing, no TOML, asks for what does not exist or for more than *most*.
    """
    file = _File.read(Path(path), tuple(changes), tuple(methods))
    names = file.chosen(tuple(cells))
    count = sum(file.count(name) for name in names)
    # counted first: a few long lists multiply to more recipes than memory holds
    limit = MOST_RUNS if most is None else most
    if count > limit:
        raise RecipeError(
            f"{path} asks for {count:,} runs; expected up to {limit:,}: --most allows more"
        )

    # two cells may ask for the same run, and the first of them gives it its name
    by_key: dict[str, Wanted] = {}
    for name in names:
        for wanted in file.wanted(name):
            by_key.setdefault(wanted.key, wanted)

    # seed by seed, so that a sweep that is stopped early has whole comparisons
    by_seed = sorted(by_key.values(), key=lambda wanted: wanted.recipe.seed)
    return tuple(by_seed)


@dataclass(frozen=True)
class _File:
    """A file of recipes, and what is changed in all of them."""

    source: str
    fields: Fields
    cells: Mapping[str, Fields]
    changes: tuple[str, ...]
    methods: tuple[str, ...]

    @classmethod
    def read(
        cls,
        path: Path,
        changes: tuple[str, ...],
        methods: tuple[str, ...],
    ) -> Self:
        """The file at *path*, with those that it extends."""
        fields = toml.read(path)
        cells = toml.cells(fields, str(path))
        # a file without cells is one of a single cell that has no name
        return cls(str(path), fields, cells or {"": {}}, changes, methods)

    def chosen(self, cells: tuple[str, ...]) -> list[str]:
        """The names of *cells* in the order of the file; all if none is named. Raises RecipeError for another."""
        for name in cells:
            if name in self.cells:
                continue
            if not any(self.cells):
                raise RecipeError(f"{self.source} holds no cells; leave --cell out")
            raise RecipeError(f"{self.source}: {unknown('cell', name, self.cells)}")

        return [name for name in self.cells if not cells or name in cells]

    def count(self, name: str) -> int:
        """How many runs one cell asks for, some of them perhaps twice."""
        return count(self._fields_of(name))

    def wanted(self, name: str) -> Iterator[Wanted]:
        """Every run of one cell."""
        where = self._where(name)
        for values, point in choices(self._fields_of(name)):
            titles = [name, *values] if name else values
            label = ", ".join(titles)

            # how much the other run costs is known when it was done; until then any budget will do
            like = None
            budget = point.get("budget")
            if isinstance(budget, Mapping):
                like = self._like(budget, point, where)
                point = {**point, "budget": 1.0}

            source = f"{where} ({label})" if values else where
            yield Wanted(label, _recipe(point, source), like)

    def _where(self, name: str) -> str:
        return f"{self.source}, cell {name}" if name else self.source

    def _fields_of(self, name: str) -> Fields:
        """What all cells share, the cell's own fields on top, the changes on top of both; alternatives are marked."""
        where = self._where(name)
        shared = with_method_table(with_sweep(self.fields, where))
        own = with_method_table(with_sweep(self.cells[name], where))
        fields = with_method_table(toml.merged(shared, own))
        for change in self.changes:
            toml.change(fields, change)

        # once more, for a change may name a method too
        fields = with_method_table(fields)
        if self.methods:
            fields["method"] = self._method_tables(fields.get("method", {}))
        return with_alternatives(fields, where)

    def _method_tables(self, own: Fields) -> list[Fields]:
        """A table for each of the methods; the cell's *own* keeps its knobs, any other has its defaults."""
        tables = []
        for name in self.methods:
            tables.append(own if own.get("name") == name else {"name": name})
        return tables

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
        same = {table: point[table] for table in shared if table in point}
        whole = {**self._fields_of(name), **same}
        single = count(whole) == 1
        if not single or isinstance(whole.get("budget"), Mapping):
            raise RecipeError(
                f"{where}: budget.as names {name!r}, which is not one run for each of these; name another"
            )
        [(_, fields)] = choices(whole)
        return _recipe(fields, where)


def _recipe(fields: Fields, source: str) -> Recipe:
    """The recipe; what prunes nothing has neither sparsity nor control."""
    refuse_unknown(fields, source)
    refuse_out_of_range(fields, source)
    refuse_unknown_names(fields, source)
    method = fields.get("method")
    if isinstance(method, Mapping) and method.get("name") in REFERENCES:
        fields = {**fields, "sparsity": 0.0, "control": None}
    return Recipe.parse(fields, source)
