"""Records: what runs left behind, read from any folder, of any schema that was ever released."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from ..core.content import content_key
from ..core.errors import StoreError

SCHEMA = 4
TRANSFER_SCHEMA = 1  # of records of transfers
_HIDDEN = ("quarantine", "locks", "sweeps", "transfers")
_STAGES = ("draw", "train")
_RANGES = ("rate", "weight_decay", "label_smoothing", "subset")  # knobs of methods themselves up to schema 3
_NOTHING = {"steps": 0, "examples": 0, "passes": 0, "flops": 0}
Record = Mapping[str, Any]


@dataclass(frozen=True)
class Run:
    """One finished run, as comparisons see it.

    Attributes:
        key: of its recipe.
        task: the task's name, with what sets it apart where one folder holds the task twice.
        method: the method's name, with what sets it apart from its most frequent variant.
        sparsity: what was asked for; 0 for what prunes nothing.
        control: the kind of control that this is, if it is one.
        metric: the task's first figure, by which methods are compared.
        test: all figures on the test split.
        cost: the whole cost as a multiple of T, the reading of the test split left out.
        bill: stage ("draw", "train") -> purpose -> steps, examples, passes, flops.
        clock: stage -> purpose -> seconds; empty in records of schema 1 and 2.
        seconds: wall time of this run's own work; *reused_seconds* what the reused work took when it was done.
        memory: most bytes at a time; None in records of schema 1 and 2.
        layers: parameter -> (kept, size); empty in records of schema 1 and 2.
        record: all of it.
    """

    key: str
    task: str
    method: str
    sparsity: float
    seed: int
    control: str | None
    metric: str
    test: Mapping[str, float]
    validation: float
    cost: float
    bill: Mapping[str, Mapping[str, Mapping[str, int]]]
    clock: Mapping[str, Mapping[str, float]]
    seconds: float
    reused_seconds: float
    memory: int | None
    layers: Mapping[str, tuple[int, int]]
    record: Record

    @property
    def figure(self) -> float:
        """The figure by which methods are compared, on the test split."""
        return self.test[self.metric]

    @property
    def full(self) -> Mapping[str, int]:
        """T in steps, examples and passes."""
        found: Mapping[str, int] = self.record["cost"]["full_fine_tune"]
        return found

    @classmethod
    def of(cls, record: Record, task: str, method: str) -> Self:
        """What *record* says, under the names that set it apart."""
        recipe, cost, clock = record["recipe"], record["cost"], record["clock"]
        return cls(
            key=record["key"],
            task=task,
            method=method,
            sparsity=recipe["sparsity"],
            seed=recipe["seed"],
            control=recipe["control"],
            metric=record["metric"],
            test=record["test"],
            validation=record["validation"],
            cost=cost["multiple_of_T"],
            bill={stage: cost[stage] for stage in _STAGES},
            clock={stage: clock.get(stage, {}) for stage in _STAGES},
            seconds=sum(record["seconds"].values()),
            reused_seconds=clock.get("reused", 0.0),
            memory=record["memory"].get("process"),
            layers={name: (kept, size) for name, (kept, size) in record["ticket"]["layers"].items()},
            record=record,
        )


def collect(folder: Path) -> list[Run]:
    """Every run that *folder* holds a record of, in a fixed order.

    Raises StoreError when there is no such folder, a record cannot be read or there is none.
    """
    if not folder.is_dir():
        raise StoreError(f"no folder at {folder}; give the folder that runs are kept in")
    found = {record["key"]: record for record in map(read, paths(folder)) if record is not None}
    if not found:
        raise StoreError(
            f"{folder} holds no record of a finished run; `instant-soup status {folder}` says what it holds"
        )
    return named(found.values())


def paths(folder: Path) -> Iterator[Path]:
    """Files that may be records: those of a store, and JSON files copied out of one."""
    for path in sorted(folder.rglob("*.json")):
        inside = path.relative_to(folder).parts
        if not any(part in _HIDDEN or part.startswith(".") for part in inside) and path.stem not in _STAGES:
            yield path


def read(path: Path) -> Record | None:
    """The record in *path*, brought up to date; None when it is JSON of another kind. Raises StoreError."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as reason:
        raise StoreError(
            f"could not read {path} ({reason}); `instant-soup doctor` puts what is damaged aside"
        ) from reason
    if not isinstance(found, dict) or not {"schema", "recipe", "cost"} <= found.keys():
        return None
    return upgraded(found, str(path))


