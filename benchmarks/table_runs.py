"""Run the comparison of all methods on the bench's tasks, one record a line of the table.

    python benchmarks/table_runs.py --tasks cola mnist cifar10 --results results --store runs

Expects the folders that recipes/bench/TASK.toml name below the working folder. Killed and started
again, it goes on where it was. Each record is copied to RESULTS/TASK/ as soon as it is there.
One-shot is run twice: for T, and for as many steps as Instant Soup Pruning spent in all. Methods
have their defaults but for what KNOBS says; Instant Soup Pruning has the recipe's.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from instant_soup.lab.memory import keep_freed_memory
from instant_soup.lab.recipe import Recipe
from instant_soup.lab.run import budget_like, run
from instant_soup.lab.store import Store, write_json

RECIPES = Path(__file__).parent.parent / "recipes" / "bench"
SPARSITIES = {"cola": (0.5, 0.7), "sst2": (0.5, 0.7), "mnist": (0.8, 0.9), "cifar10": (0.7,)}
CHEAP = ("random", "magnitude", "snip", "grasp", "gradual", "early-bird")
DEAR = ("lth", "lottery-pools", "lth-rewind")
IMP = ("lth", "lth-rewind", "lottery-pools")
KNOBS: dict[str, dict[str, dict[str, Any]]] = {
    # rounds of 20 % of all weights on the images, to spare time; of 10 %, the default, on text
    **{task: {method: {"compression": 0.2} for method in IMP} for task in ("mnist", "cifar10")},
}
INGREDIENTS = 4
SOUPS: tuple[dict[str, Any], ...] = (
    {"name": "instant-model-soup"},
    {"name": "instant-model-soup", "lookahead_steps": 10},
    {"name": "model-soup", "average": "uniform", "ingredients": INGREDIENTS},
    {"name": "model-soup", "average": "greedy", "ingredients": INGREDIENTS},
    {"name": "model-soup", "average": "learned", "ingredients": INGREDIENTS},
)


def main() -> None:
    """Run everything."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--results", type=Path, default=Path("results"))
    parser.add_argument("--store", type=Path, default=Path("runs"))
    parser.add_argument("--tasks", nargs="+", choices=SPARSITIES, default=["cola", "mnist", "cifar10"])
    parser.add_argument("--seeds", nargs="+", type=int, default=[0])
    parser.add_argument(
        "--parts", nargs="+", choices=["soup", "cheap", "dear", "soups"], default=["soup", "cheap", "dear"]
    )
    options = parser.parse_args()
    keep_freed_memory()
    store = Store(options.store)
    for task in options.tasks:
        for seed in options.seeds:
            recipe = Recipe.read(RECIPES / f"{task}.toml", [f"seed={seed}"])
            for part in options.parts:
                for name, wanted in lines(task, recipe, part, store):
                    record = run(wanted, store)
                    write_json(options.results / task / f"{name}-seed{seed}.json", record)
                    cost = record["cost"]["multiple_of_T"]
                    print(f"{task} seed {seed} {name}: {json.dumps(record['test'])} {cost:.2f} T", flush=True)


def lines(task: str, soup: Recipe, part: str, store: Store) -> Iterator[tuple[str, Recipe]]:
    """The runs of one part, named."""
    knobs = KNOBS.get(task, {})
    if part == "soups":
        for method in SOUPS:
            steps = f"{method['lookahead_steps']}-steps" if "lookahead_steps" in method else None
            name = "-".join(filter(None, (method.get("average"), method["name"], steps)))
            yield name, changed(soup, method=method, sparsity=0.0)
        budget = budget_like(run(changed(soup, method=SOUPS[0], sparsity=0.0), store))
        yield "dense-longer", changed(soup, method={"name": "dense"}, sparsity=0.0, budget=budget)
        return
    if part == "soup":
        yield "dense", changed(soup, method={"name": "dense"}, sparsity=0.0)
    for sparsity in SPARSITIES[task]:
        percent, ours = f"{sparsity:.0%}".rstrip("%"), changed(soup, sparsity=sparsity)
        if part == "soup":
            yield f"instant-soup-{percent}", ours
            budget = budget_like(run(ours, store))  # read back, for it was run just now
            yield f"magnitude-longer-{percent}", changed(ours, method={"name": "magnitude"}, budget=budget)
        if part == "cheap":
            yield f"grasp-absolute-{percent}", changed(ours, method={"name": "grasp", "absolute": True})
        for method in {"cheap": CHEAP, "dear": DEAR}.get(part, ()):
            yield f"{method}-{percent}", changed(ours, method={"name": method, **knobs.get(method, {})})


def changed(recipe: Recipe, **fields: Any) -> Recipe:
    """*recipe* with other fields."""
    return Recipe.parse({**recipe.model_dump(exclude_unset=True), **fields})


if __name__ == "__main__":
    main()
