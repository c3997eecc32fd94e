"""Page: everything that a folder of runs says, as one HTML file that needs nothing else."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from importlib.resources import files
from pathlib import Path
from typing import Any

import tomli_w
from jinja2 import Environment, StrictUndefined

from ..core.errors import SoupError
from ..core.files import write_text
from ..lab import tables, toml
from ..lab.agreement import Pair, agreements
from ..lab.compare import Comparison, Line, compare
from ..lab.recipe import Recipe
from ..lab.records import Record, collect
from . import charts, inside
from .charts import Chart
from .marks import Look, looks

RECIPES = 400  # shown at most; more would make the page slow to open


@dataclass(frozen=True)
class Section:
    """Charts of one kind, or why there are none."""

    ident: str
    title: str
    charts: tuple[Chart, ...]
    nothing: str


@dataclass(frozen=True)
class Shown:
    """One line's recipe, and what is needed to run it again."""

    title: str
    look: Look
    toml: str
    facts: Mapping[str, str]


def report(folder: Path, output: Path, *, reference: str = "magnitude", title: str = "") -> int:
    """Write the page of all runs in *folder* to *output*; how many runs those are.

    Raises StoreError when there is no record or the page cannot be written, UnknownName for a reference without runs.
    """
    runs = collect(folder)
    found = compare(runs, reference)
    write_text(output, render(found, agreements(folder, runs), title or f"Runs in {folder.name}"))
    return len(runs)


def render(found: Comparison, pairs: Sequence[Pair], title: str) -> str:
    """The page itself."""
    room = files(__package__)
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    template = environment.from_string((room / "page.html").read_text(encoding="utf-8"))
    seen = looks(_methods(found))
    shown, hidden = _recipes(found, seen)
    return template.render(
        title=title,
        style=(room / "page.css").read_text(encoding="utf-8"),
        script=(room / "page.js").read_text(encoding="utf-8"),
        looks=list(seen.values()),
        quiet={look.number for look in seen.values() if _variant(look.name)},
        found=found,
        counts=_counts(found),
        blocks=[(task, sparsity, charts.pruned(sparsity), found.of(task, sparsity)) for task, sparsity in found.blocks],
        by_name=seen,
        cells=lambda line: tables.cells(found, line),
        equal=lambda task, sparsity: tables.equal(found, task, sparsity),
        sections=list(_sections(found, pairs, seen)),
        recipes=shown,
        hidden=hidden,
        version=version("instant-soup"),
    )


def _methods(found: Comparison) -> list[str]:
    """Plain methods before their variants, so that they have the colours that differ most."""
    names = {line.method for line in found.lines} | set(found.ranks.ranks if found.ranks else ())
    return sorted(names, key=lambda name: (_variant(name), name))


def _variant(name: str) -> bool:
    return name.endswith(")") and not name.endswith("(longer)")


def _counts(found: Comparison) -> Mapping[str, int]:
    runs = [run for line in found.lines for run in line.runs]
    return {
        "runs": len(runs),
        "methods": len({line.method for line in found.lines}),
        "tasks": len({line.task for line in found.lines}),
        "seeds": len({run.seed for run in runs}),
    }