def upgraded(record: Mapping[str, Any], source: str) -> Record:
    """A record of any released schema as today's, with nothing where nothing was noted. Raises StoreError."""
    if not 1 <= (schema := record["schema"]) <= SCHEMA:
        raise StoreError(f"{source} is of schema {schema}; this version reads 1 to {SCHEMA}; update instant-soup")
    return {
        **record,
        "recipe": _upgraded_recipe(record["recipe"]),
        "cost": {"reused": _NOTHING, **record["cost"]},
        "ticket": {"layers": {}, **record["ticket"]},
        "clock": record.get("clock", {}),
        "memory": record.get("memory", {}),
    }


def _upgraded_recipe(recipe: Mapping[str, Any]) -> dict[str, Any]:
    """A recipe of any schema with what every run of that schema had in common: its line, its places of knobs."""
    method = dict(recipe["method"])
    ranges = {name: method.pop(name) for name in _RANGES if name in method}
    if ranges:
        method["protocols"] = {**ranges, "subsets": "random"}

    training = {"line": "linear", **recipe["training"]}
    return {"control": None, **recipe, "method": method, "training": training}


def seal(record: Mapping[str, Any]) -> dict[str, Any]:
    """*record* with a checksum of everything else in it."""
    return {**record, "checksum": _checksum(record)}


def sealed(record: Mapping[str, Any]) -> bool:
    """Whether the checksum of *record* is there and right."""
    return record.get("checksum") == _checksum(record)


def _checksum(facts: Mapping[str, Any]) -> str:
    facts = {name: value for name, value in facts.items() if name != "checksum"}
    return content_key(facts)


def named(records: Iterable[Record]) -> list[Run]:
    """*records* with names for their tasks and methods that set apart what differs.

    The variant of a method that has most records on a task bears the method's plain name; the
    others say in which knobs they differ from it.
    """
    by_task: dict[str, dict[str, list[Record]]] = defaultdict(lambda: defaultdict(list))
    for record in records:
        by_task[record["recipe"]["task"]["name"]][setting_of(record)].append(record)
    found: list[Run] = []
    for task, settings in by_task.items():
        names = _apart(task, {key: (_setting(of[0]), len(of)) for key, of in settings.items()})
        for key, of in settings.items():
            found += _with_methods(of, names[key])
    return sorted(found, key=lambda run: (run.task, run.sparsity, run.method, run.control or "", run.seed))


def _with_methods(records: list[Record], task: str) -> Iterator[Run]:
    several = _budgets(records)
    variants: dict[str, list[tuple[str, Record]]] = defaultdict(list)
    knobs = {}
    for record in records:
        name, its = record["recipe"]["method"]["name"], _variant(record, several)
        key = _frozen(its)
        knobs[key] = its
        variants[name].append((key, record))
    for name, members in variants.items():
        counts = Counter(key for key, _ in members)
        names = _apart(name, {key: (knobs[key], count) for key, count in counts.items()})
        for key, record in members:
            yield Run.of(record, task, names[key])


def setting_of(record: Record) -> str:
    """What the record's run has in common with those that it can be compared with."""
    return _frozen(_setting(record))


def _setting(record: Record) -> dict[str, Any]:
    """What makes runs comparable: the task and how it is trained, but for the seed."""
    recipe = record["recipe"]
    return {**_flat(recipe["task"]), **_flat(recipe["data"]), **_flat(recipe["training"])}


def _variant(record: Record, several: set[str]) -> dict[str, Any]:
    """Knobs and budget. A budget that is only one method's cost, and so differs from run to run, is just longer."""
    recipe = record["recipe"]
    budget = recipe["budget"]
    if budget != 1 and recipe["method"]["name"] not in several:
        budget = "as much as another method spent"
    return {**_flat(recipe["method"]), "budget": budget}


def _budgets(records: list[Record]) -> set[str]:
    """Methods that have several budgets other than 1 where all else is equal."""
    seen: dict[str, set[float]] = defaultdict(set)
    for record in records:
        recipe = record["recipe"]
        if recipe["budget"] != 1:
            seen[_frozen({**recipe, "budget": 1, "task": 0})].add(recipe["budget"])
    return {json.loads(key)["method"]["name"] for key, budgets in seen.items() if len(budgets) > 1}


def _apart(name: str, variants: Mapping[str, tuple[Mapping[str, Any], int]]) -> dict[str, str]:
    """A name for each variant: the plain one for the most frequent at budget 1, with what differs for the others."""
    plain = max(sorted(variants), key=lambda key: (variants[key][0].get("budget", 1) == 1, variants[key][1]))
    usual = variants[plain][0]
    found = {}
    for key, (knobs, _) in variants.items():
        differs = [
            _said(knob, knobs.get(knob))
            for knob in {**usual, **knobs}
            if knob in usual and knob in knobs and knobs[knob] != usual[knob]
        ]
        found[key] = f"{name} ({', '.join(differs)})" if differs else name
    return found


def _said(knob: str, value: Any) -> str:
    if knob == "budget" and isinstance(value, str):
        return "longer"
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
