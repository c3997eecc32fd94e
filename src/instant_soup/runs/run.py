"""Run: draw, fine-tune, evaluate, record. A stage that is done is not done again."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from typing import Any

from ..core.budget import Cost, Meter, Pulse
from ..core.prune import survivors
from ..core.task import Bookmark
from ..core.ticket import Ticket
from ..core.weights import Weights
from ..methods import control
from ..recipes.recipe import DRAWN, Recipe
from ..store import index, record
from ..store.desk import Desk
from ..store.record import SCHEMA, Record
from ..store.store import Cell, Store
from ..tasks import CourseTask, image, language, text
from ..training import ranks
from ..training.learner import ModuleLearner
from .environment import environment, forget_peaks, peaks
from .lookaheads import spread
from .sizes import Sizes

Watch = Callable[[str, Pulse], None]
"""Told of each piece of work: the stage, and what was done."""


@dataclass(frozen=True)
class Result:
    """How good a ticket is.

    Attributes:
        test: the task's figures on the test split, read once.
        validation: the figure that selection goes by, on the validation split.
        cost: what fine-tuning and validating it cost, the test reading left out.
        weights: the fine-tuned weights, zero where the ticket prunes.
    """

    test: Mapping[str, float]
    validation: float
    cost: Cost
    weights: Weights


def evaluate(ticket: Ticket, task: CourseTask, *, budget: float = 1.0, meter: Meter | None = None) -> Result:
    """Fine-tune *ticket* under its mask for *budget* times T, unless it is ready, then read the test split once.

    Raises TicketError when the ticket belongs to another model.
    """
    meter = meter or Meter()
    with ranks.lost():
        return judge(_train(ticket, task, budget, meter), meter)


def run(
    recipe: Recipe,
    store: Store,
    begin: Callable[[CourseTask], Watch] | None = None,
    load: Callable[[Recipe], CourseTask] | None = None,
) -> Record:
    """Do what *recipe* asks for and return its record; read it back if it is there already.

    Where another process is at it, this one waits and reads what comes of it. Ranks that were launched together do it
    together.

    *begin* is called with the task once it is loaded, and gives what is told of the work. *load*
    gives the task: by default `build`.
    """
    cell = (desk := _desk(recipe, store)).cell
    if desk.there(cell.record):
        return record.read_run(cell.record)
    forget_peaks()
    task = (load or build)(recipe)
    with desk.hold():
        if not desk.there(cell.record):
            desk.write(cell.tidy)
            _carry_out(recipe, store, task, begin(task) if begin else None)
            desk.write(cell.tidy)
        return record.read_run(cell.record)


def _desk(recipe: Recipe, store: Store) -> Desk:
    return Desk(store.cell(recipe), ranks.team())


def _carry_out(recipe: Recipe, store: Store, task: CourseTask, watch: Watch | None) -> None:
    desk = _desk(recipe, store)
    ticket = draw(recipe, task, store, watch)
    meter = meter_of("fine-tune", watch)
    world = replace(task, shelf=desk.shelf(store.shelf(recipe))) if _shares(recipe) else task
    learner, spent = tuned(ticket, recipe, world, desk, meter)
    result = judge(learner, meter)
    outcome = _record(recipe, task, ticket, result, desk.cell.finished("draw"), spent, meter)
    desk.write(lambda: _put(outcome, desk.cell, store))


def _put(outcome: Record, cell: Cell, store: Store) -> None:
    record.write(cell.record, outcome)
    index.add(store, record.read_run(cell.record))


def _shares(recipe: Recipe) -> bool:
    return DRAWN[recipe.method["name"]].shares and not recipe.control


def build(recipe: Recipe) -> CourseTask:
    """The task that *recipe* names, loaded and encoded. Raises SparsityError where no weight would be left."""
    task, data = recipe.task, recipe.data
    common: dict[str, Any] = {
        "model": task.model,
        "data": data.folder,
        "regime": recipe.training,
        "seed": recipe.seed,
        "limit": data.limit,
        "validation": data.validation,
    }
    if task.language:
        built = language(task.name, **common, test=data.test, window=data.window, windows=data.windows)
    elif task.images:
        built = image(
            task.name,
            **common,
            classes=task.classes,
            templates=task.templates,
            image_column=task.columns[0] if task.columns else None,
            label_column=task.label if task.label != "label" else None,  # what is spelled out changes nothing
        )
    else:
        built = text(
            task.name,
            **common,
            max_length=data.max_length,
            pooler=task.pooler,
            columns=task.columns,
            label=task.label,
            metrics=task.metrics,
        )
    check(recipe, built)
    return built


def check(recipe: Recipe, task: CourseTask) -> None:
    """Refuse what cannot be reached before anything is trained. Raises SparsityError."""
    survivors(recipe.sparsity, task.course.scope.size)


def draw(recipe: Recipe, task: CourseTask, store: Store, watch: Watch | None = None) -> Ticket:
    """The ticket of *recipe*: from *store* if it was drawn already, else drawn and put there."""
    desk = _desk(recipe, store)
    with desk.hold():
        if desk.there(desk.cell.ticket):
            desk.bookmark("draw").clear()  # in case it was killed just then
            return desk.cell.load_ticket()
        if recipe.control:
            return _controlled(recipe, recipe.control, task, store, watch)
        return _drawn(recipe, task, store, watch)


def _drawn(recipe: Recipe, task: CourseTask, store: Store, watch: Watch | None) -> Ticket:
    desk = _desk(recipe, store)
    meter, bookmark = meter_of("draw", watch), desk.bookmark("draw")
    with spread(recipe, task, build) as shared:
        world = replace(shared, bookmark=bookmark, shelf=desk.shelf(store.shelf(recipe)))
        if recipe.make_method().trains:
            world = world.stretched(recipe.budget)
        ticket = recipe.make_method().draw(world, recipe.sparsity, meter).stamped(recipe.key)
    desk.keep_ticket(recipe, ticket, {**meter.dump(), "seconds": bookmark.seconds})
    bookmark.clear()
    return ticket


def _controlled(recipe: Recipe, kind: str, task: CourseTask, store: Store, watch: Watch | None) -> Ticket:
    """A control of the ticket that *recipe* asks for otherwise, drawn first where it is not there."""
    plain = {**recipe.model_dump(exclude_unset=True), "control": None, "run": recipe.run}
    drawn = Recipe.parse(plain)  # a copy would keep the key
    ticket = control(draw(drawn, task, store, watch), task, kind).stamped(recipe.key)
    _desk(recipe, store).keep_ticket(recipe, ticket, store.cell(drawn).finished("draw"))
    return ticket


def tuned(
    ticket: Ticket, recipe: Recipe, task: CourseTask, desk: Desk, meter: Meter
) -> tuple[ModuleLearner, dict[str, Any]]:
    """A learner at the fine-tuned weights, and what getting there cost."""
    cell = desk.cell
    if desk.there(cell.model):
        learner = _place(ticket, task, meter)
        learner.restore(cell.load_model())
        spent = cell.finished("train")
        meter.load(spent)
        desk.bookmark("train").clear()
        return learner, spent
    bookmark = desk.bookmark("train")
    learner = _train(ticket, task, recipe.budget, meter, bookmark)
    spent = {**meter.dump(), "seconds": bookmark.seconds}
    desk.keep_model(learner.whole(), spent)
    bookmark.clear()
    return learner, spent


def _train(
    ticket: Ticket, task: CourseTask, budget: float, meter: Meter, bookmark: Bookmark | None = None
) -> ModuleLearner:
    horizon = max(1, round(budget * task.horizon))
    learner = _place(ticket, replace(task, bookmark=bookmark), meter, horizon)
    if not ticket.ready and budget:
        learner.complete()
    return learner


def _place(ticket: Ticket, task: CourseTask, meter: Meter, horizon: int | None = None) -> ModuleLearner:
    """A learner at the ticket's start, under its mask."""
    learner = task.learner(meter, horizon=horizon)
    ticket.check_base(learner.base, learner.scope)
    learner.apply_mask(ticket.mask)
    learner.restore(ticket.start)
    return learner


