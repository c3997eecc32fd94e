"""Runs as comparisons see them: records of any folder, under names that set apart what differs."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Self

from ..core.budget import Cost
from ..core.errors import StoreError
from ..core.printable import printable
from ..store.parts import AskedFor, Full
from ..store.record import Record, paths, read

LONGER = "longer"
UNTRAINED = "not fine-tuned"
"""What a run is called that was given as many steps as another method spent."""


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
        return cls(printable(task), printable(method), record)

    @property
    def key(self) -> str:
        """Of its recipe."""
        return self.record.key

    @property
    def family(self) -> str:
        """The method's bare name, which all its variants share."""
        return printable(self.record.recipe.method.name)

    @cached_property
    def knobs(self) -> str:
        """The method and its knobs, as one text."""
        return _frozen(_flat(self.record.recipe.method.facts()))

    @property
    def steps(self) -> int:
        """Optimiser steps in all, look-aheads included."""
        return sum(work.steps for stage in self.bill.values() for work in stage.values())

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
        if record is not None:
            records[record.key] = record

    if not records and damaged:
        raise StoreError(damaged[0])
    if not records:
        raise StoreError(
            f"{folder} holds no record of a finished run; `instant-soup status {folder}` says what it holds"
        )
    return Collection(tuple(named(records.values())), tuple(damaged))


def collect(folder: Path) -> list[Run]:
    """The runs of `gather`, for whoever does not ask what was put aside. Raises StoreError."""
    return list(gather(folder).runs)


def named(records: Iterable[Record]) -> list[Run]:
    """*records* with names for their tasks and methods that set apart what differs.

    The variant of a method that has most records on a task bears the method's plain name; the
    others say in which knobs they differ from it. A run of another budget than T says which; one
    that was given as many steps as another method spent is just longer.
    """
    by_task: dict[str, dict[str, list[Record]]] = defaultdict(lambda: defaultdict(list))
    for record in records:
        by_task[record.recipe.task.name][setting_of(record.recipe)].append(record)

    runs: list[Run] = []
    for task, settings in by_task.items():
        names = _apart(
            task,
            {
                key: (_setting(members[0].recipe), len(members))
                for key, members in settings.items()
            },
        )
        for key, members in settings.items():
            runs += _with_methods(members, names[key])
    return sorted(
        runs,
        key=lambda run: (run.task, run.sparsity, run.method, run.control or "", run.seed),
    )


def _with_methods(records: list[Record], task: str) -> Iterator[Run]:
    budgets = _worded_budgets(records)
    variants: dict[str, list[tuple[str, Record]]] = defaultdict(list)
    knobs: dict[str, dict[str, Any]] = {}
    for record in records:
        variant = {**_flat(record.recipe.method.facts()), "budget": budgets[record.key]}
        key = _frozen(variant)
        knobs[key] = variant
        variants[record.recipe.method.name].append((key, record))

    for name, members in variants.items():
        counts = Counter(key for key, _ in members)
        names = _apart(name, {key: (knobs[key], count) for key, count in counts.items()})
        for key, record in members:
            yield Run.of(record, task, names[key])


def setting_of(recipe: AskedFor) -> str:
    """What a run has in common with those that it can be compared with."""
    return _frozen(_setting(recipe))


def _setting(recipe: AskedFor) -> dict[str, Any]:
    """What makes runs comparable: the task and how it is trained, but for the seed."""
    return {
        **_flat(recipe.task.facts()),
        **_flat(recipe.data),
        **_flat(recipe.training.facts()),
    }


def _worded_budgets(records: list[Record]) -> dict[str, str]:
    """How each run's budget is worded, by its key: not at all where it is T."""
    longer = _as_long_as_another(records)
    own = _budget_of_its_own(records)
    swept = _swept(records)
    words = {}

    for record in records:
        budget = record.recipe.budget
        line = _line_of(record)
        if budget == 1:
            words[record.key] = ""
        elif not budget:
            words[record.key] = UNTRAINED
        elif line not in swept and (line in longer or line in own):
            words[record.key] = LONGER
        else:
            words[record.key] = f"budget={budget}"

    return words


def _line_of(record: Record) -> str:
    """What runs of one line have in common, whatever their budget."""
    recipe = record.recipe
    return _frozen(
        {**_flat(recipe.method.facts()), "sparsity of the line": recipe.sparsity}
    )


def _as_long_as_another(records: list[Record]) -> set[str]:
    """Lines of which a run has the very budget that another method's run of the same sparsity and seed spent."""
    spent: dict[tuple[float, int], set[tuple[float, str]]] = defaultdict(set)
    for record in records:
        recipe = record.recipe
        if not recipe.control:
            spent[recipe.sparsity, recipe.seed].add(
                (record.cost.as_budget, recipe.method.name)
            )

    lines = set()
    for record in records:
        recipe = record.recipe
        others = {
            budget
            for budget, name in spent[recipe.sparsity, recipe.seed]
            if name != recipe.method.name
        }
        if recipe.budget != 1 and recipe.budget in others:
            lines.add(_line_of(record))
    return lines


def _budget_of_its_own(records: list[Record]) -> set[str]:
    """Lines whose seeds have each a budget of its own, as only the cost of another method's run has."""
    seen: dict[str, dict[float, set[int]]] = defaultdict(lambda: defaultdict(set))
    for record in records:
        if record.recipe.budget != 1:
            seen[_line_of(record)][record.recipe.budget].add(record.recipe.seed)
    return {
        line
        for line, budgets in seen.items()
        if len(budgets) > 1 and all(len(seeds) == 1 for seeds in budgets.values())
    }


def _swept(records: list[Record]) -> set[str]:
    """Lines of which one seed has several budgets other than T."""
    seen: dict[tuple[str, int, str | None], set[float]] = defaultdict(set)
    for record in records:
        if record.recipe.budget != 1:
            seen[_line_of(record), record.recipe.seed, record.recipe.control].add(
                record.recipe.budget
            )
    return {line for (line, _, _), budgets in seen.items() if len(budgets) > 1}


def _apart(
    name: str, variants: Mapping[str, tuple[Mapping[str, Any], int]]
) -> dict[str, str]:
    """A name for each variant: the plain one for the most frequent, with what differs for the others.

    A budget other than T is always named, so that what was given more is never taken for the plain method.
    """
    plain = max(
        sorted(variants),
        key=lambda key: (not variants[key][0].get("budget"), variants[key][1]),
    )
    usual = variants[plain][0]
    names = {}

    for key, (knobs, _) in variants.items():
        differs = [
            _worded(knob, knobs[knob])
            for knob in {**usual, **knobs}
            if knob != "budget"
            and knob in usual
            and knob in knobs
            and knobs[knob] != usual[knob]
        ]
        differs += [knobs["budget"]] if knobs.get("budget") else []
        names[key] = f"{name} ({', '.join(differs)})" if differs else name

    return names


def _worded(knob: str, value: Any) -> str:
    return knob if value is True else f"{knob}={value}"


def _flat(fields: Mapping[str, Any]) -> dict[str, Any]:
    """*fields* that are set, those of inner tables by their own names. Only a flat line has a share that is flat."""
    flat: dict[str, Any] = {}
    for name, value in fields.items():
        if isinstance(value, Mapping):
            flat.update(_flat(value))
        elif value not in (None, []):
            flat[name] = value

    if flat.get("line") == "linear":
        flat.pop("flat", None)
    return flat


def _frozen(fields: Mapping[str, Any]) -> str:
    return json.dumps(fields, sort_keys=True)
