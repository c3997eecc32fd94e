"""Votes: how far the look-aheads of each round of Instant Soup Pruning agree, and what their blend changes."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from statistics import fmean

from ..evidence.line import Line
from ..store.parts import RoundNote
from .axes import Scale, across, upwards
from .drawing import Chart, Row, frame, path
from .marks import Looks, mark


@dataclass(frozen=True)
class Fact:
    """A figure of a round: how it is read from a note, and its words."""

    read: Callable[[RoundNote], float | None]
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
    task: str,
    fact: Fact,
    lines: Sequence[Line],
    looks: Looks,
) -> Chart | None:
    """*fact* of *lines* of one task against the sparsity after each round. None where none has rounds."""
    curves: list[tuple[Line, dict[float, float]]] = []
    for line in lines:
        rounds = _rounds(line, fact)
        # a control is made of a ticket that is drawn already, and repeats its rounds
        if rounds and not line.control:
            curves.append((line, rounds))
    if not curves:
        return None

    targets: set[float] = set()
    values: list[float] = []
    for _, rounds in curves:
        targets.update(rounds)
        values += rounds.values()

    x = across(targets)
    y = upwards(values)
    ticks = _ticks(x, targets)
    parts = frame(x, y, "sparsity after the round", fact.axis, ticks)
    rows: list[Row] = []
    for line, rounds in curves:
        look = looks[line.method]
        places = [(x(target), y(value)) for target, value in rounds.items()]
        parts.append(path(look, places))

        final = f"{line.sparsity:.0%}"
        for place, (target, value) in zip(places, rounds.items(), strict=True):
            words = f"{line.title} to {final}, round to {target:.0%}: {value:.2%}"
            parts.append(mark(look, *place, words))

            cells = (line.title, final, f"{target:.0%}", f"{value:.3%}")
            rows.append((look.number, cells))

    return Chart(
        title=f"{task}: {fact.title}",
        caption=f"{fact.caption} One line for each final sparsity; means over seeds.",
        finding=f"Between {min(values):.2%} and {max(values):.2%}, over {len(values)} rounds.",
        parts=parts,
        head=("method", "final sparsity", "round to", fact.axis),
        rows=tuple(rows),
    )


def _ticks(x: Scale, targets: Iterable[float]) -> dict[float, str]:
    """The targets as ticks, those left out that would run into the one before."""
    ticks: dict[float, str] = {}
    for target in sorted(targets):
        if not ticks or x(target) - x(max(ticks)) > 38:
            ticks[target] = f"{100 * target:.3g}%"
    return ticks


def _rounds(line: Line, fact: Fact) -> dict[float, float]:
    """Target -> the mean over seeds, in the order of the rounds."""
    seeds: dict[float, list[float]] = defaultdict(list)
    for run in line.runs:
        for note in run.record.ticket.notes.rounds:
            value = fact.read(note)
            # one look-ahead agrees with itself
            several = note.lookaheads is None or note.lookaheads > 1
            if value is not None and several:
                # rounded, for targets of several seeds may differ in the last digit
                seeds[round(note.target, 6)].append(value)
    return {target: fmean(values) for target, values in sorted(seeds.items())}
