"""Agreement between the tickets of different methods, measured where the tickets are and noted beside the records."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from itertools import combinations
from pathlib import Path
from typing import Any

from ..core.agreement import Agreement, agreement
from ..core.content import short
from ..core.errors import StoreError
from ..core.mask import Mask
from ..store.plain import read_json, write_json
from ..store.store import Store
from .runs import Run

_NOTES = "agreement.json"


@dataclass(frozen=True)
class Pair:
    """Two methods' tickets of one task, sparsity and seed."""

    task: str
    sparsity: float
    seed: int
    first: str
    second: str
    agreement: Agreement


def agreements(folder: Path, runs: Sequence[Run]) -> tuple[Pair, ...]:
    """Every pair of methods whose tickets are in *folder*, or were when their agreement was noted there.

    What is measured is noted in ``agreement.json`` by the digests of the masks, for folders that
    records are copied to without their tickets. Raises StoreError when that file is damaged.
    """
    notes = _read_notes(folder)
    noted_before = len(notes)
    masks = _Masks(folder)

    pairs = []
    for (task, sparsity, seed), members in _comparable(runs).items():
        for first, second in combinations(members, 2):
            key = _pair_key(first, second)
            note = notes.get(key) or masks.compare(first, second)
            if note is None:
                continue

            notes[key] = note
            pairs.append(
                Pair(
                    task=task,
                    sparsity=sparsity,
                    seed=seed,
                    first=first.method,
                    second=second.method,
                    agreement=Agreement(**note),
                )
            )

        # no later pair needs these masks, and a mask is as large as its model
        masks.forget()

    if len(notes) > noted_before:
        # a folder that is only to be read is measured anew each time, which is slow but right
        with suppress(StoreError):
            write_json(folder / _NOTES, notes)
    return tuple(pairs)


def _comparable(runs: Sequence[Run]) -> dict[tuple[str, float, int], list[Run]]:
    """The runs of tickets by task, sparsity and seed, and by method within each."""
    groups: dict[tuple[str, float, int], list[Run]] = defaultdict(list)
    for run in sorted(runs, key=lambda run: run.method):
        # what prunes nothing has a mask of ones, and a control is no method of its own
        if run.sparsity and not run.control:
            groups[run.task, run.sparsity, run.seed].append(run)
    return groups


class _Masks:
    """The masks of a folder, each read once as long as it is not forgotten."""

    def __init__(self, folder: Path) -> None:
        self._cells = Store(folder).by_key()
        self._read: dict[str, Mask | None] = {}

    def compare(self, run: Run, other: Run) -> dict[str, Any] | None:
        """How far the masks of two runs agree; None where a ticket is not there."""
        first = self._mask(run)
        second = self._mask(other)
        if first is None or second is None:
            return None
        return asdict(agreement(first, second))

    def forget(self) -> None:
        """Let go of all masks: those of the next group are others."""
        self._read.clear()

    def _mask(self, run: Run) -> Mask | None:
        if run.key not in self._read:
            self._read[run.key] = self._load(run)
        return self._read[run.key]

    def _load(self, run: Run) -> Mask | None:
        cell = self._cells.get(short(run.key))
        if cell is None or not cell.ticket.exists():
            return None
        return cell.load_ticket().mask


def _pair_key(first: Run, second: Run) -> str:
    """The digests of both masks, on which agreement depends alone, in an order that does not depend on names."""
    return "-".join(sorted([first.record.ticket.mask, second.record.ticket.mask]))


def _read_notes(folder: Path) -> dict[str, Any]:
    """What was noted in *folder*: a pair's key -> the fields of its agreement. Raises StoreError."""
    path = folder / _NOTES
    notes = read_json(path) if path.exists() else {}
    fields = set(Agreement.__dataclass_fields__)
    for note in notes.values():
        # the file lies among records that are handed around, and an odd note would end in a TypeError
        if not isinstance(note, dict) or note.keys() != fields:
            raise StoreError(
                f"{path} holds something else than agreements; remove it, and it is measured again"
            )
    return notes
