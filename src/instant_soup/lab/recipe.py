"""Recipe: everything that a run depends on. TOML in, content key out."""

from __future__ import annotations

import hashlib
import json
import tomllib
from collections.abc import Iterable, Mapping
from functools import cached_property
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any, Self

import tomli_w
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    TypeAdapter,
    ValidationError,
    field_serializer,
    field_validator,
    model_validator,
)

from ..core.errors import RecipeError, SoupError, nearest, unknown
from ..methods import METHODS, REFERENCES, Method
from ..tasks import TASKS
from ..training.regime import Regime

SCHEMA = 1
DRAWN = {**METHODS, **REFERENCES}


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class TaskSettings(_Strict):
    """What is learned, by which model."""

    name: Annotated[
        str, Field(description="a task that `instant-soup tasks` lists, or a name of your own with columns")
    ]
    model: Annotated[str, Field(description="a hub id, a folder, or 'packaged'")] = "packaged"
    pooler: Annotated[bool, Field(description="whether BERT's pooler may be pruned")] = False
    columns: Annotated[tuple[str, ...], Field(description="of a task of your own: one column of texts, or two")] = ()
    label: Annotated[str, Field(description="of a task of your own: the column of labels")] = "label"
    metrics: Annotated[tuple[str, ...], Field(description="of a task of your own: what to report")] = ()

    @model_validator(mode="after")
    def _known(self) -> Self:
        if self.name not in TASKS and not self.columns:
            raise unknown("task", self.name, TASKS)
        return self


class DataSettings(_Strict):
    """Where the examples come from."""

    folder: Annotated[
        str | None, Field(description="with train.parquet and validation.parquet; the hub if not set")
    ] = None
    limit: Annotated[int | None, Field(ge=2, description="how many training examples to use")] = None
    validation: Annotated[float, Field(gt=0, lt=1, description="share of train that is cut out for selection")] = 0.1
    max_length: Annotated[int, Field(ge=4, description="tokens at which a text is cut off")] = 128


