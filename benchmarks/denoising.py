"""Whether look-aheads add anything where they have something to decide: each way to cut beside its twin without them.

    python benchmarks/denoising.py results recipes/equal-steps/*-denoising.toml

A line is a cell of the recipes, found among the records by its key. *moved* is the share of the weights that the
look-aheads of all rounds decided otherwise than a plain cut would have, the mean over runs. Shown in points are how far
the line is ahead of its twin on both splits and p of the latter, and how far it is ahead of twelve cubic cuts without
look-aheads on validation, by which settings are chosen. A seed counts once, by its mean over the tasks.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import mean

from ablations import (
    EVERYWHERE,
    BySeed,
    Place,
    difference,
    lines_of,
    places_of,
    print_table,
    shown,
)

PLAIN = "no-look-aheads"
TWINS = {
    "last-cut": PLAIN,
    "first-cut": PLAIN,
    "first-three-cuts": PLAIN,
    "every-cut": PLAIN,
    "even-cuts": "even-cuts-no-look-aheads",
    "three-cuts": "three-cuts-no-look-aheads",
    "one-cut": "one-cut-no-look-aheads",
    "one-cut-four-look-aheads": "one-cut-no-look-aheads",
}
"""A way to cut with look-aheads -> the same without them."""


@dataclass(frozen=True)
class Row:
    """A way to cut beside its twin: differences in points.

    Attributes:
        moved: the share of the weights that look-aheads decided.
        over_plain: how far it is ahead of twelve cubic cuts without look-aheads on validation.
    """

    task: str
    name: str
    seeds: int
    moved: float
    validation: float
    test: float
    p: float | None
    over_plain: float


def table(results: Path, recipes: Sequence[Path]) -> list[str]:
    """The lines of the table."""
    lines = [
        "| task | look-aheads before | seeds | moved | validation | test | p | over twelve cubic cuts, validation |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for row in rows(lines_of(results, recipes)):
        lines.append(
            f"| {row.task} | `{row.name}` | {row.seeds} | {row.moved:.2%} | {row.validation:+.2f} | {row.test:+.2f} "
            f"| {shown(row.p)} | {row.over_plain:+.2f} |"
        )
    return lines


def rows(lines: Mapping[str, BySeed]) -> list[Row]:
    """Each way to cut beside its twin, on each task and on all together."""
    tasks = sorted({task for task, _ in lines[PLAIN]})
    beside_twins = []
    for task in (*tasks, EVERYWHERE):
        for name, twin in TWINS.items():
            line = lines.get(name, {})
            places = places_of(task, line, lines.get(twin, {}))
            if places:
                beside_twins.append(
                    _row(task, name, places, line, lines[twin], lines[PLAIN])
                )
    return beside_twins


def _row(
    task: str,
    name: str,
    places: Sequence[Place],
    line: BySeed,
    twin: BySeed,
    plain: BySeed,
) -> Row:
    test = difference(places, line, twin)
    return Row(
        task=task,
        name=name,
        seeds=len({seed for _, seed in places}),
        moved=mean(_moved(line, place) for place in places),
        validation=_on_validation(places, line, twin),
        test=100 * test.difference.mean,
        p=test.p,
        over_plain=_on_validation(places, line, plain),
    )


def _moved(line: BySeed, place: Place) -> float:
    """What the look-aheads of all rounds of one run decided otherwise than a plain cut."""
    return sum(note.moved or 0.0 for note in line[place].ticket.notes.rounds)


def _on_validation(places: Sequence[Place], line: BySeed, other: BySeed) -> float:
    """How far *line* is ahead of *other* on the validation split, in points."""
    return 100 * mean(
        line[place].validation - other[place].validation for place in places
    )


if __name__ == "__main__":
    print_table(table)
