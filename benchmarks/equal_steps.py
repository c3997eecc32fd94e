"""What the records of the bench at equal steps say by the rules of docs/adr/0020, cell by cell.

    python benchmarks/equal_steps.py results
    python benchmarks/equal_steps.py results --budget 1.5
    python benchmarks/equal_steps.py results --table

First which cells can tell anything (rule 6) and whether T is long enough (rule 7). Then, for Instant Soup Pruning
against each rival, on the test split and on the validation split, by which defaults are chosen: the mean difference
over the seeds that both have, and p of a paired t-test, with Holm's correction over the cells. Last the same over the
cells together: a seed gives one difference, the mean over the cells, because cells of one seed share the order of
their data and so are no independent draws. A rival with less than two seeds in common is shown without p.
`--table` prints in their place the table that README shows, the means of each line in the cells that can tell.
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import mean, stdev
from typing import Any

from instant_soup.evidence.runs import collect
from instant_soup.evidence.silence import LEVEL
from instant_soup.evidence.statistics import holm, interval, paired
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
EARLY = "soup before the first three cuts"
SETTINGS = INSTANT_SOUP["within-t"]
"""What the bench runs as the soup; what an ablation changes makes it another line."""
EARLY_SETTINGS = {
    **SETTINGS,
    "denoised_from": "first",
    "denoised_rounds": 3,
    "lookahead_steps": 15,
}
"""The same with its look-aheads where most is decided."""
OPEN = {"score", "protocols"}
"""Knobs that the settings leave to the lines."""
BY_SCORE = {
    "gradual": ("cuts by magnitude", "cuts by curvature"),
    "lth": ("IMP", "IMP by curvature"),
}

SHOWN = {
    "dense": "dense",
    SOUP: "`instant-soup`",
    "cuts by curvature": "`gradual`, by curvature",
    "cuts by magnitude": "`gradual`, by magnitude",
    "one-shot": "`magnitude`, once",
    "snip": "`snip`",
    "random": "`random`",
    "IMP": "`lth`, at 6 T",
}
"""The lines of README's table, with their headings there."""
TASKS = {
    "vision/mnist": "digits",
    "demo/polarity": "words",
    "glue/stsb": "STS-B",
    "glue/sst2": "SST-2",
    "glue/cola": "CoLA",
}


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser()
    parser.add_argument("results", type=Path)
    parser.add_argument("--budget", type=float, default=1.0, help="in T; IMP is at 6 T")
    parser.add_argument("--table", action="store_true", help="the table of README alone")
    options = parser.parse_args()

    records = [run.record for run in collect(options.results)]
    if options.table:
        print("\n".join(table(records)))
        return

    cells = figures(records, options.budget)
    dense = dense_figures(records)
    print_lengths(cells, dense)
    telling = print_cells(cells, figures(records, 1.0), dense)

    for rival in RIVALS:
        against(rival, cells, telling)
    # rule 5: whether the score by curvature earns its place
    against(BY_SCORE["gradual"][0], cells, telling, of=BY_SCORE["gradual"][1])
    # docs/adr/0024: whether look-aheads add where they decide
    against(BY_SCORE["gradual"][1], cells, telling, of=EARLY)


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


def print_lengths(cells: Cells, dense: Mapping[str, Mapping[float, Figures]]) -> None:
    """Print whether T is long enough for each task (rule 7)."""
    print("rule 7: what twice T gains the dense model, beside its own spread at T")
    for task in sorted({task for task, _ in cells}):
        once = tests_of(dense[task][1.0])
        twice = tests_of(dense[task][2.0])
        gain = f"{mean(twice) - mean(once):+.4f}" if twice else "not run"
        print(
            f"  {task:14} {gain}, spread {stdev(once):.4f}, "
            f"{len(once)} and {len(twice)} seeds"
        )


def print_cells(
    cells: Cells, at_t: Cells, dense: Mapping[str, Mapping[float, Figures]]
) -> list[Cell]:
    """Print which cells can tell something (rule 6), and return those."""
    print("\nrule 6: what one-shot at T loses, in spreads, and p of random against it")
    telling = []
    for cell in cells:
        task, sparsity = cell
        sight = Sight.of(at_t[cell], dense[task][1.0])
        if sight.tells:
            telling.append(cell)

        verdict = "can tell" if sight.tells else "cannot tell"
        p = "none" if sight.p is None else f"{sight.p:.3f}"
        print(
            f"  {task:14} {sparsity:.0%}  {sight.spreads:.1f} spreads, p {p}: {verdict}"
        )
    return telling


@dataclass(frozen=True)
class Sight:
    """Whether a cell can tell masks apart (rule 6).

    Attributes:
        spreads: what one-shot pruning at T loses, in spreads of the dense model over seeds.
        p: of random pruning against one-shot pruning; None where they have no two seeds in common.
    """

    spreads: float
    p: float | None

    @classmethod
    def of(cls, lines: Mapping[str, Figures], dense: Figures) -> Sight:
        """What the *lines* of a cell at T, and the *dense* model there, say."""
        once = tests_of(dense)
        one_shot = mean(tests_of(lines["one-shot"]))
        ours, theirs = common(lines, "random", "one-shot", "test")
        return cls((mean(once) - one_shot) / stdev(once), paired(ours, theirs).p)

    @property
    def tells(self) -> bool:
        """Whether one-shot pruning loses enough, and is told from pruning at random."""
        return self.spreads >= SPREADS and self.p is not None and self.p < LEVEL


def table(records: Sequence[Record]) -> list[str]:
    """README's table: the mean of each line on test in each cell that can tell, in percent, with its 95 % interval."""
    cells = figures(records, 1.0)
    dense = dense_figures(records)
    lines = [
        "| | " + " | ".join(SHOWN.values()) + " |",
        "|---" * (len(SHOWN) + 1) + "|",
    ]

    for (task, sparsity), figures_of in cells.items():
        if not Sight.of(figures_of, dense[task][1.0]).tells:
            continue
        once = {"dense": dense[task][1.0]}
        row = [mean_of((once | dict(figures_of)).get(line, {})) for line in SHOWN]
        lines.append(
            f"| {TASKS[task]}, {sparsity:.0%} pruned | " + " | ".join(row) + " |"
        )
    return lines


def mean_of(figures: Figures) -> str:
    """The mean over seeds in percent, with its interval."""
    values = [100 * value for value in tests_of(figures)]
    if not values:
        return ""
    half = interval(values).half
    return f"{mean(values):.1f}" if half is None else f"{mean(values):.1f} ± {half:.1f}"


def tests_of(figures: Figures) -> list[float]:
    """What each seed has on the test split."""
    return [test for _, test in figures.values()]


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
        curved = method.get("score") == "curved"
        if _is_set(method, EARLY_SETTINGS):
            return EARLY if curved else ""
        if _is_set(method, SETTINGS):
            return SOUP if curved else "soup by magnitude"
        return ""
    if name in BY_SCORE:
        return BY_SCORE[name][method.get("score") == "curved"]
    return NAMES.get(name, "")


def _is_set(method: Mapping[str, Any], settings: Mapping[str, Any]) -> bool:
    """Whether *method* has all knobs of *settings* but those that are left to the lines."""
    return all(method.get(knob) == settings[knob] for knob in settings.keys() - OPEN)


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
