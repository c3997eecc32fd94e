"""Record: what a run left behind, typed; one reader of every schema that was ever released, and one writer.

A file is read strictly. Whatever is not as a run writes it is refused with the name of the file and of the field.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Self, TypeVar

from pydantic import ConfigDict, Field, ValidationError, model_validator

from ..core import notebook
from ..core.errors import StoreError
from ..recipes.later import RANGES
from .parts import (
    Amount,
    AskedFor,
    Bill,
    Clock,
    Examples,
    Fitted,
    Made,
    Memory,
    Origin,
    Seconds,
    Section,
    StageBill,
    TicketFacts,
    TransferBill,
)
from .plain import read_sealed, seal, sealed, write_json

SCHEMA = 4
TRANSFER_SCHEMA = 1  # of records of transfers
SEALED = 3  # the schema from which on records carry a checksum

_HIDDEN = ("quarantine", "locks", "sweeps", "transfers")
_STAGES = ("draw", "train")
_BY_MAGNITUDE = {"score": "magnitude"}
_UNSTRUCTURED = {"pattern": "unstructured"}
_ONCE: Mapping[str, Mapping[str, Any]] = {
    "magnitude": _UNSTRUCTURED,
    "random": _UNSTRUCTURED,
    "snip": _UNSTRUCTURED,
    "grasp": _UNSTRUCTURED,
    "instant-soup": {
        **_BY_MAGNITUDE,
        "denoised_from": "last",
        "mask_start": 0.0,
        "spacing": "growing",
        "progress": "all",
        "inside": False,
    },
    "gradual": {**_BY_MAGNITUDE, "mask_start": 0.0},
    "early-bird": _BY_MAGNITUDE,
    "lth": _BY_MAGNITUDE,
    "lth-rewind": _BY_MAGNITUDE,
    "lottery-pools": _BY_MAGNITUDE,
}
"""What every run of a method did once, which is a knob since."""
_BEFORE: Mapping[str, Mapping[str, Any]] = {
    "data": {"test": None, "window": None, "windows": None},
    "training": {"line": "linear", "tail": None},
}
"""What every recipe asked for before the fields of these tables were there."""
_NOTHING = {"steps": 0, "examples": 0, "passes": 0, "flops": 0}

LOWER_IS_BETTER = frozenset({"perplexity"})
"""Figures that are better the lower they are; any other is better the higher it is."""


class Outcome(Section):
    """What records of runs and of transfers have in common.

    Attributes:
        version: the schema of the file.
        metric: the task's first figure, by which methods are compared.
        test: all figures on the test split; one that is not finite is of a run that went wrong.
        validation: the figure that selection goes by.
        contents: digests of the data and the model that it was made with, as far as they were files.
        checksum: of everything else in the file; empty where the record was not written yet.
    """

    model_config = ConfigDict(populate_by_name=True)

    version: Annotated[int, Field(alias="schema")]
    key: str
    recipe: AskedFor
    ticket: TicketFacts
    metric: str
    test: dict[str, float]
    validation: float
    memory: Memory
    examples: Examples
    made: Made
    contents: Annotated[dict[str, str], Field(default_factory=dict)]
    checksum: str = ""

    @model_validator(mode="after")
    def _has_its_figure(self) -> Self:
        if self.metric not in self.test:
            raise ValueError(
                f"metric is {self.metric!r}, and test has {', '.join(self.test) or 'no figures'}"
            )
        return self

    @property
    def figure(self) -> float:
        """The figure by which methods are compared, on the test split."""
        return self.test[self.metric]

    def written(self) -> dict[str, Any]:
        """It as plain data with a checksum, as files hold it."""
        return seal(self.facts())


class Record(Outcome):
    """One finished run.

    Attributes:
        judged: how a test split of language was judged: protocol, L, how many tokens of which text.
    """

    judged: Annotated[dict[str, Any], Field(default_factory=dict)]
    cost: Bill
    seconds: Seconds
    clock: Clock

    def __repr__(self) -> str:
        recipe = self.recipe
        control = f", {recipe.control} control" if recipe.control else ""
        return (
            f"Record({recipe.task.name}, {recipe.method.name}{control}, sparsity={recipe.sparsity:g}, "
            f"seed={recipe.seed}: {self.metric} {self.figure:.4f}, {self.cost.multiple_of_T:.2f} T)"
        )

    def _repr_html_(self) -> str:
        """What was run and what came of it, where a notebook shows it."""
        recipe = self.recipe
        figures = {f"test {name}": f"{value:.4f}" for name, value in self.test.items()}
        shown = {
            "task": recipe.task.name,
            "method": recipe.method.name,
            "sparsity": f"{self.ticket.sparsity:.4%}",
            "seed": str(recipe.seed),
            **figures,
            "validation": f"{self.validation:.4f}",
            "cost": f"{self.cost.multiple_of_T:.2f} T",
            "key": self.key,
        }

        return notebook.facts("Record", shown)


class TransferRecord(Outcome):
    """One ticket, fine-tuned and judged on another task."""

    source: Origin
    fit: Fitted
    map: Annotated[dict[str, str], Field(default_factory=dict)]
    cost: TransferBill
    seconds: Amount
    clock: dict[str, Amount]


# files


def paths(folder: Path) -> Iterator[Path]:
    """Files that may be records: those of a store, and JSON files copied out of one."""
    for path in sorted(folder.rglob("*.json")):
        inside = path.relative_to(folder).parts
        hidden = any(part in _HIDDEN or part.startswith(".") for part in inside)
        if not hidden and path.stem not in _STAGES:
            yield path


def write(path: Path, record: Outcome) -> None:
    """Write *record* with its checksum, in one piece or not at all. Raises StoreError."""
    write_json(path, record.written())


def read(path: Path) -> Record | None:
    """The record in *path*, brought up to date; None when it is JSON of another kind.

    Raises StoreError, which names the file, when it cannot be read, is of no schema that this version knows, does not
    match its checksum, or has a field that no run would write.
    """
    facts = _loaded(path)
    if not isinstance(facts, dict) or not {"schema", "recipe", "cost"} <= facts.keys():
        return None

    schema = facts["schema"]
    if type(schema) is not int or not 1 <= schema <= SCHEMA:
        raise StoreError(
            f"{path} is of schema {schema!r}; this version reads 1 to {SCHEMA}; update instant-soup"
        )
    if schema >= SEALED:
        _check_seal(path, facts)
    return _typed(Record, upgraded(facts), path)


def read_run(path: Path) -> Record:
    """The record in *path*, which must be one. Raises StoreError as `read` does."""
    record = read(path)
    if record is None:
        raise StoreError(f"{path} is no record of a run; {_cure(path)}")
    return record


def read_transfer(path: Path) -> TransferRecord:
    """The record of a transfer in *path*. Raises StoreError, which names the file."""
    facts = _loaded(path)
    if not isinstance(facts, dict) or "schema" not in facts:
        raise StoreError(
            f"could not read {path} (it is no record of a transfer); {_cure(path)}"
        )
    if facts["schema"] != TRANSFER_SCHEMA:
        raise StoreError(
            f"{path} is of schema {facts['schema']!r}; this version reads {TRANSFER_SCHEMA}; update instant-soup"
        )

    _check_seal(path, facts)
    return _typed(TransferRecord, _upgraded_transfer(facts), path)


def read_bill(path: Path) -> dict[str, Any]:
    """What a stage cost, as plain data. Raises StoreError, which names the file, where it is no bill of one."""
    bill = _typed(StageBill, read_sealed(path), path, "bill")
    return bill.model_dump(exclude={"checksum"})


def _loaded(path: Path) -> Any:
    if path.exists() and not path.is_file():
        raise StoreError(f"could not read {path} (it is no regular file); {_cure(path)}")
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as reason:
        raise StoreError(f"could not read {path} ({reason}); {_cure(path)}") from reason


def _check_seal(path: Path, facts: Mapping[str, Any]) -> None:
    try:
        whole = sealed(facts)
    except (ValueError, RecursionError):
        whole = False
    if not whole:
        raise StoreError(
            f"{path} does not match its checksum: it was changed after it was written; {_cure(path)}"
        )


_Kind = TypeVar("_Kind", bound=Section)


def _typed(
    kind: type[_Kind], facts: Mapping[str, Any], path: Path, what: str = "record"
) -> _Kind:
    try:
        return kind.model_validate(facts)
    except (ValidationError, RecursionError) as reason:
        raise StoreError(
            f"{path} is no {what} that a run would write: {_explained(reason)}; {_cure(path)}"
        ) from reason


def _explained(reason: ValidationError | RecursionError) -> str:
    if isinstance(reason, RecursionError):
        return "tables within tables without end"
    problem = reason.errors(include_url=False)[0]
    place = ".".join(str(step) for step in problem["loc"])
    return f"{place}: {problem['msg']}" if place else problem["msg"]


def _cure(path: Path) -> str:
    return f"`instant-soup doctor {path.parent.parent}` puts damage aside"


# older schemas


def upgraded(facts: Mapping[str, Any]) -> dict[str, Any]:
    """The facts of a record of any released schema as today's, with nothing where nothing was noted."""
    whole = dict(facts)
    whole["recipe"] = _with_recipe_of_today(facts["recipe"])
    whole["cost"] = _with({"reused": _NOTHING}, facts["cost"])
    whole["ticket"] = _with({"layers": {}}, facts.get("ticket"))
    return {"clock": {}, "memory": {}, **whole}


