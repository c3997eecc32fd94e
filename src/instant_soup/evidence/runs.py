"""Runs as comparisons see them: records of any folder, under names that set apart what differs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Self

from ..core.budget import Cost
from ..core.errors import StoreError
from ..core.kinds import checked
from ..core.printable import printable
from ..store.parts import Full
from ..store.record import Record, paths, read
from .naming import knobs_of, names_of


@dataclass(frozen=True)
class Run:
    """One finished run, as comparisons see it.

    Attributes:
        task: the task's name, with what sets it apart where one folder holds the task twice.
        method: the method's name, with what sets it apart from its most frequent variant.
        record: all that is known of it.
    """

    task: str
    method: str
    record: Record

    @classmethod
    def of(cls, record: Record, task: str, method: str) -> Self:
        """*record* under names that are safe to show anywhere."""
        # records may come from anybody, and a name could hold what moves a terminal's cursor
        return cls(printable(task), printable(method), record)

    @property
    def key(self) -> str:
        """Of its recipe."""
        return self.record.key

    @property
    def family(self) -> str:
        """The method's bare name, which all its variants share."""
        return printable(self.record.recipe.method.name)

    # kept once made: each line is compared with every other by it
    @cached_property
    def knobs(self) -> str:
        """The method and its knobs, as one text."""
        return knobs_of(self.record.recipe)

    @property
    def steps(self) -> int:
        """Optimiser steps in all, look-aheads included."""
        steps = 0
        for purposes in self.bill.values():
            steps += sum(cost.steps for cost in purposes.values())
        return steps

    @property
    def sparsity(self) -> float:
        """What was asked for; 0 for what prunes nothing."""
        return self.record.recipe.sparsity

    @property
    def seed(self) -> int:
        """Of the run."""
        return self.record.recipe.seed

    @property
    def control(self) -> str | None:
        """The kind of control that this is, if it is one."""
        kind = self.record.recipe.control
        return None if kind is None else printable(kind)

    @property
    def metric(self) -> str:
        """The task's first figure, by which methods are compared."""
        return printable(self.record.metric)

    @property
    def test(self) -> Mapping[str, float]:
        """All figures on the test split."""
        return self.record.test

    @property
    def figure(self) -> float:
        """The figure by which methods are compared, on the test split."""
        return self.record.figure

    @property
    def validation(self) -> float:
        """The figure that selection goes by."""
        return self.record.validation

    @property
    def cost(self) -> float:
        """The whole cost as a multiple of T, the reading of the test split left out."""
        return self.record.cost.multiple_of_T

    @property
    def full(self) -> Full:
        """T in steps, examples and passes."""
        return self.record.cost.full_fine_tune

    @property
    def bill(self) -> Mapping[str, Mapping[str, Cost]]:
        """Stage ("draw", "train") -> purpose -> work."""
        return self.record.cost.stages

    @property
    def clock(self) -> Mapping[str, Mapping[str, float]]:
        """Stage -> purpose -> seconds; empty in records of schema 1 and 2."""
        return self.record.clock.stages

    @property
    def seconds(self) -> float:
        """Wall time of this run's own work."""
        return self.record.seconds.total

    @property
    def reused_seconds(self) -> float:
        """What the reused work took when it was done."""
        return self.record.clock.reused

    @property
    def memory(self) -> int | None:
        """Most bytes at a time; None in records of schema 1 and 2."""
        return self.record.memory.process

    @property
    def layers(self) -> Mapping[str, tuple[int, int]]:
        """Parameter -> (kept, size); empty in records of schema 1 and 2."""
        return self.record.ticket.layers


@dataclass(frozen=True)
class Collection:
    """What a folder holds: its *runs*, and a sentence for each file that was put aside because it is *damaged*."""

    runs: tuple[Run, ...]
    damaged: tuple[str, ...]


@checked
def gather(folder: Path) -> Collection:
    """Every run that *folder* holds a record of, in a fixed order. A damaged record is named; the others go on.

    Raises StoreError when there is no such folder, it holds no record, or none that can be read.
    """
    if not folder.is_dir():
        raise StoreError(f"no folder at {folder}; give the folder that runs are kept in")

    records: dict[str, Record] = {}
    damaged: list[str] = []
    for path in paths(folder):
        try:
            record = read(path)
        except StoreError as reason:
            damaged.append(str(reason))
            continue
        # a JSON file of something else is passed over
        if record is None:
            continue

        # a run that is there twice counts once
        twin = records.setdefault(record.key, record)
        if difference := _difference(twin, record):
            damaged.append(
                f"{path} is of the same recipe as another record, {record.key[:16]}, and has {difference}; the first "
                f"one is shown, so compare the folders that they are from apart"
            )

    if not records and damaged:
        raise StoreError(damaged[0])
    if not records:
        raise StoreError(
            f"{folder} holds no record of a finished run; `instant-soup status {folder}` says what it holds"
        )
    return Collection(tuple(named(records.values())), tuple(damaged))


def _difference(record: Record, other: Record) -> str:
    """What sets *other* apart from another *record* of the same recipe, in words; nothing where both say the same."""
    shared = record.contents.keys() & other.contents.keys()
    if any(record.contents[part] != other.contents[part] for part in shared):
        return "other data or another model"
    if record.test != other.test:
        return f"another figure, {other.figure:g} for {record.figure:g}"
    return ""


def collect(folder: Path) -> list[Run]:
    """The runs of `gather`, for whoever does not ask what was put aside. Raises StoreError."""
    return list(gather(folder).runs)


def named(records: Iterable[Record]) -> list[Run]:
    """*records* with names for their tasks and methods that set apart what differs, in a fixed order."""
    all_records = list(records)
    # names are given to all at once, because they say how one record differs from the others
    names = names_of(all_records)
    runs = [Run.of(record, *names[record.key]) for record in all_records]
    return sorted(runs, key=_place)


def _place(run: Run) -> tuple[str, float, str, str, int]:
    """Where a run stands among others; a ticket before its controls."""
    return run.task, run.sparsity, run.method, run.control or "", run.seed
