"""What each part of Instant Soup Pruning is worth: every ablation beside the whole, by task.

    python benchmarks/ablations.py results recipes/equal-steps/*-ablations.toml

A line is a cell of the recipes, found among the records by its key. Shown are the mean differences from the cell
`soup` over the seeds that both have, on the validation split and on the test split, in points, and p of a paired
t-test on the latter. On both tasks together a seed counts once, by its mean over the tasks. A line of other total
steps says so by its T. The cell `control-of-NAME` keeps as many weights of each matrix as NAME does, at random: how far
NAME is ahead of it on the test split, and p of that, are the last two columns.
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import mean

from instant_soup.evidence.runs import collect
from instant_soup.evidence.statistics import Paired, paired
from instant_soup.recipes.grid import expand
from instant_soup.recipes.toml import cells, read
from instant_soup.store.record import Record

WHOLE = "soup"
CONTROL = "control-of-"
EVERYWHERE = "both tasks"

Place = tuple[str, int]
"""A task and a seed."""

BySeed = dict[Place, Record]


@dataclass(frozen=True)
class Row:
    """A line beside the whole, and beside its control.

    Attributes:
        seeds: how many the line and the whole have both.
        validation, test: how far the line is ahead of the whole on each split, in points.
        p: of the difference on the test split.
        multiple: what a run costs, in T.
        over_control: how far the line is ahead of its control on the test split, in points; None where there is none.
        p_control: of that difference.
    """

    task: str
    name: str
    seeds: int
    validation: float
    test: float
    p: float | None
    multiple: float
    over_control: float | None = None
    p_control: float | None = None


def print_table(make: Callable[[Path, Sequence[Path]], list[str]]) -> None:
    """Print as Markdown what *make* makes of the results and the recipes that the command line names."""
    parser = argparse.ArgumentParser()
    parser.add_argument("results", type=Path)
    parser.add_argument("recipes", type=Path, nargs="+")
    options = parser.parse_args()

    print("\n".join(make(options.results, options.recipes)))


def table(results: Path, recipes: Sequence[Path]) -> list[str]:
    """The lines of the table."""
    lines = [
        "| task | what is changed | seeds | validation | test | p | cost | over its control | p |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for row in rows(lines_of(results, recipes)):
        over = "" if row.over_control is None else f"{row.over_control:+.2f}"
        beside_whole = f"{row.validation:+.2f} | {row.test:+.2f} | {shown(row.p)}"
        if row.name == WHOLE:
            beside_whole = "| |"
        lines.append(
            f"| {row.task} | `{row.name}` | {row.seeds} | {beside_whole} | {row.multiple:.2f} T "
            f"| {over} | {shown(row.p_control)} |"
        )
    return lines


def shown(p: float | None) -> str:
    """A p value, or nothing."""
    return "" if p is None else f"{p:.3f}"


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
    beside_whole = []
    for task in (*tasks, EVERYWHERE):
        for name, line in lines.items():
            if name.startswith(CONTROL):
                continue
            if places := places_of(task, line, whole):
                control = lines.get(CONTROL + name, {})
                beside_whole.append(beside(task, name, places, line, whole, control))
    return beside_whole


def places_of(task: str, line: BySeed, other: BySeed) -> list[Place]:
    """Where both lines have a run of *task*; on all tasks together, of the seeds that each task has."""
    places = sorted(line.keys() & other.keys())
    if task != EVERYWHERE:
        return [place for place in places if place[0] == task]

    tasks = {place[0] for place in places}
    return [
        (name, seed)
        for name, seed in places
        if all((other_task, seed) in places for other_task in tasks)
    ]


def beside(
    task: str,
    name: str,
    places: Sequence[Place],
    line: BySeed,
    whole: BySeed,
    control: BySeed,
) -> Row:
    """One line beside the whole, and beside its control, where both are."""
    test = difference(places, line, whole)
    validation = [line[place].validation - whole[place].validation for place in places]
    row = Row(
        task=task,
        name=name,
        seeds=len({seed for _, seed in places}),
        validation=100 * mean(validation),
        test=100 * test.difference.mean,
        p=test.p,
        multiple=mean(line[place].cost.multiple_of_T for place in places),
    )

    controlled = places_of(task, line, control)
    if not controlled:
        return row
    over = difference(controlled, line, control)
    return replace(row, over_control=100 * over.difference.mean, p_control=over.p)


def difference(places: Sequence[Place], line: BySeed, other: BySeed) -> Paired:
    """How far *line* is ahead of *other* on the test split, over the seeds that both have."""
    # tasks of one seed are no independent draws, so a seed gives one figure
    by_seed: dict[int, list[Place]] = defaultdict(list)
    for place in places:
        by_seed[place[1]].append(place)

    mine = [mean(figure(line[place]) for place in seed) for seed in by_seed.values()]
    theirs = [mean(figure(other[place]) for place in seed) for seed in by_seed.values()]
    return paired(mine, theirs)


def figure(record: Record) -> float:
    """What a run reaches on the test split."""
    return record.test[record.metric]


if __name__ == "__main__":
    print_table(table)
