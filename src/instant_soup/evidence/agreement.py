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
    noted = _noted(folder)
    before = len(noted)
    masks = _Masks(folder)
    pairs = []
    for (task, sparsity, seed), members in _groups(runs).items():
        for first, second in combinations(members, 2):
            key = _key(first, second)
            measured = noted.get(key) or masks.compare(first, second)
            if measured is None:
                continue
            noted[key] = measured
            alike = Agreement(**measured)
            pairs.append(Pair(task, sparsity, seed, first.method, second.method, alike))

        masks.forget()

    if len(noted) > before:
        # a folder that is only to be read is measured anew each time, which is slow but right
        with suppress(StoreError):
            write_json(folder / _NOTES, noted)
    return tuple(pairs)


def _groups(runs: Sequence[Run]) -> dict[tuple[str, float, int], list[Run]]:
    groups: dict[tuple[str, float, int], list[Run]] = defaultdict(list)
    for run in sorted(runs, key=lambda run: run.method):
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
            cell = self._cells.get(short(run.key))
            drawn = cell is not None and cell.ticket.exists()
            self._read[run.key] = cell.load_ticket().mask if cell and drawn else None
        return self._read[run.key]


def _key(first: Run, second: Run) -> str:
    """The pair's masks, which is all that agreement depends on; in a fixed order."""
    return "-".join(sorted([first.record.ticket.mask, second.record.ticket.mask]))


def _noted(folder: Path) -> dict[str, Any]:
    path = folder / _NOTES
    notes = read_json(path) if path.exists() else {}
    names = set(Agreement.__dataclass_fields__)
    sound = all(
        isinstance(note, dict) and note.keys() == names for note in notes.values()
    )
    if not sound:
        raise StoreError(
            f"{path} holds something else than agreements; remove it, and it is measured again"
        )
    return notes
