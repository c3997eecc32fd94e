"""Recipes: what it takes to run each line again."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import tomli_w

from ..core.errors import SoupError
from ..evidence.comparison import Comparison
from ..evidence.line import Line
from ..recipes import toml
from ..recipes.recipe import Recipe
from ..store.parts import AskedFor
from .figures import pruned
from .marks import Look, Looks

MOST_LINES = 400
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


def recipes(comparison: Comparison, looks: Looks) -> tuple[Shown, ...]:
    """A recipe for each line, the first `MOST_LINES` of them in the order of the tables."""
    lines: list[Line] = []
    for block in comparison.blocks:
        lines += comparison.of(*block)
    del lines[MOST_LINES:]
    return tuple(_shown(line, looks) for line in lines)


def _shown(line: Line, looks: Looks) -> Shown:
    run = line.runs[0]
    origin = run.record.made
    seeds = ", ".join(str(other.seed) for other in line.runs)
    plural = "s" if len(line.runs) > 1 else ""
    packages = ", ".join(" ".join(package) for package in origin.packages.items())
    machine = ", ".join(filter(None, (origin.machine, origin.device)))
    facts = {
        "key": run.key,
        "ticket": run.record.ticket.digest,
        "seed": f"{run.seed}; run with seed{plural} {seeds}",
        "made": origin.at,
        "with": f"Python {origin.python}, {packages}" if origin.python else packages,
        "on": machine,
        "threads": "" if origin.threads is None else str(origin.threads),
    }
    # what an older record does not say has no row
    stated = {name: fact for name, fact in facts.items() if fact}

    return Shown(
        title=f"{line.task}, {pruned(line.sparsity)}: {line.title}",
        look=looks[line.method],
        toml=_toml(run.record.recipe),
        facts=stated,
    )


def _toml(noted: AskedFor) -> str:
    """The recipe with every default; as it was noted, where today's version would not take it."""
    fields = noted.facts()
    # what an older version wrote may have fields that have gone since; it is still what was run
    try:
        return Recipe.parse(fields).toml()
    except SoupError:
        return tomli_w.dumps(toml.without_none(fields))
