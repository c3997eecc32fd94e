"""Parts: what records are made of, each a type that is read strictly and never changes."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, Strict

from ..core.budget import Cost

_UNITS = frozenset(Cost.__dataclass_fields__)
_MOST = 2**63 - 1


def _work(value: Any) -> Any:
    """A cost from the table that stands for it. Raises ValueError, which pydantic turns into its own."""
    if isinstance(value, Cost):
        return value

    if not isinstance(value, dict) or not value.keys() <= _UNITS:
        raise ValueError(f"expected {', '.join(sorted(_UNITS))}")
    for unit, amount in value.items():
        if type(amount) is not int or not 0 <= amount <= _MOST:
            raise ValueError(f"{unit} is {amount!r}; expected a count")
    return Cost(**value)


Count = Annotated[int, Field(ge=0, le=_MOST)]
Positive = Annotated[int, Field(ge=1, le=_MOST)]
Amount = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Work = Annotated[Cost, BeforeValidator(_work)]
Kept = Annotated[tuple[Count, Count], Strict(False)]
"""Weights kept of a parameter, and all of them."""


class Section(BaseModel):
    """Part of a record: nothing in it changes. What a later version adds is kept, and not looked at."""

    model_config = ConfigDict(
        frozen=True, extra="allow", strict=True, protected_namespaces=()
    )

    def facts(self) -> dict[str, Any]:
        """It as plain data, to the letter what was read or given."""
        return self.model_dump(mode="json", by_alias=True, exclude_unset=True)


class Named(Section):
    """A task or a method by its name, with everything else that its recipe says of it."""

    name: str


class TrainingNote(Section):
    """How a run was trained; hyper-parameters are kept as they were noted."""

    line: str = "linear"
    tail: Annotated[float, Field(gt=0, lt=1)] | None = None


class AskedFor(Section):
    """The recipe of a run as it was noted then, with knobs that today's version may not have any more."""

    task: Named
    method: Named
    data: dict[str, Any]
    training: TrainingNote
    sparsity: Annotated[float, Field(ge=0, lt=1)]
    seed: Count
    budget: Annotated[float, Field(ge=0, allow_inf_nan=False)]
    control: str | None


class Base(Section):
    """The pre-trained model that a ticket belongs to."""

    name: str
    digest: str


class RoundNote(Section):
    """What the votes of one round of Instant Soup Pruning came to.

    Attributes:
        target: the sparsity after the round.
        lookaheads: how many voted.
        unanimous: the share of the weights on which all agree; *agreement* on which two agree, on average.
        moved: the share of the weights that the blend decides otherwise than a plain cut.
    """

    target: float
    lookaheads: Annotated[int | None, Field(alias="look-aheads")] = None
    unanimous: float | None = None
    agreement: float | None = None
    moved: float | None = None


class IngredientNote(Section):
    """One ingredient of a soup or of a pool, and what became of it.

    Attributes:
        validation: the figure that it was chosen by.
        barrier: of the loss, between the soup so far and it.
        taken, share, coefficient: whether, or with what weight, it went into the soup.
    """

    validation: float
    barrier: float | None = None
    taken: bool | None = None
    share: float | None = None
    coefficient: float | None = None


class Notes(Section):
    """What a method noted on its way; what only one method notes is among the other fields."""

    rounds: list[RoundNote] = []
    ingredients: list[IngredientNote] = []
    pool: list[IngredientNote] = []


class TicketFacts(Section):
    """What a record says of its ticket.

    Attributes:
        digest, mask: checksums of the ticket, and of its mask alone.
        kept, prunable: weights kept, and weights in scope.
        parameters: of the whole model.
        layers: parameter -> weights kept and weights in all; empty in schema 1 and 2.
    """

    digest: str
    mask: str
    base: Base
    kept: Count
    prunable: Positive
    parameters: Positive
    sparsity: float
    layers: dict[str, Kept]
    notes: Notes = Notes()


