"""Settings: the tables of a recipe that say what is learned, from which examples, and where the work is done."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from ..core.errors import RecipeError, UnknownName, unknown
from ..engine import Engine
from .known import TASKS
from .names import OWN

# of any number of steps, epochs, rounds or the like; what is larger was mistyped
LARGEST = 1e6


class Strict(BaseModel):
    """A table that is frozen once it is read, and has no other fields than these."""

    model_config = ConfigDict(frozen=True, extra="forbid")


_UNUSED: Mapping[str, Mapping[str, Mapping[str, str]]] = MappingProxyType(
    {
        "text": {
            "task": {"classes": "", "templates": ""},
            "data": {
                "test": ": put it beside the rows to train on, as train.csv and test.csv in one folder",
                "window": "; max_length says how much of a text is read",
                "windows": "",
            },
        },
        "images": {
            "task": {"pooler": "", "metrics": ""},
            "data": {
                "test": ": put them beside those to train on, as train/ and test/ in one folder",
                "window": "",
                "windows": "",
                "max_length": "",
            },
        },
        "language": {
            "task": {"classes": "", "templates": "", "pooler": "", "metrics": ""},
            "data": {"max_length": "; window says how many tokens are read at a time"},
        },
    }
)
"""What examples are -> table -> fields that have no effect on them, and what to do instead."""


def refuse_unused(name: str, examples: str, table: str, settings: BaseModel) -> None:
    """Raise RecipeError for a field of *table* that has no effect on *examples*, and would change the key all the same.

    Args:
        name: of the task.
        examples: what its examples are.
        settings: the table.
    """
    for field, instead in _UNUSED[examples].get(table, {}).items():
        if _is_changed(settings, field):
            raise RecipeError(
                f"{table}.{field} is {getattr(settings, field)!r}, and {name!r} is a task of {examples}, where it has "
                f"no effect; remove it{instead}"
            )


def _is_changed(settings: BaseModel, field: str) -> bool:
    """Whether *field* is other than its default; one that is spelled out is as good as left out."""
    default: object = type(settings).model_fields[field].default
    return bool(getattr(settings, field) != default)


class TaskSettings(Strict):
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
        # here and below: torch is imported only once a task is looked at
        from ..data.images import ImageSpec

        spec = TASKS.get(self.name)
        return self.kind == "images" if spec is None else isinstance(spec, ImageSpec)

    @property
    def language(self) -> bool:
        """Whether the task is to say which token comes next."""
        from ..data.known_texts import LanguageSpec

        spec = TASKS.get(self.name)
        return self.kind == "language" if spec is None else isinstance(spec, LanguageSpec)

    @model_validator(mode="after")
    def _known(self) -> Self:
        from ..models.text import PACKAGED

        described = self.columns or self.images or self.language
        if self.name not in TASKS and not described:
            raise UnknownName(f"{unknown('task', self.name, TASKS)}{OWN}")

        if self.images and self.model == PACKAGED:
            raise RecipeError(
                "the packaged model reads text; set task.model to a CLIP or an image classifier"
            )

        refuse_unused(self.name, self.examples, "task", self)
        self._refuse_what_a_known_task_has()
        return self

    def _refuse_what_a_known_task_has(self) -> None:
        """Raise RecipeError for what describes a task of one's own, and has no effect on one that is listed."""
        if self.name not in TASKS:
            return
        if self.kind is not None and self.kind != self.examples:
            raise RecipeError(
                f"task.kind is {self.kind!r}, and {self.name!r} is a task of {self.examples}; remove it, or give the "
                f"task a name of your own"
            )

        # the images of a known task may be in columns of other names
        for field in () if self.images else ("columns", "label", "metrics"):
            if _is_changed(self, field):
                raise RecipeError(
                    f"task.{field} is {getattr(self, field)!r}, and {self.name!r} is a known task, which has its own; "
                    f"remove it, or give the task a name of your own"
                )

    @property
    def examples(self) -> str:
        """What the examples are: text, images or language."""
        if self.images:
            return "images"
        return "language" if self.language else "text"


class DataSettings(Strict):
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


class RunSettings(Strict):
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


def refuse_size(place: str, value: Any) -> None:
    """Raise RecipeError for a knob that no machine could carry out."""
    if isinstance(value, Mapping):
        for name, inner in value.items():
            refuse_size(f"{place}.{name}", inner)
    elif isinstance(value, (list, tuple)):
        for inner in value:
            refuse_size(place, inner)
    elif isinstance(value, (int, float)) and not -LARGEST <= value <= LARGEST:
        raise RecipeError(f"{place} is {value!r}; expected a number up to {LARGEST:,.0f}")
