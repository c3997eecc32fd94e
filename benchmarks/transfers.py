"""Every ticket on every other task: run each recipe, then judge each ticket on the tasks of all the others.

    python benchmarks/transfers.py recipes/bench/settings/{cola,rte,sst2-short,stsb}.toml --set sparsity=0.5 --runs runs

Targets go in the order of the command line. Killed, the same command goes on; what is in the folder is not done again.
`instant-soup compare` and `instant-soup report` show the matrix.
"""

from __future__ import annotations

import argparse
from itertools import permutations
from pathlib import Path

from instant_soup import Recipe, Store, run, transfer
from instant_soup.engine.memory import keep_freed_memory
from instant_soup.runs.run import build, draw


def main() -> None:
    """Draw, fine-tune and judge whatever is not there yet."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("recipes", type=Path, nargs="+")
    parser.add_argument(
        "--set",
        dest="changes",
        action="append",
        default=[],
        help="change a field of all recipes",
    )
    parser.add_argument("--runs", type=Path, required=True)
    options = parser.parse_args()
    keep_freed_memory()
    store = Store(options.runs)
    recipes = [Recipe.read(path, options.changes) for path in options.recipes]
    for recipe in recipes:
        told(recipe.label, run(recipe, store).test)
    tasks = {recipe.key: build(recipe) for recipe in recipes}
    for target, source in permutations(recipes, 2):
        ticket = draw(source, tasks[source.key], store)
        record = transfer(ticket, target, store, load=lambda wanted: tasks[wanted.key])
        told(f"{source.task.name} -> {target.task.name}", record.test)


def told(what: str, figures: dict[str, float]) -> None:
    """A line for what is done."""
    print(
        what,
        ", ".join(f"{name} {value:.4f}" for name, value in figures.items()),
        flush=True,
    )


if __name__ == "__main__":
    main()
