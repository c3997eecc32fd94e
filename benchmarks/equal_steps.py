"""What the records of the bench at equal steps say by the rules of docs/adr/0020, cell by cell.

    python benchmarks/equal_steps.py results

For Instant Soup Pruning against each rival: the mean difference on the test split over the seeds that both have, and
p of a paired t-test with Holm's correction over the cells. Then the same over all cells together, and what each line
reaches on the validation split, by which defaults are chosen. A rival with less than two seeds in common is shown
without p.
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from collections.abc import Iterable, Mapping
from pathlib import Path
from statistics import mean

from instant_soup.evidence.runs import collect
from instant_soup.evidence.statistics import holm, paired
from instant_soup.methods.presets import INSTANT_SOUP
from instant_soup.store.record import Record

Cell = tuple[str, float]
Figures = dict[int, tuple[float, float]]
"""Seed -> the figure on the validation split and on the test split."""

SOUP = "instant soup"
RIVALS = (
    "one-shot",
    "snip",
    "cuts by magnitude",
    "cuts by curvature",
    "random",
    "IMP",
    "IMP by curvature",
    "former default",
    "soup by magnitude",
)
NAMES = {"magnitude": "one-shot", "snip": "snip", "random": "random"}
SETTINGS = INSTANT_SOUP["within-t"]
"""What the bench runs as the soup; what an ablation changes makes it another line."""
OPEN = {"score", "protocols"}
"""Knobs that the settings leave to the lines."""
BY_SCORE = {
    "gradual": ("cuts by magnitude", "cuts by curvature"),
    "lth": ("IMP", "IMP by curvature"),
}


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser()
    parser.add_argument("results", type=Path)
    options = parser.parse_args()

    cells = figures(run.record for run in collect(options.results))
    together: dict[str, list[tuple[float, float]]] = defaultdict(list)
    for rival in RIVALS:
        against(rival, cells, together)
    # rule 5: whether the score by curvature earns its place
    against(BY_SCORE["gradual"][0], cells, together, of=BY_SCORE["gradual"][1])

    print("\nover all cells, paired by cell and seed")
    for rival, pairs in together.items():
        ours, theirs = zip(*pairs, strict=True)
        test = paired(ours, theirs)
        print(f"  {rival:38} {shown(test.difference.mean, test.p)}, {len(pairs)} pairs")

    print("\nvalidation, the mean over cells of the means over seeds")
    for name in (SOUP, *RIVALS):
        reached = [
            mean(validation for validation, _ in lines[name].values())
            for lines in cells.values()
            if name in lines
        ]
        if len(reached) == len(cells):
            print(f"  {name:18} {mean(reached):.4f}")


def figures(records: Iterable[Record]) -> dict[Cell, dict[str, Figures]]:
    """The figures of each line in each cell that has Instant Soup Pruning, as the bench has it."""
    cells: dict[Cell, dict[str, Figures]] = defaultdict(lambda: defaultdict(dict))
    for record in records:
        recipe = record.recipe
        name = line_of(record)
        if name and recipe.training.line == "flat":
            figure = record.validation, record.test[record.metric]
            cells[recipe.task.name, recipe.sparsity][name][recipe.seed] = figure
    return {cell: lines for cell, lines in sorted(cells.items()) if SOUP in lines}


def line_of(record: Record) -> str:
    """What a run is called in the bench; nothing for what takes no part in it."""
    recipe = record.recipe
    method = recipe.method.facts()
    name = method["name"]
    if recipe.control or recipe.budget != 1:
        return ""
    if name == "instant-soup":
        if not method.get("inside"):
            return "former default"
        if any(method.get(knob) != SETTINGS[knob] for knob in SETTINGS.keys() - OPEN):
            return ""
        return SOUP if method.get("score") == "curved" else "soup by magnitude"
    if name in BY_SCORE:
        return BY_SCORE[name][method.get("score") == "curved"]
    return NAMES.get(name, "")


def against(
    rival: str,
    cells: Mapping[Cell, Mapping[str, Figures]],
    together: dict[str, list[tuple[float, float]]],
    *,
    of: str = SOUP,
) -> None:
    """Print how the line *of* does against *rival* in each cell, and add the pairs to those of all cells."""
    pairs: dict[Cell, list[tuple[float, float]]] = {}
    for cell, lines in cells.items():
        ours = lines.get(of, {})
        theirs = lines.get(rival, {})
        seeds = sorted(ours.keys() & theirs.keys())
        if seeds:
            pairs[cell] = [(ours[seed][1], theirs[seed][1]) for seed in seeds]

    tests = {cell: paired(*zip(*values, strict=True)) for cell, values in pairs.items()}
    known = [cell for cell, test in tests.items() if test.p is not None]
    adjusted = dict(
        zip(known, holm([tests[cell].p or 0.0 for cell in known]), strict=True)
    )

    print(f"\n{of} against {rival}")
    for cell, test in tests.items():
        task, sparsity = cell
        together[f"{of} - {rival}"] += pairs[cell]
        difference = shown(test.difference.mean, adjusted.get(cell))
        print(f"  {task:14} {sparsity:.0%}  {difference}, {len(pairs[cell])} seeds")


def shown(difference: float, p: float | None) -> str:
    """A difference, and how likely chance alone is to make one as large."""
    return f"{difference:+.4f}" if p is None else f"{difference:+.4f}  p {p:.3f}"


if __name__ == "__main__":
    main()
