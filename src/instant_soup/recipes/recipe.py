"""Recipe: everything that a run depends on. TOML in, content key out."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from functools import cached_property
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

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

from ..core.content import content_key, short
from ..core.errors import RecipeError, SoupError, UnknownName, nearest, unknown
from ..core.kinds import checked
from ..engine import Engine
from ..training.regime import Regime
from . import toml
from .known import DRAWN, REFERENCES, TASKS
from .later import nested, settled

if TYPE_CHECKING:
    from ..methods import Method

SCHEMA = 4
# of any number of steps, epochs, rounds or the like; what is larger was mistyped
MOST = 1e6


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class TaskSettings(_Strict):
    """What is learned, by which model."""

    name: Annotated[
        str,
        Field(
            description="a task that `instant-soup tasks` lists, or a name of your own"
        ),
    ]
    kind: Annotated[
        Literal["text", "images", "language"] | None,
        Field(description="of a task of your own: what its examples are"),
    ] = None
    model: Annotated[str, Field(description="a hub id, a folder, or 'packaged'")] = (
        "packaged"
    )
    pooler: Annotated[bool, Field(description="whether BERT's pooler may be pruned")] = (
        False
    )
    columns: Annotated[
        tuple[str, ...],
        Field(
            description="of a task of your own: one column of texts, or two, or one of images"
        ),
    ] = ()
    label: Annotated[
        str, Field(description="of a task of your own: the column of labels")
    ] = "label"
    metrics: Annotated[
        tuple[str, ...], Field(description="of a task of your own: what to report")
    ] = ()

    classes: Annotated[
        tuple[str, ...],
        Field(description="of images: the classes in words, for a zero-shot head"),
    ] = ()
    templates: Annotated[
        tuple[str, ...], Field(description="of images: prompts with a {} for the class")
    ] = ()

    @property
    def images(self) -> bool:
        """Whether the examples are images."""
        from ..data.images import ImageSpec

        spec = TASKS.get(self.name)
        return self.kind == "images" if spec is None else isinstance(spec, ImageSpec)

    @property
    def language(self) -> bool:
        """Whether the task is to say which token comes next."""
        from ..data.language import LanguageSpec

        spec = TASKS.get(self.name)
        return self.kind == "language" if spec is None else isinstance(spec, LanguageSpec)

    @model_validator(mode="after")
    def _known(self) -> Self:
        from ..models.text import PACKAGED

        if (
            self.name not in TASKS
            and not self.columns
            and not self.images
            and not self.language
        ):
            raise UnknownName(
                f"{unknown('task', self.name, TASKS)}. For a task of your own, "
                f"name the columns of its texts, or set kind to 'images' or 'language'"
            )
        if self.images and self.model == PACKAGED:
            raise RecipeError(
                "the packaged model reads text; set task.model to a CLIP or an image classifier"
            )
        for knob in ("classes", "templates"):
            if getattr(self, knob) and not self.images:
                raise RecipeError(
                    f"task.{knob} is set, and {self.name!r} is a task of text, which has none; remove it"
                )
        return self


class DataSettings(_Strict):
    """Where the examples come from."""

    folder: Annotated[
        str | None,
        Field(
            description="with train.parquet and validation.parquet; the hub if not set"
        ),
    ] = None
    limit: Annotated[
        int | None,
        Field(ge=2, le=10**12, description="how many training examples to use"),
    ] = None
    validation: Annotated[
        float,
        Field(gt=0, lt=1, description="share of train that is cut out for selection"),
    ] = 0.1
    max_length: Annotated[
        int, Field(ge=4, le=10**7, description="tokens at which a text is cut off")
    ] = 128
    test: Annotated[
        str | None,
        Field(
            description="of language: the text to be judged on, if it is not beside the one to learn"
        ),
    ] = None
    window: Annotated[
        int | None,
        Field(
            ge=2,
            le=10**9,
            description="of language: L, tokens of a window; 2,048 or the model's limit if not set",
        ),
    ] = None
    windows: Annotated[
        int | None,
        Field(
            ge=1, le=10**12, description="of language: how many windows to be judged on"
        ),
    ] = None


class RunSettings(_Strict):
    """Where the work is done. What comes of it does not depend on that."""

    engine: Annotated[Engine, Field(description="'here', 'processes' or 'ray'")] = "here"
    workers: Annotated[
        int | None,
        Field(
            ge=1,
            le=10**5,
            description="how many; as many as there is room for if not set",
        ),
    ] = None
    address: Annotated[
        str, Field(description="of the Ray cluster; 'local' starts one")
    ] = "auto"


class Recipe(_Strict):
    """One run: a method draws a ticket for a task, which is fine-tuned and judged.

    Two recipes with the same key ask for the same thing; every field counts, defaults included, but for *run*: where
    the work is done is in no key, record or sweep.
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
            le=MOST,
            allow_inf_nan=False,
            description="length of the fine-tune, in which some methods draw too, as a multiple of T; 0 for none",
        ),
    ] = 1.0
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
        knobs = dict(method)
        if not isinstance(name := knobs.pop("name", None), str) or name not in DRAWN:
            raise unknown("method", str(name), DRAWN)
        variant = DRAWN[name]
        preset = knobs.pop("preset", None)
        usual = {
            **variant.knobs,
            **variant.preset(None if preset is None else str(preset)),
        }
        knobs = {**usual, **nested(knobs, usual.get("protocols"))}

        for knob in knobs:
            if knob not in variant.knobs:
                raise unknown(f"knob of {name}", knob, variant.knobs)
            _refuse_size(f"method.{knob}", knobs[knob])

        checked = TypeAdapter(variant.make).validate_python({**variant.fixed, **knobs})
        return MappingProxyType(
            {"name": name, **{knob: getattr(checked, knob) for knob in variant.knobs}}
        )

    @field_serializer("method")
    def _as_dict(self, method: Mapping[str, Any]) -> dict[str, Any]:
        return dict(method)

    @model_validator(mode="after")
    def _sensible(self) -> Self:
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

        if not self.budget and (not self.task.language or self.make_method().trains):
            raise RecipeError(
                f"budget is 0, and {self.task.name!r} by {name} has something to train; set it above 0"
            )

        return self

    @classmethod
    @checked
    def parse(cls, fields: Mapping[str, Any], source: str = "recipe") -> Self:
        """A recipe from plain data. Raises RecipeError, naming the field and what it expects."""
        refuse_unknown(fields, source)
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

        if cell is not None and cell not in cells:
            raise RecipeError(
                f"{path}: {unknown('cell', cell, cells)}"
                if cells
                else f"{path} holds no cells; leave --cell out"
            )

        whole = toml.merged(fields, cells[cell]) if cell is not None else fields
        for change in changes:
            toml.change(whole, change)

        return cls.parse(whole, str(path))

    def make_method(self) -> Method:
        """The method with its knobs."""
        knobs = dict(self.method)
        return DRAWN[knobs.pop("name")](**knobs)

    @cached_property
    def key(self) -> str:
        """Content key: SHA-256 of every field and the schema number."""
        return content_key({"schema": SCHEMA, **settled(self.model_dump(mode="json"))})

    @property
    def short_key(self) -> str:
        """The key as files and people know it."""
        return short(self.key)

    @cached_property
    def task_key(self) -> str:
        """What trainings depend on whatever the method: SHA-256 of task, data, training and seed."""
        whole = settled(self.model_dump(mode="json"))
        fields = {name: whole[name] for name in ("task", "data", "training", "seed")}
        return content_key({"schema": SCHEMA, **fields})

    @cached_property
    def setting(self) -> str:
        """What a task is loaded by, whatever the method and the seed: SHA-256 of task, data and training."""
        whole = settled(self.model_dump(mode="json"))
        return content_key({name: whole[name] for name in ("task", "data", "training")})

    @cached_property
    def cost_key(self) -> str:
        """What the cost of a run depends on: SHA-256 of every field but the seed."""
        whole = settled(self.model_dump(mode="json"))
        return content_key(
            {name: value for name, value in whole.items() if name != "seed"}
        )

    @property
    def label(self) -> str:
        """A short name for people."""
        control = f" ({self.control} control)" if self.control else ""
        return f"{self.task.name} {self.method['name']}{control} {self.sparsity:.0%} seed {self.seed}"

    def toml(self) -> str:
        """The recipe as TOML, defaults spelled out."""
        return tomli_w.dumps(toml.without_none(self.model_dump(mode="json")))