class Recipe(_Strict):
    """One run: a method draws a ticket for a task, which is fine-tuned and judged.

    Two recipes with the same key ask for the same thing; every field counts, defaults included.
    """

    task: TaskSettings
    method: Annotated[Mapping[str, Any], Field(description="a name that `instant-soup methods` lists, and its knobs")]
    sparsity: Annotated[float, Field(ge=0, lt=1, description="share of the prunable weights that goes")]
    data: DataSettings = DataSettings()
    training: Regime = Regime()
    budget: Annotated[
        float, Field(gt=0, allow_inf_nan=False, description="length of the fine-tune, as a multiple of T")
    ] = 1.0
    seed: Annotated[int, Field(ge=0)] = 0

    @field_validator("method")
    @classmethod
    def _with_defaults(cls, method: Mapping[str, Any]) -> Mapping[str, Any]:
        """Every knob spelled out, so that the key covers the defaults."""
        knobs = dict(method)
        if not isinstance(name := knobs.pop("name", None), str) or name not in DRAWN:
            raise unknown("method", str(name), DRAWN)
        variant = DRAWN[name]
        for knob in knobs:
            if knob not in variant.knobs:
                raise unknown(f"knob of {name}", knob, variant.knobs)
        checked = TypeAdapter(variant.make).validate_python({**variant.fixed, **knobs})
        return MappingProxyType({"name": name, **{knob: getattr(checked, knob) for knob in variant.knobs}})

    @field_serializer("method")
    def _as_dict(self, method: Mapping[str, Any]) -> dict[str, Any]:
        return dict(method)

    @model_validator(mode="after")
    def _sensible(self) -> Self:
        dense = self.method["name"] in REFERENCES
        if dense != (self.sparsity == 0):
            expected = "0, because method 'dense' prunes nothing" if dense else "a share between 0 and 1, such as 0.7"
            raise RecipeError(f"sparsity is {self.sparsity:g}; expected {expected}")
        if self.budget != 1 and self.make_method().trains:
            raise RecipeError(
                f"budget is {self.budget:g} and {self.method['name']} trains its ticket inside T; "
                f"change training.epochs instead"
            )
        return self

    @classmethod
    def parse(cls, fields: Mapping[str, Any], source: str = "recipe") -> Self:
        """A recipe from plain data. Raises RecipeError, naming the field and what it expects."""
        try:
            return cls.model_validate(fields)
        except ValidationError as error:
            raise RecipeError(f"{source}: {_explain(error)}") from error
        except SoupError as error:
            raise RecipeError(f"{source}: {error}") from error

    @classmethod
    def read(cls, path: str | Path, changes: Iterable[str] = ()) -> Self:
        """A recipe from a TOML file, with *changes* such as ``"method.denoisers=8"`` on top.

        Raises RecipeError when the file is missing, is not TOML or asks for what does not exist.
        """
        path = Path(path)
        try:
            fields = tomllib.loads(path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            raise RecipeError(f"no recipe at {path}; check the path") from None
        except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
            raise RecipeError(f"{path} is not TOML ({error}); see recipes/demo.toml for a recipe that is") from error
        for change in changes:
            _change(fields, change)
        return cls.parse(fields, str(path))

    def make_method(self) -> Method:
        """The method with its knobs."""
        knobs = dict(self.method)
        return DRAWN[knobs.pop("name")](**knobs)

    @cached_property
    def key(self) -> str:
        """Content key: SHA-256 of every field and the schema number."""
        content = json.dumps({"schema": SCHEMA, **self.model_dump(mode="json")}, sort_keys=True)
        return hashlib.sha256(content.encode()).hexdigest()

    @property
    def label(self) -> str:
        """A short name for people."""
        return f"{self.task.name} {self.method['name']} {self.sparsity:.0%} seed {self.seed}"

    def toml(self) -> str:
        """The recipe as TOML, defaults spelled out."""
        return tomli_w.dumps(_without_none(self.model_dump(mode="json")))


def _change(fields: dict[str, Any], change: str) -> None:
    path, equals, text = change.partition("=")
    if not equals or not path.strip() or "\n" in change:
        raise RecipeError(f"--set {change!r} is not key=value; write for example --set method.denoisers=8")
    *tables, last = (part.strip() for part in path.split("."))
    for table in tables:
        fields = fields.setdefault(table, {})
        if not isinstance(fields, dict):
            raise RecipeError(f"--set {change!r}: {table!r} is no table; see `instant-soup plan` for the fields")
    try:
        fields[last] = tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        fields[last] = text.strip()  # a bare word is text


def _explain(error: ValidationError) -> str:
    """The first problem in one line, with the nearest known name where a field is unknown."""
    problem = error.errors()[0]
    place = ".".join(map(str, problem["loc"])) or "recipe"
    if problem["type"] == "extra_forbidden":
        *parents, name = map(str, problem["loc"])
        return f"unknown key {place!r}; {nearest(name, _fields(Recipe, parents))}"
    if problem["type"] == "missing":
        return f"{place!r} is missing; {'add a table' if place in ('task', 'method') else 'set it'}"
    reason = problem["msg"].removeprefix("Value error, ")
    return (
        reason
        if problem["type"] == "value_error"
        else f"{place} is {problem['input']!r}; {reason[0].lower()}{reason[1:]}"
    )


def _fields(model: type[BaseModel], parents: list[str]) -> Iterable[str]:
    for parent in parents:
        inner = model.model_fields[parent].annotation
        if not (isinstance(inner, type) and issubclass(inner, BaseModel)):
            return ()
        model = inner
    return model.model_fields


def _without_none(fields: dict[str, Any]) -> dict[str, Any]:
    """TOML has no null: a field that is not set is left out."""
    return {
        name: _without_none(value) if isinstance(value, dict) else value
        for name, value in fields.items()
        if value is not None
    }