def judge(learner: ModuleLearner, meter: Meter) -> Result:
    """What a trained *learner* reaches; reads the test split."""
    validation = learner.evaluate()
    cost = meter.spent
    return Result(learner.test(), validation, cost, learner.weights())


def meter_of(stage: str, watch: Watch | None) -> Meter:
    """A meter that tells *watch* of the work of one stage."""
    return Meter(watch=(lambda pulse: watch(stage, pulse)) if watch else None)


def _record(
    recipe: Recipe,
    task: CourseTask,
    ticket: Ticket,
    result: Result,
    drawn: dict[str, Any],
    trained: dict[str, Any],
    meter: Meter,
) -> Record:
    full, tuned = Sizes.of(task).full, meter.dump()
    total = sum((Cost(**cost) for cost in drawn["bill"].values()), result.cost)
    facts = {
        "schema": SCHEMA,
        "key": recipe.key,
        "recipe": recipe.model_dump(mode="json"),
        "ticket": {**ticket_facts(ticket, task), "notes": dict(ticket.notes)},
        "metric": next(iter(result.test)),
        "test": dict(result.test),
        "validation": result.validation,
        "cost": {
            "multiple_of_T": total.ratio(full),
            "total": asdict(total),
            "full_fine_tune": {"steps": full.steps, "examples": full.examples, "passes": full.passes},
            "draw": drawn["bill"],
            "train": tuned["bill"],
            "reused": asdict(Cost(**drawn["reused"]) + Cost(**trained["reused"])),
        },
        "seconds": {"draw": drawn["seconds"], "train": trained["seconds"]},
        "clock": {
            "draw": drawn["clock"],
            "train": tuned["clock"],
            "reused": drawn["reused_seconds"] + trained["reused_seconds"],
        },
        **({"judged": dict(task.course.facts)} if task.course.facts else {}),
        **circumstances(task),
    }
    return Record.model_validate(facts)


def ticket_facts(ticket: Ticket, task: CourseTask) -> dict[str, Any]:
    """What records say of a ticket."""
    scope = ticket.mask.scope
    return {
        "digest": ticket.digest,
        "mask": ticket.mask.digest,
        "base": asdict(ticket.base),
        "kept": ticket.mask.kept,
        "prunable": scope.size,
        "parameters": sum(p.numel() for p in task.course.model.parameters()),
        "sparsity": ticket.sparsity,
        "layers": {name: [kept, scope.numel(name)] for name, kept in ticket.mask.kept_by_name.items()},
    }


def circumstances(task: CourseTask) -> dict[str, Any]:
    """What records say of what they were made on, when and with what."""
    return {
        "memory": peaks(),
        "examples": {name: len(getattr(task.course, name)) for name in ("train", "validation", "test")},
        "made": {"at": datetime.now(UTC).isoformat(timespec="seconds"), **environment()},
    }


def budget_like(outcome: Record) -> float:
    """The budget at which a method that draws for nothing costs as much as the run of *outcome* did.

    The validation at the end is left out, for every run pays it.
    """
    return outcome.cost.as_budget
