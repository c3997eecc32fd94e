"""Fates: what became of each tensor when a ticket was fitted to another model, as values and as a table."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

from . import layers

Outcome = Literal["matched", "start", "dense", "dropped"]
OUTCOMES: tuple[Outcome, ...] = get_args(Outcome)

Row = tuple[str, str, str, str, str]
"""Outcome, name, what it is made of, weights kept, and why."""

TITLES: Row = ("outcome", "name", "of the ticket", "kept", "why")


@dataclass(frozen=True)
class Fate:
    """What became of one tensor.

    Attributes:
        name: in the model; in the ticket for what was dropped.
        of: what of the ticket it is made of.
        outcome: ``matched``: its mask came along; ``start``: its start weights did, and it is not in scope; ``dense``:
            the model has it, the ticket nothing for it, all of it is kept; ``dropped``: the ticket has it, or some of
            it, and the model no place for it.
        why: how it was matched, or why it was not.
        kept, size: weights; of its mask where there is one.
    """

    name: str
    of: tuple[str, ...]
    outcome: Outcome
    why: str
    kept: int
    size: int


def rows(fates: Sequence[Fate]) -> list[Row]:
    """One row for each fate; the numbered layers of a stack that fare alike share one."""
    alike: dict[tuple[str, ...], list[Fate]] = {}
    for fate in fates:
        sources = ", ".join(fate.of)
        key = (fate.outcome, _general(fate.name), _general(sources), _general(fate.why))
        alike.setdefault(key, []).append(fate)

    table: list[Row] = []
    for (outcome, general, sources, why), group in alike.items():
        name = f"{general} ({len(group)} times)"
        if len(group) == 1:
            name = group[0].name
            why = group[0].why
        table.append((outcome, name, sources, _share(group), why))
    return table


def table(fates: Sequence[Fate]) -> list[str]:
    """The rows as lines of text in columns, under their titles."""
    lines = [TITLES, *rows(fates)]
    *columns, _ = zip(*lines, strict=True)
    widths = [max(map(len, column)) for column in columns]

    shown = []
    for *cells, why in lines:
        padded = map(str.ljust, cells, widths)
        shown.append("  ".join([*padded, why]).rstrip())
    return shown


def _general(text: str) -> str:
    """*text* with the numbers of layers left out."""
    return re.sub(r"(?<=layer )\d+", "#", layers.without_numbers(text, "#"))


def _share(fates: Sequence[Fate]) -> str:
    kept = sum(fate.kept for fate in fates)
    size = sum(fate.size for fate in fates)
    return f"{kept:,} of {size:,}"