class Full(Section):
    """T: one full fine-tune, validation left out."""

    steps: Positive
    examples: Positive
    passes: Positive


class Bill(Section):
    """What a run cost.

    Attributes:
        multiple_of_T: everything but the reading of the test split, as a multiple of T.
        draw, train: purpose -> work, of drawing and of fine-tuning.
        reused: the part of it that another run had done already.
    """

    multiple_of_T: Amount  # noqa: N815 - the file says so
    total: Work
    full_fine_tune: Full
    draw: dict[str, Work]
    train: dict[str, Work]
    reused: Work

    @property
    def as_budget(self) -> float:
        """The budget at which a method that draws for nothing takes as many steps.

        Work without steps, such as scoring, counts by its passes. The validation and the test reading at the end are
        left out, for every run pays them.
        """
        full = self.full_fine_tune
        works = [*self.draw.values()]
        for purpose, work in self.train.items():
            if purpose not in ("select", "test"):
                works.append(work)

        steps = sum(
            work.steps or full.steps * work.passes / full.passes for work in works
        )
        return round(steps / full.steps, 4)

    @property
    def as_budget_by_passes(self) -> float:
        """What `as_budget` was once, by which older runs were given their budgets.

        Look-aheads on a part of the data meet other last batches, and so have other passes for the same steps.
        """
        validation = self.train.get("select", Cost()).passes / self.full_fine_tune.passes
        return round(self.multiple_of_T - validation, 2)

    @property
    def stages(self) -> dict[str, dict[str, Cost]]:
        """Stage -> purpose -> work."""
        return {"draw": self.draw, "train": self.train}


class Seconds(Section):
    """Wall time of each stage, of this run's own work."""

    draw: Amount
    train: Amount

    @property
    def total(self) -> float:
        """Of both."""
        return self.draw + self.train


class Clock(Section):
    """Purpose -> wall time, by stage; empty in schema 1 and 2. *reused* is what reused work took when it was done."""

    draw: dict[str, Amount] = {}
    train: dict[str, Amount] = {}
    reused: Amount = 0.0

    @property
    def stages(self) -> dict[str, dict[str, float]]:
        """Stage -> purpose -> seconds."""
        return {"draw": self.draw, "train": self.train}


class StageBill(Section):
    """What a cell notes of a stage that is done; *clock* and *reused_seconds* are not in those of version 0.1."""

    bill: dict[str, Work]
    reused: Work
    seconds: Amount
    clock: dict[str, Amount] = {}
    reused_seconds: Amount = 0.0


class Memory(Section):
    """Most bytes at a time, of the process and on the device; not noted in schema 1 and 2."""

    process: Count | None = None
    device: Count | None = None


class Examples(Section):
    """How many examples each split has."""

    train: Count
    validation: Count
    test: Count


class Made(Section):
    """When, with what and on what a record was made, and in which precision the model was computed."""

    at: str = ""
    python: str = ""
    packages: dict[str, str] = {}
    machine: str = ""
    device: str = ""
    threads: int | None = None
    precision: str = ""


class Origin(Section):
    """Where a transferred ticket comes from. The *recipe* is there where the store knew it."""

    ticket: str
    key: str | None
    sparsity: float
    method: dict[str, Any] = {}
    base: Base
    recipe: AskedFor | None

    @property
    def task(self) -> str | None:
        """The task that the ticket was drawn on, where that is known."""
        return self.recipe.task.name if self.recipe else None


class Fitted(Section):
    """How the ticket was fitted to another model: what became of each of its parameters, in *rows* of words."""

    same_base: bool
    counts: dict[str, Count]
    rows: list[list[str]]


class TransferBill(Section):
    """What training and judging a transferred ticket cost."""

    multiple_of_T: Amount  # noqa: N815 - the file says so
    total: Work
    full_fine_tune: Full
    train: dict[str, Work]
