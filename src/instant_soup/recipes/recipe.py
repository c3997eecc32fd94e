"""Recipe: everything that a run depends on. TOML in, content key out."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from functools import cache, cached_property
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Annotated, Any, Self

import tomli_w
from pydantic import (
    BaseModel,
    Field,
    TypeAdapter,
    ValidationError,
    field_serializer,
    field_validator,
    model_validator,
)

from ..core.content import content_key, short
from ..core.errors import RecipeError, SoupError, nearest, share_example, unknown
from ..core.kinds import checked, checked_class
from ..training.regime import PlainErrors, Regime
from . import toml
from .known import DRAWN, REFERENCES
from .later import nested, settled
from .names import refuse_unknown_names
from .settings import (
    LARGEST,
    DataSettings,
    RunSettings,
    Strict,
    TaskSettings,
    refuse_size,
    refuse_unused,
)

if TYPE_CHECKING:
    from ..methods import Method

SCHEMA = 4
# where the work is done: in no key, no record and no recipe that is kept
_WHERE = {"training": {"device"}}
# fields that say what they are by themselves: neither a task nor a method has to be known
_PLAIN = ("sparsity", "budget", "seed", "data", "training", "run")


@checked_class
class Recipe(Strict, metaclass=PlainErrors):
    """One run: a method draws a ticket for a task, which is fine-tuned and judged.

    Two recipes with the same key ask for the same thing; every field counts, defaults included, but for *run* and
    *training.device*: where the work is done is in no key and no record.
    """

    task: TaskSettings
    method: Annotated[
        Mapping[str, Any],
        Field(description="a name that `instant-soup methods` lists, and its knobs"),
    ]
    sparsity: Annotated[
        float, Field(ge=0, lt=1, description="share of the prunable weights that goes")
    ]
    data: DataSettings = DataSettings()
    training: Regime = Regime()
    budget: Annotated[
        float,
        Field(
            ge=0,
            le=LARGEST,
            allow_inf_nan=False,
            description="length of the fine-tune, in which some methods draw too, as a multiple of T; 0 for none",
        ),
    ] = 1.0
    # TOML knows integers of 64 bits, signed
    seed: Annotated[int, Field(ge=0, lt=2**63)] = 0
    control: Annotated[
        str | None,
        Field(
            description="judge a control of the ticket instead: 'layers' or 'shuffled'"
        ),
    ] = None
    run: Annotated[RunSettings, Field(exclude=True)] = RunSettings()

    @field_validator("control")
    @classmethod
    def _known_control(cls, control: str | None) -> str | None:
        from ..methods import CONTROLS

        if control is not None and control not in CONTROLS:
            raise unknown("control", control, CONTROLS)
        return control

    @field_validator("method")
    @classmethod
    def _with_defaults(cls, method: Mapping[str, Any]) -> Mapping[str, Any]:
        """Every knob spelled out, so that the key covers the defaults."""
        written = dict(method)
        name = written.pop("name", None)
        if not isinstance(name, str) or name not in DRAWN:
            raise unknown("method", str(name), DRAWN)

        variant = DRAWN[name]
        # a preset is spelled out and leaves no trace: two ways to write one recipe have one key
        preset = written.pop("preset", None)
        preset_name = None if preset is None else str(preset)
        defaults = variant.knobs | variant.preset(preset_name)
        knobs = defaults | nested(written, defaults.get("protocols"))

        for knob in knobs:
            if knob not in variant.knobs:
                raise unknown(f"knob of {name}", knob, variant.knobs)
            refuse_size(f"method.{knob}", knobs[knob])

        # by the method itself, which turns what TOML can say into what it works with
        checked = TypeAdapter(variant.make).validate_python({**variant.fixed, **knobs})
        spelled_out = {knob: getattr(checked, knob) for knob in variant.knobs}
        return MappingProxyType({"name": name, **spelled_out})

    @field_serializer("method")
    def _as_dict(self, method: Mapping[str, Any]) -> dict[str, Any]:
        return dict(method)

    @model_validator(mode="after")
    def _sensible(self) -> Self:
        refuse_unused(self.task.name, self.task.examples, "data", self.data)

        name = self.method["name"]
        if self.sparsity and name in REFERENCES:
            raise RecipeError(
                f"sparsity is {self.sparsity:g}; expected 0, because method {name!r} prunes nothing"
            )

        if not self.sparsity and not DRAWN[name].dense:
            raise RecipeError(
                "sparsity is 0; expected a share between 0 and 1, such as 0.7"
            )

        if self.control and not self.sparsity:
            raise RecipeError(
                f"control is {self.control!r} and nothing is pruned; set a sparsity or remove it"
            )

        device = self.training.device
        if self.run.engine == "ray" and ":" in device:
            raise RecipeError(
                f"training.device is {device!r}, and Ray gives each worker its devices; leave it out"
            )

        # a classifier's head is new and has to be trained; a language model can be judged as it was drawn
        trains = not self.task.language or self.make_method().trains
        if not self.budget and trains:
            raise RecipeError(
                f"budget is 0, and {self.task.name!r} by {name} has something to train; set it above 0"
            )

        return self

    @classmethod
    @checked
    def parse(cls, fields: Mapping[str, Any], source: str = "recipe") -> Self:
        """A recipe from plain data. Raises RecipeError, naming the field and what it expects."""
        refuse_unknown(fields, source)
        refuse_out_of_range(fields, source)
        refuse_unknown_names(fields, source)
        try:
            return cls.model_validate(fields)
        except ValidationError as error:
            raise RecipeError(f"{source}: {_explain(error)}") from error
        except SoupError as error:
            raise RecipeError(f"{source}: {error}") from error

    @classmethod
    @checked
    def read(
        cls, path: str | Path, changes: Iterable[str] = (), *, cell: str | None = None
    ) -> Self:
        """A recipe from a TOML file, with *changes* such as ``"method.denoisers=8"`` on top.

        A file may hold several: what they share, and a table ``[cells.NAME]`` for what is each
        one's own; then *cell* says which.

        Raises RecipeError when the file is missing, is not TOML or asks for what does not exist.
        """
        fields = toml.read(Path(path))
        cells = toml.cells(fields, str(path))
        if "sweep" in fields:
            raise RecipeError(
                f"{path} asks for many runs; start them with `instant-soup sweep {path}`"
            )
        if cell is None and cells:
            raise RecipeError(
                f"{path} holds several recipes; choose one with --cell: {', '.join(cells)}"
            )

        if cell is not None:
            if not cells:
                raise RecipeError(f"{path} holds no cells; leave --cell out")
            if cell not in cells:
                raise RecipeError(f"{path}: {unknown('cell', cell, cells)}")
            fields = toml.merged(fields, cells[cell])

        # last, because what is typed counts more than what is written
        for change in changes:
            toml.change(fields, change)
        return cls.parse(fields, str(path))

    def make_method(self) -> Method:
        """The method with its knobs."""
        knobs = dict(self.method)
        return DRAWN[knobs.pop("name")](**knobs)

    @cached_property
    def key(self) -> str:
        """Content key: SHA-256 of every field and the schema number."""
        return content_key({"schema": SCHEMA, **self.settled})

    def asked(self) -> dict[str, Any]:
        """What is asked for, as plain data; where the work is done is left out."""
        return self.model_dump(mode="json", exclude=_WHERE)

    @property
    def settled(self) -> dict[str, Any]:
        """What keys are made of: what is asked for, without later fields that have their defaults."""
        return settled(self.asked())

    @property
    def short_key(self) -> str:
        """The key as files and people know it."""
        return short(self.key)

    @cached_property
    def task_key(self) -> str:
        """What trainings depend on whatever the method: SHA-256 of task, data, training and seed."""
        whole = self.settled
        tables = ("task", "data", "training", "seed")
        fields = {name: whole[name] for name in tables}
        return content_key({"schema": SCHEMA, **fields})

    @cached_property
    def setting(self) -> str:
        """What a task is loaded by, whatever the method and the seed: SHA-256 of task, data and training."""
        whole = self.settled
        tables = ("task", "data", "training")
        return content_key({name: whole[name] for name in tables})

    @cached_property
    def cost_key(self) -> str:
        """What the cost of a run depends on: SHA-256 of every field but the seed."""
        fields = self.settled
        del fields["seed"]
        return content_key(fields)

    @property
    def label(self) -> str:
        """A short name for people."""
        control = f" ({self.control} control)" if self.control else ""
        return f"{self.task.name} {self.method['name']}{control} {self.sparsity:.0%} seed {self.seed}"

    def toml(self) -> str:
        """The recipe as TOML, defaults spelled out."""
        fields = self.asked()
        return tomli_w.dumps(toml.without_none(fields))


def refuse_unknown(fields: Mapping[str, Any], source: str) -> None:
    """Raise RecipeError for a key that no recipe has, before anything is imported to look at the others."""
    # pydantic would say the same, but only after it has looked at the task, for which torch is imported
    for name, value in fields.items():
        if name not in Recipe.model_fields:
            raise RecipeError(
                f"{source}: unknown key {name!r}; {nearest(str(name), Recipe.model_fields)}"
            )

        inner = _fields(Recipe, [name])
        # what is no table at all is refused when the recipe is read
        if not inner or not isinstance(value, Mapping):
            continue
        for key in value:
            if key not in inner:
                raise RecipeError(
                    f"{source}: unknown key '{name}.{key}'; {nearest(str(key), inner)}"
                )


def refuse_out_of_range(fields: Mapping[str, Any], source: str) -> None:
    """Raise RecipeError for a value that no recipe can have, before anything is imported to look at task and method."""
    for name in _PLAIN:
        if name not in fields:
            continue
        try:
            _checker(name).validate_python(fields[name])
        except ValidationError as error:
            raise RecipeError(f"{source}: {_explain(error, name)}") from error


# made once: it takes longer than what it does
@cache
def _checker(name: str) -> TypeAdapter[Any]:
    """What checks the values of the field *name*."""
    field = Recipe.model_fields[name]
    kind: Any = field.annotation
    # Annotated takes no kind by itself, and a table has no bounds of its own
    if field.metadata:
        kind = Annotated[(kind, *field.metadata)]
    return TypeAdapter(kind)


def _explain(error: ValidationError, *table: str) -> str:
    """The first problem in one line, with the nearest known name where a field is unknown.

    Args:
        table: the field that was looked at by itself, if the whole recipe was not.
    """
    problem = error.errors()[0]
    path = [*table, *map(str, problem["loc"])]
    place = ".".join(path) or "recipe"

    if problem["type"] == "extra_forbidden":
        *parents, name = path
        return f"unknown key {place!r}; {nearest(name, _fields(Recipe, parents))}"

    if problem["type"] == "missing":
        advice = "add a table" if place in ("task", "method") else "set it"
        return f"{place!r} is missing; {advice}"

    # the prefix is pydantic's, before the text of any ValueError
    reason = problem["msg"].removeprefix("Value error, ")
    # such an error is one of ours, and says what was found
    if problem["type"] == "value_error":
        return reason
    if place == "sparsity":
        example = share_example(problem["input"])
        return f"sparsity is {problem['input']!r}; expected a share of the weights, 0 <= sparsity < 1, {example}"
    return f"{place} is {problem['input']!r}; {reason[0].lower()}{reason[1:]}"


def _fields(model: type[BaseModel], parents: list[str]) -> Collection[str]:
    """The fields of the table that *parents* lead to from *model*; none where there is no table of fixed fields."""
    for parent in parents:
        inner = model.model_fields[parent].annotation
        if not (isinstance(inner, type) and issubclass(inner, BaseModel)):
            return ()
        model = inner
    return model.model_fields