def _refuse_size(place: str, value: Any) -> None:
    """Raise RecipeError for a knob that no machine could carry out."""
    if isinstance(value, Mapping):
        for name, inner in value.items():
            _refuse_size(f"{place}.{name}", inner)
    elif isinstance(value, (list, tuple)):
        for inner in value:
            _refuse_size(place, inner)
    elif isinstance(value, (int, float)) and not -MOST <= value <= MOST:
        raise RecipeError(f"{place} is {value!r}; expected a number up to {MOST:,.0f}")


def refuse_unknown(fields: Mapping[str, Any], source: str) -> None:
    """Raise RecipeError for a key that no recipe has, before anything is imported to look at the others."""
    for name, value in fields.items():
        if name not in Recipe.model_fields:
            raise RecipeError(
                f"{source}: unknown key {name!r}; {nearest(str(name), Recipe.model_fields)}"
            )
        inner = _fields(Recipe, [name])
        for key in value if inner and isinstance(value, Mapping) else ():
            if key not in inner:
                raise RecipeError(
                    f"{source}: unknown key '{name}.{key}'; {nearest(str(key), inner)}"
                )


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


def _fields(model: type[BaseModel], parents: list[str]) -> Collection[str]:
    for parent in parents:
        inner = model.model_fields[parent].annotation
        if not (isinstance(inner, type) and issubclass(inner, BaseModel)):
            return ()
        model = inner
    return model.model_fields