def _sections(found: Comparison, pairs: Sequence[Pair], seen: Mapping[str, Look]) -> Iterator[Section]:
    tasks, full, alike = sorted({line.task for line in found.lines}), _fullest(found), _most_pairs(pairs)
    cut = [[line for line in found.of(*block) if line.sparsity] for block in full]
    made: list[tuple[str, str, list[Chart | None], str]] = [
        (
            "sparsity",
            "Against sparsity",
            [charts.by_sparsity(f"s{i}", task, found, seen) for i, task in enumerate(tasks)],
            "Nothing was pruned.",
        ),
        (
            "cost",
            "Against cost",
            [charts.by_cost(f"c{i}", *block, found, seen) for i, block in enumerate(found.blocks)],
            "There are fewer than two methods to set against each other.",
        ),
        (
            "bill",
            "What the cost was for",
            [charts.by_purpose(f"b{i}", *block, found, seen) for i, block in enumerate(full)],
            "There is nothing to bill.",
        ),
        (
            "ranks",
            "Ranks",
            [charts.by_rank("r0", found.ranks, seen) if found.ranks else None],
            "Ranks need two pairs of task and sparsity on which the same three methods or more were run.",
        ),
        (
            "layers",
            "Where weights are kept",
            [inside.layers(f"l{i}", lines, seen) for i, lines in enumerate(cut)],
            "The records are of an older schema and do not say what is kept of each parameter.",
        ),
        (
            "alike",
            "How alike tickets are",
            [
                inside.alike(f"a{i}{int(beyond)}", group, seen, beyond=beyond)
                for i, group in enumerate(alike)
                for beyond in (False, True)
            ],
            "The tickets are not in this folder, and their agreement was not noted in it.",
        ),
        (
            "votes",
            "How sure the votes are",
            [inside.votes(f"v{i}", task, found, seen) for i, task in enumerate(tasks)],
            "No run took votes.",
        ),
        (
            "soups",
            "Soups and their barriers",
            [inside.soups(f"i{i}", task, found, seen) for i, task in enumerate(tasks)],
            "No run made a soup of models.",
        ),
    ]
    for ident, title, all_charts, nothing in made:
        yield Section(ident, title, tuple(chart for chart in all_charts if chart), nothing)


def _most_pairs(pairs: Sequence[Pair]) -> list[list[Pair]]:
    """For each task the pairs at the sparsity that has most of them."""
    of: dict[str, dict[float, list[Pair]]] = defaultdict(lambda: defaultdict(list))
    for pair in pairs:
        of[pair.task][pair.sparsity].append(pair)
    return [max(levels.values(), key=len) for levels in of.values()]


def _fullest(found: Comparison) -> list[tuple[str, float]]:
    """For each task the sparsity at which most methods were run; the middle one of several."""
    sizes: dict[str, list[tuple[int, float]]] = defaultdict(list)
    for task, sparsity in found.blocks:
        if sparsity:
            sizes[task].append((len(found.of(task, sparsity)), sparsity))
    chosen = []
    for task, levels in sizes.items():
        most = [sparsity for count, sparsity in levels if count == max(levels)[0]]
        chosen.append((task, most[len(most) // 2]))
    return chosen


def _recipes(found: Comparison, seen: Mapping[str, Look]) -> tuple[list[Shown], int]:
    """A recipe for each line, the first seed's, and how many lines are left out."""
    lines = [line for block in found.blocks for line in found.of(*block)]
    return [_recipe(line, seen) for line in lines[:RECIPES]], max(0, len(lines) - RECIPES)


def _recipe(line: Line, seen: Mapping[str, Look]) -> Shown:
    record = line.runs[0].record
    made = record.get("made", {})
    packages = ", ".join(f"{name} {number}" for name, number in made.get("packages", {}).items())
    facts = {
        "key": record["key"],
        "ticket": record["ticket"]["digest"],
        "seeds": ", ".join(str(run.seed) for run in line.runs),
        "made": f"{made.get('at', '')}, Python {made.get('python', '')}, {packages}",
        "on": f"{made.get('machine', '')}, {made.get('device', '')}, {made.get('threads', '')} threads",
    }
    title = f"{line.task}, {charts.pruned(line.sparsity)}: {line.title}"
    return Shown(title, seen[line.method], _toml(record), facts)


def _toml(record: Record) -> str:
    """The recipe with every default; as it was noted where today's version would not take it."""
    recipe: dict[str, Any] = record["recipe"]
    try:
        return Recipe.parse(recipe).toml()
    except SoupError:
        return tomli_w.dumps(toml.without_none(recipe))
