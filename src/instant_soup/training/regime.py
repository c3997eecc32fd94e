"""Regime: how a task trains, apart from what it trains on."""

from __future__ import annotations

import re
from math import ceil
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from ..core.errors import KindError, KnobError, nearest
from ..core.kinds import checked_class

Precision = Literal["auto", "float32", "bfloat16"]
Line = Literal["linear", "flat"]


class PlainErrors(type(BaseModel)):  # type: ignore[misc]
    """Has whoever makes a model by hand be told of a wrong field in one sentence; recipes say it in their own words."""

    def __call__(self, *args: Any, **fields: Any) -> Any:
        if args:
            raise KindError(f"{self.__name__} takes its fields by name, as in rate=1e-4")
        try:
            return super().__call__(**fields)
        except ValidationError as reason:
            first = reason.errors()[0]
            name = ".".join(str(part) for part in first["loc"])
            if first["type"] == "extra_forbidden":
                known = nearest(name, self.model_fields)
                raise KnobError(
                    f"{self.__name__} has no field {name!r}; {known}"
                ) from None
            if first["type"] == "missing":
                raise KnobError(f"{self.__name__}: {name} is missing; give it") from None
            if first["type"] == "value_error":
                # one of ours, which says what was found
                raise KnobError(f"{self.__name__}: {first['ctx']['error']}") from None
            raise KnobError(
                f"{self.__name__}: {name} is {first['input']!r}; {first['msg'].lower()}"
            ) from None


@checked_class
class Regime(BaseModel, metaclass=PlainErrors):
    """Hyper-parameters of one full fine-tune, whose length in steps is the budget T.

    AdamW with decoupled weight decay on every trained parameter, a learning rate that falls in a
    straight line to zero over the steps really taken, after an optional warm-up. With the line
    ``"flat"`` it falls only after a share *flat* of them.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    rate: Annotated[
        float,
        Field(gt=0, le=1e6, allow_inf_nan=False, description="initial learning rate"),
    ] = 5e-5
    weight_decay: Annotated[float, Field(ge=0, le=1e6, allow_inf_nan=False)] = 0.0
    batch: Annotated[
        int, Field(ge=1, le=10**9, description="examples per optimiser step")
    ] = 32
    accumulation: Annotated[
        int,
        Field(ge=1, le=10**6, description="micro-batches that one step is split into"),
    ] = 1
    epochs: Annotated[
        float,
        Field(
            gt=0,
            le=1e6,
            allow_inf_nan=False,
            description="passes over the training split",
        ),
    ] = 3.0
    steps: Annotated[
        int | None, Field(ge=1, le=10**12, description="T in steps, in place of epochs")
    ] = None
    warmup: Annotated[
        float, Field(ge=0, lt=1, description="share of T in which the rate rises")
    ] = 0.0
    line: Annotated[
        Line, Field(description="'linear' falls from the start, 'flat' after a while")
    ] = "linear"
    flat: Annotated[
        float, Field(ge=0, lt=1, description="share of T before a 'flat' line falls")
    ] = 0.5
    tail: Annotated[
        float | None,
        Field(
            gt=0,
            lt=1,
            description="share of T at whose end the weights are replaced by their mean over it",
        ),
    ] = None
    clip: Annotated[
        float,
        Field(
            ge=0,
            le=1e12,
            allow_inf_nan=False,
            description="largest gradient norm; 0 for any",
        ),
    ] = 1.0
    precision: Precision = "auto"
    device: Annotated[
        str,
        Field(
            description="'auto', or a device of torch such as 'cpu', 'cuda' or 'cuda:1'; in no key"
        ),
    ] = "auto"

    @field_validator("device")
    @classmethod
    def _named_as_torch_does(cls, device: str) -> str:
        if not re.fullmatch(r"auto|cpu|[a-z]+(:\d{1,3})?", device) or device == "gpu":
            raise KnobError(
                f"training.device is {device!r}; expected auto, cpu, or a device as torch names it, such as cuda, "
                f"cuda:1 or mps"
            )
        return device

    def asked(self) -> dict[str, Any]:
        """What a training depends on, as plain data: no device, and of later fields those that are set."""
        later = {"tail"} if self.tail is None else set()
        return self.model_dump(mode="json", exclude={"device", *later})

    def horizon(self, examples: int) -> int:
        """T: the steps of one full fine-tune on so many *examples*."""
        return self.steps or max(1, round(self.epochs * ceil(examples / self.batch)))

    def flat_steps(self, horizon: int) -> int:
        """How many steps of a line of *horizon* pass before it falls."""
        return round(self.flat * horizon) if self.line == "flat" else 0
