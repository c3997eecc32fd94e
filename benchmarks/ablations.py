"""What each part of Instant Soup Pruning is worth: every ablation beside the whole, by task.

    python benchmarks/ablations.py results recipes/equal-steps/*-ablations.toml

A line is a cell of the recipes, found among the records by its key. Shown are the mean differences from the cell
`soup` over the seeds that both have, on the validation split and on the test split, in points, and p of a paired
t-test on the latter. On both tasks together a seed counts once, by its mean over the tasks. A line of other total
steps says so by its T.
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import mean

from instant_soup.evidence.runs import collect
from instant_soup.evidence.statistics import paired
from instant_soup.recipes.grid import expand
from instant_soup.recipes.toml import cells, read
from instant_soup.store.record import Record

WHOLE = "soup"
EVERYWHERE = "both tasks"

BySeed = dict[tuple[str, int], Record]
"""(task, seed) -> record"""


@dataclass(frozen=True)
class Row:
    """A line beside the whole: differences in points."""

    task: str
    name: str
    seeds: int
    validation: float
    test: float
    p: float | None
    multiple: float


def main() -> None:
    """Print the table as Markdown."""
    parser = argparse.ArgumentParser()
    parser.add_argument("results", type=Path)
    parser.add_argument("recipes", type=Path, nargs="+")
    options = parser.parse_args()

    print("\n".join(table(options.results, options.recipes)))


def table(results: Path, recipes: Sequence[Path]) -> list[str]:
    """The lines of the table."""
    lines = [
        "| task | what is changed | seeds | validation | test | p | cost |",
        "|---|---|---|---|---|---|---|",
    ]
    for row in rows(lines_of(results, recipes)):
        p = "" if row.p is None else f"{row.p:.3f}"
        lines.append(
            f"| {row.task} | `{row.name}` | {row.seeds} | {row.validation:+.2f} | {row.test:+.2f} "
            f"| {p} | {row.multiple:.2f} T |"
        )
    return lines


def lines_of(results: Path, recipes: Sequence[Path]) -> Mapping[str, BySeed]:
    """The records of each cell of *recipes*, by task and seed."""
    records = {run.record.key: run.record for run in collect(results)}
    lines: dict[str, BySeed] = defaultdict(dict)
    for path in recipes:
        for name in cells(read(path), str(path)):
            for wanted in expand(path, cells=[name]):
                record = records.get(wanted.key)
                if record is not None:
                    place = wanted.recipe.task.name, wanted.recipe.seed
                    lines[name][place] = record
    return lines


def rows(lines: Mapping[str, BySeed]) -> list[Row]:
    """Each line beside the whole, on each task and on all together."""
    whole = lines[WHOLE]
    tasks = sorted({task for task, _ in whole})
    found = []
    for task in (*tasks, EVERYWHERE):
        for name, line in lines.items():
            places = [
                place
                for place in sorted(line.keys() & whole.keys())
                if task in (place[0], EVERYWHERE)
            ]
            if name != WHOLE and places:
                found.append(beside(task, name, places, line, whole))
    return found


def beside(
    task: str,
    name: str,
    places: Sequence[tuple[str, int]],
    line: BySeed,
    whole: BySeed,
) -> Row:
    """One line beside the whole, where both are."""
    by_seed: dict[int, list[tuple[str, int]]] = defaultdict(list)
    for place in places:
        by_seed[place[1]].append(place)

    # tasks of one seed are no independent draws, so a seed gives one figure
    mine = [mean(figure(line[place]) for place in seed) for seed in by_seed.values()]
    theirs = [mean(figure(whole[place]) for place in seed) for seed in by_seed.values()]
    test = paired(mine, theirs)
    validation = [line[place].validation - whole[place].validation for place in places]
    return Row(
        task=task,
        name=name,
        seeds=len(by_seed),
        validation=100 * mean(validation),
        test=100 * test.difference.mean,
        p=test.p,
        multiple=mean(line[place].cost.multiple_of_T for place in places),
    )


def figure(record: Record) -> float:
    """What a run reaches on the test split."""
    return record.test[record.metric]


if __name__ == "__main__":
    main()
