"""Write results/README.md from the records below results/.

    python benchmarks/results_table.py

Nothing in that page is typed by hand; a test checks that it is what this script makes.
"""

from __future__ import annotations

import json
from collections import defaultdict
from pathlib import Path
from statistics import mean, stdev
from typing import Any

RESULTS = Path(__file__).parent.parent / "results"
Group = tuple[str, float, str]

HEAD = """# Results

Made from the records in this folder by `benchmarks/results_table.py`. A record holds the recipe with every default, the
bill by purpose, versions, and the hash of the ticket, so any line can be run again: `instant-soup run RECIPE` with the
recipe in the record. T is one full fine-tune; look-aheads, fine-tuning and validation are counted in the cost, the one
reading of the test split is not. With few seeds, differences of the size of the spread are noise; with one seed, so is
a difference of a point or two. Lines are sorted by the figure, best first.

What these tables say so far: **Instant Soup Pruning is not the best of its field here.** It beats one-shot pruning at
T on text and digits, but on budgets this short its look-aheads cost nearly as much again, and one-shot pruning with as
many steps gets as far or farther on the images. IMP leads on CoLA and the digits, at several times the cost; on
CIFAR-10 all that go by magnitudes tie. Lottery Pools gained on CoLA at the lower sparsity and lost at the higher one,
where what its search picked on the validation split did not hold on test; on the images it found nothing to take. GraSP
as published is poor on pre-trained weights, by absolute values it is level with SNIP. Plain training for as long beats
the instant model soup with the paper's 100 steps. All budgets are short, all models small, most lines are one seed.
"""


def main() -> None:
    """Write the page."""
    (RESULTS / "README.md").write_text(page(), encoding="utf-8")


def page() -> str:
    """The whole page."""
    groups: dict[str, dict[Group, list[dict[str, Any]]]] = defaultdict(lambda: defaultdict(list))
    for path in sorted(RESULTS.glob("*/*.json")):
        record = json.loads(path.read_text(encoding="utf-8"))
        groups[path.parent.name][group(record)].append(record)
    return "\n".join([HEAD, *(section(name, groups[name]) for name in sorted(groups))])


def group(record: dict[str, Any]) -> Group:
    """What a line of the table stands for: everything but the seed."""
    recipe = record["recipe"]
    method = recipe["method"]["name"]
    if average := recipe["method"].get("average"):
        method += f", {average}"
    if recipe["method"].get("absolute"):
        method += ", absolute"
    if method == "instant-model-soup":
        method += f", looking ahead {recipe['method']['lookahead_steps']} steps"
    if recipe["budget"] != 1:
        method += ", with IMS's whole cost" if method == "dense" else ", with ISP's whole cost"
    return method, recipe["sparsity"], recipe["task"]["name"]


def section(name: str, groups: dict[Group, list[dict[str, Any]]]) -> str:
    """One task."""
    first = next(iter(groups.values()))[0]
    recipe, training = first["recipe"], first["recipe"]["training"]
    lines = [
        f"## {name}",
        "",
        f"Task `{recipe['task']['name']}`, model `{recipe['task']['model']}`, {first['examples']['train']:,} training, "
        f"{first['examples']['validation']:,} validation and {first['examples']['test']:,} test examples; AdamW at "
        f"{training['rate']:g}, batch {training['batch']}, T = {first['cost']['full_fine_tune']['steps']} steps "
        f"({training['epochs']:g} epochs).",
        "",
        f"| sparsity | method | test {first['metric']} | spread | seeds | cost in T |",
        "|---|---|---|---|---|---|",
    ]
    found = {of: [record["test"][record["metric"]] for record in records] for of, records in groups.items()}
    for (method, sparsity, _), values in sorted(found.items(), key=lambda item: (item[0][1], -mean(item[1]))):
        records = groups[method, sparsity, recipe["task"]["name"]]
        spread = f"{stdev(values):.3f}" if len(values) > 1 else ""
        cost = mean(record["cost"]["multiple_of_T"] for record in records)
        lines.append(f"| {sparsity:.0%} | {method} | {mean(values):.3f} | {spread} | {len(values)} | {cost:.2f} |")
    return "\n".join([*lines, ""])


if __name__ == "__main__":
    main()
