"""What the records of the bench at equal steps say by the rules of docs/adr/0020, cell by cell.

    python benchmarks/equal_steps.py results
    python benchmarks/equal_steps.py results --budget 1.5

First which cells can tell anything (rule 6) and whether T is long enough (rule 7). Then, for Instant Soup Pruning
against each rival, on the test split and on the validation split, by which defaults are chosen: the mean difference
over the seeds that both have, and p of a paired t-test, with Holm's correction over the cells. Last the same over the
cells together: a seed gives one difference, the mean over the cells, because cells of one seed share the order of
their data and so are no independent draws. A rival with less than two seeds in common is shown without p.
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from collections.abc import Iterable, Mapping
from pathlib import Path
from statistics import mean, stdev

from instant_soup.evidence.runs import collect
from instant_soup.evidence.silence import LEVEL
from instant_soup.evidence.statistics import holm, paired
from instant_soup.methods.presets import INSTANT_SOUP
from instant_soup.store.record import Record

Cell = tuple[str, float]
Figures = dict[int, tuple[float, float]]
"""Seed -> the figure on the validation split and on the test split."""

Cells = Mapping[Cell, Mapping[str, Figures]]
SPLITS = {"validation": 0, "test": 1}
"""Where each split's figure stands in `Figures`."""

SPREADS = 3
"""How many spreads of the dense model one-shot pruning loses at least in a cell that can tell."""
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
NAMES = {"magnitude": "one-shot", "snip": "snip", "random": "random", "dense": "dense"}
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
    parser.add_argument("--budget", type=float, default=1.0, help="in T; IMP is at 6 T")
    options = parser.parse_args()

    records = [run.record for run in collect(options.results)]
    cells = figures(records, options.budget)
    telling = print_cells(cells, figures(records, 1.0), dense_figures(records))

    for rival in RIVALS:
        against(rival, cells, telling)
    # rule 5: whether the score by curvature earns its place
    against(BY_SCORE["gradual"][0], cells, telling, of=BY_SCORE["gradual"][1])


def figures(records: Iterable[Record], budget: float) -> dict[Cell, dict[str, Figures]]:
    """The figures of each line in each cell that has Instant Soup Pruning with that *budget*, as the bench has it."""
    cells: dict[Cell, dict[str, Figures]] = defaultdict(lambda: defaultdict(dict))
    for record in records:
        recipe = record.recipe
        name = line_of(record)
        # IMP takes its rounds besides, whatever the others are given
        fits = recipe.budget == budget or (name in BY_SCORE["lth"] and recipe.budget == 1)
        if name and fits and recipe.training.line == "flat":
            cells[recipe.task.name, recipe.sparsity][name][recipe.seed] = both(record)
    return {cell: lines for cell, lines in sorted(cells.items()) if SOUP in lines}


def dense_figures(records: Iterable[Record]) -> dict[str, dict[float, Figures]]:
    """Task -> budget -> the figures of its dense models under the bench's line."""
    dense: dict[str, dict[float, Figures]] = defaultdict(lambda: defaultdict(dict))
    for record in records:
        recipe = record.recipe
        if line_of(record) == "dense" and recipe.training.line == "flat":
            dense[recipe.task.name][recipe.budget][recipe.seed] = both(record)
    return dense


def both(record: Record) -> tuple[float, float]:
    """What *record* has on the validation split and on the test split."""
    return record.validation, record.test[record.metric]


def print_cells(
    cells: Cells, at_t: Cells, dense: Mapping[str, Mapping[float, Figures]]
) -> list[Cell]:
    """Print what rules 6 and 7 say, and return the cells that can tell something."""
    print("rule 7: what twice T gains the dense model, beside its own spread at T")
    for task in sorted({task for task, _ in cells}):
        once = [test for _, test in dense[task][1.0].values()]
        twice = [test for _, test in dense[task][2.0].values()]
        gain = f"{mean(twice) - mean(once):+.4f}" if twice else "not run"
        print(
            f"  {task:14} {gain}, spread {stdev(once):.4f}, "
            f"{len(once)} and {len(twice)} seeds"
        )

    print("\nrule 6: what one-shot at T loses, in spreads, and p of random against it")
    telling = []
    for cell in cells:
        task, sparsity = cell
        lines = at_t[cell]
        once = [test for _, test in dense[task][1.0].values()]
        one_shot = mean(test for _, test in lines["one-shot"].values())
        spreads = (mean(once) - one_shot) / stdev(once)

        ours, theirs = common(lines, "random", "one-shot", "test")
        p = paired(ours, theirs).p
        tells = spreads >= SPREADS and p is not None and p < LEVEL
        if tells:
            telling.append(cell)
        verdict = "can tell" if tells else "cannot tell"
        shown_p = "none" if p is None else f"{p:.3f}"
        print(
            f"  {task:14} {sparsity:.0%}  {spreads:.1f} spreads, p {shown_p}: {verdict}"
        )
    return telling


def common(
    lines: Mapping[str, Figures], of: str, rival: str, split: str
) -> tuple[list[float], list[float]]:
    """The figures of two lines over the seeds that both have."""
    ours = lines.get(of, {})
    theirs = lines.get(rival, {})
    seeds = sorted(ours.keys() & theirs.keys())
    place = SPLITS[split]
    return [ours[seed][place] for seed in seeds], [theirs[seed][place] for seed in seeds]


def line_of(record: Record) -> str:
    """What a run is called in the bench; nothing for what takes no part in it."""
    recipe = record.recipe
    method = recipe.method.facts()
    name = method["name"]
    if recipe.control:
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


def against(rival: str, cells: Cells, telling: Iterable[Cell], *, of: str = SOUP) -> None:
    """Print how the line *of* does against *rival*, in each cell and over those that can tell."""
    print(f"\n{of} against {rival}")
    for split in SPLITS:
        pairs = {}
        for cell, lines in cells.items():
            ours, theirs = common(lines, of, rival, split)
            if ours:
                pairs[cell] = (ours, theirs)

        tests = {cell: paired(*values) for cell, values in pairs.items()}
        known = [cell for cell, test in tests.items() if test.p is not None]
        adjusted = dict(
            zip(known, holm([tests[cell].p or 0.0 for cell in known]), strict=True)
        )
        for cell, test in tests.items():
            task, sparsity = cell
            difference = shown(test.difference.mean, adjusted.get(cell))
            seeds = len(pairs[cell][0])
            print(f"  {split:10} {task:14} {sparsity:.0%}  {difference}, {seeds} seeds")

        chosen = {cell: cells[cell] for cell in telling if cell in pairs}
        print_together(chosen, of, rival, split)


def print_together(cells: Cells, of: str, rival: str, split: str) -> None:
    """Print the difference of two lines over *cells*: for each seed that all of them have, its mean over the cells."""
    seeds: set[int] | None = None
    for lines in cells.values():
        shared = lines[of].keys() & lines[rival].keys()
        seeds = shared if seeds is None else seeds & shared
    if not seeds:
        return

    place = SPLITS[split]
    ours = [mean(lines[of][seed][place] for lines in cells.values()) for seed in seeds]
    theirs = [
        mean(lines[rival][seed][place] for lines in cells.values()) for seed in seeds
    ]
    test = paired(ours, theirs)
    difference = shown(test.difference.mean, test.p)
    print(
        f"  {split:10} {len(cells)} cells that can tell  {difference}, {len(seeds)} seeds"
    )


def shown(difference: float, p: float | None) -> str:
    """A difference, and how likely chance alone is to make one as large."""
    return f"{difference:+.4f}" if p is None else f"{difference:+.4f}  p {p:.3f}"


if __name__ == "__main__":
    main()
