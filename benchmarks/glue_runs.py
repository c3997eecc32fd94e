"""Run the first comparison of this project: the packaged BERT on CoLA and SST-2 at 50 and 70 %.

    python benchmarks/glue_runs.py --results results --store runs

Expects data/glue/cola and data/glue/sst2 below the working folder, each with train.parquet and
validation.parquet. Killed and started again, it goes on where it was. Each record is copied to
RESULTS/TASK/ as soon as it is there. One-shot is run twice: for T, and for as many steps as
Instant Soup Pruning spent in all.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from instant_soup.cli.memory import keep_freed_memory
from instant_soup.lab.recipe import Recipe
from instant_soup.lab.run import run
from instant_soup.lab.store import Store, write_json

RECIPES = Path(__file__).parent.parent / "recipes" / "bench"
SPARSITIES = (0.5, 0.7)
GRADUAL = {"name": "gradual", "mask_share": 0.2}


def main() -> None:
    """Run everything."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--results", type=Path, default=Path("results"))
    parser.add_argument("--store", type=Path, default=Path("runs"))
    parser.add_argument("--runs", nargs="+", metavar="TASK:SEED", default=["cola:0", "cola:1", "cola:2", "sst2:0"])
    options = parser.parse_args()
    keep_freed_memory()
    store = Store(options.store)
    for part in (essential, rest):  # of all, what matters most first
        for task, seed in (name.split(":") for name in options.runs):
            soup = Recipe.read(RECIPES / f"{task}.toml", [f"seed={seed}"])
            for name, recipe in part(soup, store):
                record = run(recipe, store)
                write_json(options.results / task / f"{name}-seed{seed}.json", record)
                cost = record["cost"]["multiple_of_T"]
                print(f"{task} seed {seed} {name}: {json.dumps(record['test'])} {cost:.2f} T", flush=True)


def essential(soup: Recipe, store: Store) -> Iterator[tuple[str, Recipe]]:
    """The reference, Instant Soup Pruning and one-shot pruning, named."""
    del store
    yield "dense", changed(soup, method={"name": "dense"}, sparsity=0.0)
    for percent, ours in at_each_sparsity(soup):
        yield f"instant-soup-{percent}", ours
        yield f"magnitude-{percent}", changed(ours, method={"name": "magnitude"})


def rest(soup: Recipe, store: Store) -> Iterator[tuple[str, Recipe]]:
    """One-shot pruning at the whole cost of Instant Soup Pruning, and the other methods."""
    for percent, ours in at_each_sparsity(soup):
        bill = run(ours, store)["cost"]  # read back, for it was run above
        spent = bill["multiple_of_T"] - bill["train"]["select"]["passes"] / bill["full_fine_tune"]["passes"]
        yield f"magnitude-longer-{percent}", changed(ours, method={"name": "magnitude"}, budget=round(spent, 2))
    for percent, ours in at_each_sparsity(soup):
        yield f"gradual-{percent}", changed(ours, method=GRADUAL)
        yield f"random-{percent}", changed(ours, method={"name": "random"})


def at_each_sparsity(soup: Recipe) -> list[tuple[str, Recipe]]:
    """The recipe at each sparsity, by percent."""
    return [(f"{sparsity:.0%}".rstrip("%"), changed(soup, sparsity=sparsity)) for sparsity in SPARSITIES]


def changed(recipe: Recipe, **fields: Any) -> Recipe:
    """*recipe* with other fields."""
    return Recipe.parse({**recipe.model_dump(), **fields})


if __name__ == "__main__":
    main()
