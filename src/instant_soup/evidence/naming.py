"""Naming: what tasks and methods are called where one folder holds several variants of them.

The variant of a method that has most records on a task, or the oldest of several that have, bears the method's plain
name; the others say in which knobs they differ from it. A run of another budget than T says which; one that was given
as many steps as another method spent is just longer.
"""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

from ..store.parts import AskedFor
from ..store.record import Record
from .places import Places

LONGER = "longer"
"""What the budget of a run is called that was given as many steps as another method spent."""
SHOWN = 3
"""How many knobs a title names where more than one more differ."""
UNTRAINED = "not fine-tuned"
"""What a budget of nothing is called."""

Fields = Mapping[str, Any]
"""Knobs, or fields of a recipe, by name."""


def names_of(records: Sequence[Record]) -> dict[str, tuple[str, str]]:
    """The names of the task and of the method of each record, by its key."""
    by_task: dict[str, list[Record]] = defaultdict(list)
    for record in records:
        by_task[record.recipe.task.name].append(record)

    places = Places.of(records)
    names: dict[str, tuple[str, str]] = {}
    for task, of_task in by_task.items():
        settings = {
            record.key: _setting(record.recipe, record.contents, places)
            for record in of_task
        }
        titles = _titles(task, settings, of_task)
        methods = _method_titles(of_task, settings)
        for record in of_task:
            names[record.key] = (titles[record.key], methods[record.key])

    return names


def _method_titles(
    records: Sequence[Record], settings: Mapping[str, Fields]
) -> dict[str, str]:
    """The name of each record's method among the records that it can be compared with, by the record's key."""
    # by settings and not by titles: two settings may bear one title, where one has a knob that the other lacks
    comparable: dict[str, list[Record]] = defaultdict(list)
    for record in records:
        comparable[_as_text(settings[record.key])].append(record)

    titles: dict[str, str] = {}
    for group in comparable.values():
        titles |= _methods(group)
    return titles


def setting_of(recipe: AskedFor, contents: Mapping[str, str], places: Places) -> str:
    """What a run has in common with those that it can be compared with, as one text.

    Args:
        contents: digests of its data and model, as far as they are known.
    """
    return _as_text(_setting(recipe, contents, places))


def knobs_of(recipe: AskedFor) -> str:
    """A method and its knobs, as one text."""
    return _as_text(_flat(recipe.method.facts()))


def _setting(recipe: AskedFor, contents: Mapping[str, str], places: Places) -> Fields:
    """What makes runs comparable: the task, its data and how it is trained, but for the seed."""
    return {
        **_flat(recipe.task.facts()),
        **_flat(recipe.data),
        **_flat(recipe.training.facts()),
        **places.fields(recipe, contents),
    }


def _methods(records: Sequence[Record]) -> dict[str, str]:
    """The name of each record's method, by the record's key."""
    budgets = _worded_budgets(records)
    by_method: dict[str, dict[str, Fields]] = defaultdict(dict)
    for record in records:
        knobs = _flat(record.recipe.method.facts())
        variant = {**knobs, "budget": budgets[record.key]}
        by_method[record.recipe.method.name][record.key] = variant

    names: dict[str, str] = {}
    for method, variants in by_method.items():
        names |= _titles(method, variants, records)
    return names


def _worded_budgets(records: Sequence[Record]) -> dict[str, str]:
    """How each run's budget is worded, by its key: not at all where it is T."""
    longer = _lines_as_long_as_another(records) | _lines_with_own_budgets(records)
    swept = _lines_with_swept_budgets(records)
    words: dict[str, str] = {}

    for record in records:
        budget = record.recipe.budget
        line = _line_of(record)
        if budget == 1:
            words[record.key] = ""
        elif not budget:
            words[record.key] = UNTRAINED
        elif budget > 1 and line in longer and line not in swept:
            words[record.key] = LONGER
        else:
            words[record.key] = f"budget={budget}"

    return words


def _line_of(record: Record) -> str:
    """What runs of one line have in common, whatever their budget, as one text."""
    recipe = record.recipe
    knobs = _flat(recipe.method.facts())
    return _as_text({**knobs, "sparsity of the line": recipe.sparsity})


def _lines_as_long_as_another(records: Sequence[Record]) -> set[str]:
    """Lines with a run whose budget is what another method's run of the same sparsity and seed spent."""
    spent: dict[tuple[float, int], set[tuple[float, str]]] = defaultdict(set)
    for record in records:
        recipe = record.recipe
        if not recipe.control:
            for budget in (record.cost.as_budget, record.cost.as_budget_by_passes):
                spent[recipe.sparsity, recipe.seed].add((budget, recipe.method.name))

    lines = set()
    for record in records:
        recipe = record.recipe
        for budget, method in spent[recipe.sparsity, recipe.seed]:
            of_another = method != recipe.method.name
            if of_another and recipe.budget != 1 and recipe.budget == budget:
                lines.add(_line_of(record))
    return lines


