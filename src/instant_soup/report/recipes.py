"""Recipes: what it takes to run each line again."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import tomli_w

from ..core.errors import SoupError
from ..evidence.comparison import Comparison, Line
from ..recipes import toml
from ..recipes.recipe import Recipe
from ..store.parts import AskedFor
from .figures import pruned
from .marks import Look

MOST = 400
"""Recipes on a page; more would make it slow to open."""


@dataclass(frozen=True)
class Shown:
    """The recipe of a line's first seed.

    Attributes:
        facts: its key, the ticket's digest, and with what it was made.
    """

    title: str
    look: Look
    toml: str
    facts: Mapping[str, str]


def recipes(comparison: Comparison, looks: Mapping[str, Look]) -> tuple[Shown, ...]:
    """A recipe for each line, the first `MOST` of them in the order of the tables."""
    lines = [line for block in comparison.blocks for line in comparison.of(*block)]
    return tuple(_shown(line, looks) for line in lines[:MOST])


def _shown(line: Line, looks: Mapping[str, Look]) -> Shown:
    run = line.runs[0]
    made = run.record.made
    seeds = [str(other.seed) for other in line.runs]
    plural = "s" if len(seeds) > 1 else ""
    packages = ", ".join(f"{name} {number}" for name, number in made.packages.items())
    facts = {
        "key": run.key,
        "ticket": run.record.ticket.digest,
        "seed": f"{run.seed}; run with seed{plural} {', '.join(seeds)}",
        "made": made.at,
        "with": f"Python {made.python}, {packages}" if made.python else packages,
        "on": ", ".join(filter(None, (made.machine, made.device))),
        "threads": "" if made.threads is None else str(made.threads),
    }
    known = {name: fact for name, fact in facts.items() if fact}

    title = f"{line.task}, {pruned(line.sparsity)}: {line.title}"
    return Shown(title, looks[line.method], _toml(run.record.recipe), known)


def _toml(asked: AskedFor) -> str:
    """The recipe with every default; as it was noted, where today's version would not take it."""
    recipe = asked.facts()
    try:
        return Recipe.parse(recipe).toml()
    except SoupError:
        return tomli_w.dumps(toml.without_none(recipe))
