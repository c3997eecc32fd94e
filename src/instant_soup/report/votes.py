"""Votes: how far the look-aheads of each round of Instant Soup Pruning agree, and what their blend changes."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

from ..evidence.comparison import Line
from ..store.parts import RoundNote
from .axes import across, upwards
from .drawing import Chart, Row, frame, path
from .marks import Look, mark


@dataclass(frozen=True)
class Fact:
    """A figure of a round: how it is read from a note, and its words."""

    of: Callable[[RoundNote], float | None]
    title: str
    axis: str
    caption: str


FACTS = (
    Fact(
        lambda note: note.unanimous,
        "what all votes agree on",
        "share on which all agree",
        "The share of the weights that every look-ahead of a round keeps, or every one drops. Where all agree, more "
        "denoisers change nothing.",
    ),
    Fact(
        lambda note: note.agreement,
        "how far two votes agree",
        "share on which two agree",
        "The share of the weights on which two look-aheads of a round agree, on average.",
    ),
    Fact(
        lambda note: note.moved,
        "what the votes change",
        "share that is decided otherwise",
        "The share of the weights on which the blend of all look-aheads differs from a plain cut by magnitude.",
    ),
)


def votes(
    task: str, fact: Fact, lines: Sequence[Line], looks: Mapping[str, Look]
) -> Chart | None:
    """*fact* of *lines* of one task against the sparsity after each round. None where none has rounds."""
    curves = [
        (line, rounds)
        for line in lines
        if not line.control and (rounds := _rounds(line, fact.of))
    ]
    if not curves:
        return None
    targets = sorted({target for _, rounds in curves for target in rounds})
    x, y = (
        across(targets),
        upwards([value for _, rounds in curves for value in rounds.values()]),
    )
    ticks: dict[float, str] = {}

    for target in targets:
        if not ticks or x(target) - x(max(ticks)) > 38:
            ticks[target] = f"{100 * target:.3g}%"

    parts = frame(x, y, "sparsity after the round", fact.axis, ticks)
    rows: list[Row] = []

    for line, rounds in curves:
        look = looks[line.method]
        parts.append(
            path(look, [(x(target), y(value)) for target, value in rounds.items()])
        )
        for target, value in rounds.items():
            words = (
                f"{line.title} to {line.sparsity:.0%}, round to {target:.0%}: {value:.2%}"
            )
            parts.append(mark(look, x(target), y(value), words))
            rows.append(
                (
                    look.number,
                    (line.title, f"{line.sparsity:.0%}", f"{target:.0%}", f"{value:.3%}"),
                )
            )

    values = [value for _, rounds in curves for value in rounds.values()]
    said = f"Between {min(values):.2%} and {max(values):.2%}, over {len(values)} rounds."
    head = ("method", "final sparsity", "round to", fact.axis)
    caption = f"{fact.caption} One line for each final sparsity; means over seeds."

    return Chart(f"{task}: {fact.title}", caption, said, parts, head, tuple(rows))


def _rounds(line: Line, of: Callable[[RoundNote], float | None]) -> dict[float, float]:
    """Target -> the mean over seeds, in the order of the rounds."""
    seen: dict[float, list[float]] = defaultdict(list)
    for run in line.runs:
        for note in run.record.ticket.notes.rounds:
            value = of(note)
            several = note.lookaheads is None or note.lookaheads > 1
            if value is not None and several:
                seen[round(note.target, 6)].append(value)
    return {target: fmean(values) for target, values in sorted(seen.items())}