def _lines_with_own_budgets(records: Sequence[Record]) -> set[str]:
    """Lines in which each seed has a budget of its own, as only the costs of another method's runs are."""
    seeds: dict[str, dict[float, set[int]]] = defaultdict(lambda: defaultdict(set))
    for record in records:
        recipe = record.recipe
        if recipe.budget != 1:
            seeds[_line_of(record)][recipe.budget].add(recipe.seed)

    lines = set()
    for line, by_budget in seeds.items():
        # two seeds hardly ever cost the same to the last digit, so a budget that two share was chosen
        never_shared = all(len(group) == 1 for group in by_budget.values())
        if len(by_budget) > 1 and never_shared:
            lines.add(line)
    return lines


def _lines_with_swept_budgets(records: Sequence[Record]) -> set[str]:
    """Lines in which one seed has several budgets other than T."""
    budgets: dict[tuple[str, int, str | None], set[float]] = defaultdict(set)
    for record in records:
        recipe = record.recipe
        if recipe.budget != 1:
            budgets[_line_of(record), recipe.seed, recipe.control].add(recipe.budget)
    return {line for (line, _, _), several in budgets.items() if len(several) > 1}


def _titles(
    name: str, variants: Mapping[str, Fields], records: Sequence[Record]
) -> dict[str, str]:
    """A title for each of *variants*, by its key: *name* for the most frequent, and where the others differ from it.

    Of several that are as frequent, the one keeps *name* that was run first, as *records* say. A budget other than T is
    always named, so that what was given more is never taken for the plain method.
    """
    kind_of = {key: _as_text(fields) for key, fields in variants.items()}
    kinds = {kind_of[key]: fields for key, fields in variants.items()}
    counts = Counter(kind_of.values())

    first_run: dict[str, str] = {}
    for record in records:
        kind = kind_of.get(record.key)
        if kind is not None:
            first_run[kind] = min(record.made.at, first_run.get(kind, record.made.at))

    def oddness(kind: str) -> tuple[bool, int, str, str]:
        has_budget = bool(kinds[kind].get("budget"))
        # the kind itself, so that the order in which records are read changes nothing
        return has_budget, -counts[kind], first_run[kind], kind

    plainest = kinds[min(kinds, key=oddness)]

    full: dict[str, str] = {}
    short: dict[str, str] = {}
    for kind, fields in kinds.items():
        differences = _knobs_that_differ(fields, plainest)
        full[kind] = _title(name, differences, fields)
        short[kind] = _title(name, _shortened(differences), fields)

    # what a short title leaves out may be all that sets two kinds apart
    shared = Counter(short.values())
    titles = {}
    for key, kind in kind_of.items():
        unique = shared[short[kind]] == 1
        titles[key] = short[kind] if unique else full[kind]
    return titles


def _knobs_that_differ(fields: Fields, plainest: Fields) -> list[str]:
    """Where *fields* differ from the *plainest* ones, in words, the budget left out."""
    differences = []
    for knob, value in plainest.items():
        # a knob that one of the two lacks came with a later version, and sets nothing apart; one that is unset does
        if knob != "budget" and knob in fields and fields[knob] != value:
            differences.append(_worded(knob, fields[knob]))
    return differences


def _shortened(differences: Sequence[str]) -> list[str]:
    """The first of many *differences*, and how many more there are."""
    # "1 more" is no shorter than most knobs
    if len(differences) <= SHOWN + 1:
        return [*differences]
    return [*differences[:SHOWN], f"{len(differences) - SHOWN} more"]


def _title(name: str, differences: Sequence[str], fields: Fields) -> str:
    budget = fields.get("budget")
    parts = [*differences, budget] if budget else differences
    return f"{name} ({', '.join(parts)})" if parts else name


def _worded(knob: str, value: Any) -> str:
    if value is None:
        return f"no {knob}"
    return knob if value is True else f"{knob}={value}"


def _flat(fields: Fields) -> dict[str, Any]:
    """*fields* with those of inner tables by their own names; None is unset."""
    flat: dict[str, Any] = {}
    for name, value in fields.items():
        if isinstance(value, Mapping):
            flat.update(_flat(value))
        else:
            flat[name] = None if value == [] else value

    # a linear learning-rate line has no flat share, whatever its field says
    if flat.get("line") == "linear":
        flat.pop("flat", None)
    # a T that is given in steps has no epochs
    if flat.get("steps") is not None:
        flat.pop("epochs", None)
    return flat


def _as_text(fields: Fields) -> str:
    # fields that came later are missing in old records and unset in new ones, which is the same
    set_fields = {name: value for name, value in fields.items() if value is not None}
    return json.dumps(set_fields, sort_keys=True)