def _upgraded_transfer(facts: Mapping[str, Any]) -> dict[str, Any]:
    whole = dict(facts)
    whole["recipe"] = _with_recipe_of_today(facts.get("recipe"))
    source = facts.get("source")
    if isinstance(source, dict) and source.get("recipe"):
        whole["source"] = {**source, "recipe": _with_recipe_of_today(source["recipe"])}
    return whole


def _with_recipe_of_today(recipe: Any) -> Any:
    """A recipe of any schema with what every run of that schema had in common: its line, its places of knobs."""
    if not isinstance(recipe, dict) or not isinstance(recipe.get("method"), dict):
        return recipe  # whoever types it says what is wrong

    name = recipe["method"].get("name")
    once = _ONCE.get(name, {}) if isinstance(name, str) else {}
    method = {**once, **recipe["method"]}
    # up to schema 3 they were knobs of the method itself
    ranges = {name: method.pop(name) for name in RANGES if name in method}
    if ranges:
        method["protocols"] = {**ranges, "subsets": "random"}
    tables = {
        table: _with(fields, recipe.get(table)) for table, fields in _BEFORE.items()
    }
    return {"control": None, **recipe, **tables, "method": method}


def _with(defaults: Mapping[str, Any], fields: Any) -> Any:
    return {**defaults, **fields} if isinstance(fields, dict) else fields
