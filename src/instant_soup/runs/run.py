"""Run: draw, fine-tune, evaluate, record. A stage that is done is not done again."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, replace
from datetime import UTC, datetime
from math import isfinite
from typing import Any

from ..core.budget import Cost, Meter, Pulse
from ..core.content import content_key
from ..core.errors import TrainingError
from ..core.kinds import checked
from ..core.prune import survivors
from ..core.task import Bookmark
from ..core.ticket import Ticket
from ..methods import control
from ..recipes.known import DRAWN
from ..recipes.recipe import Recipe
from ..store import index, record
from ..store.cell import Cell
from ..store.contents import contents_of
from ..store.plain import read_sealed
from ..store.record import SCHEMA, Record
from ..store.store import Store
from ..tasks import CourseTask, image, language, text
from ..training import ranks
from ..training.learner import ModuleLearner
from .divergence import refuse_divergence
from .environment import environment, forget_peaks, peaks
from .lookaheads import spread
from .progress import progress as shown_progress
from .result import Result
from .sizes import Sizes

Watch = Callable[[str, Pulse], None]
"""Told of each piece of work: the stage, and what was done."""


@checked
def evaluate(
    ticket: Ticket,
    task: CourseTask,
    *,
    budget: float = 1.0,
    meter: Meter | None = None,
    progress: bool = False,
) -> Result:
    """Fine-tune *ticket* under its mask for *budget* times T, unless it is ready, then read the test split once.

    With *progress* a bar says how far it is, on a terminal or in a notebook. The cost of the result is the ticket's own
    and what is charged to *meter* here; what stood on it before is left out.

    Raises TicketError when the ticket belongs to another model.
    """
    if progress and meter is None:
        with shown_progress(task, f"fine-tuning on {task.name}") as shown:
            return evaluate(ticket, task, budget=budget, meter=shown)
    meter = meter or Meter()
    charged_before = meter.spent
    with ranks.lost():
        result = judge(_train(ticket, task, budget, meter), meter)

    return replace(
        result,
        cost=ticket.cost + result.cost - charged_before,
        drawing=ticket.cost,
    )


@checked
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
    cell = store.cell(recipe, ranks.team())
    if cell.has(cell.contents):
        # the same data and model as then, or it is refused
        cell.write(lambda: contents_of(recipe, store, cell))
    if cell.has(cell.record):
        return cell.load_record()

    forget_peaks()
    task = (load or build)(recipe)
    with cell.hold():
        if not cell.has(cell.record):
            cell.write(cell.tidy)
            watch = begin(task) if begin else None
            _carry_out(recipe, store, cell, task, watch)
            cell.write(cell.tidy)
        return cell.load_record()


def _carry_out(
    recipe: Recipe, store: Store, cell: Cell, task: CourseTask, watch: Watch | None
) -> None:
    shared = on_shelf(task, recipe, store, cell)
    ticket = _ticket(recipe, shared, store, cell, watch)

    meter = meter_of("fine-tune", watch)
    learner, spent = tuned(
        ticket, recipe, shared if _shares(recipe) else task, cell, meter
    )
    result = judge(learner, meter)

    made_with = read_sealed(cell.contents)["digests"]
    outcome = _record(
        recipe, task, ticket, result, cell.finished("draw"), spent, meter, made_with
    )
    cell.write(lambda: _put(outcome, cell, store))


def on_shelf(task: CourseTask, recipe: Recipe, store: Store, cell: Cell) -> CourseTask:
    """*task* with the trainings that others of its kind may share, made with the same data and model.

    Raises StoreError where data or model have changed since the run in *cell* was begun.
    """
    cell.write(lambda: contents_of(recipe, store, cell))
    made_with = content_key(read_sealed(cell.contents)["digests"])
    return replace(
        task, shelf=replace(store.shelf(recipe, cell.team), contents=made_with)
    )


def _put(outcome: Record, cell: Cell, store: Store) -> None:
    record.write(cell.record, outcome)
    index.add(store, cell.load_record())


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
        built = language(
            task.name, **common, test=data.test, window=data.window, windows=data.windows
        )
    elif task.images:
        built = image(
            task.name,
            **common,
            classes=task.classes,
            templates=task.templates,
            image_column=task.columns[0] if task.columns else None,
            # what is spelled out changes nothing
            label_column=task.label if task.label != "label" else None,
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


def draw(
    recipe: Recipe, task: CourseTask, store: Store, watch: Watch | None = None
) -> Ticket:
    """The ticket of *recipe*: from *store* if it was drawn already, else drawn and put there.

    Raises StoreError where data or model have changed since it was begun.
    """
    cell = store.cell(recipe, ranks.team())
    return _ticket(recipe, on_shelf(task, recipe, store, cell), store, cell, watch)


def _ticket(
    recipe: Recipe, task: CourseTask, store: Store, cell: Cell, watch: Watch | None
) -> Ticket:
    with cell.hold():
        if cell.has(cell.ticket):
            cell.bookmark("draw").clear()  # in case it was killed just then
            return cell.load_ticket()
        if recipe.control:
            return _controlled(recipe, recipe.control, task, store, cell, watch)
        return _drawn(recipe, task, cell, watch)


def _drawn(recipe: Recipe, task: CourseTask, cell: Cell, watch: Watch | None) -> Ticket:
    meter = meter_of("draw", watch)
    bookmark = cell.bookmark("draw")
    method = recipe.make_method()
    with spread(recipe, task, build) as shared:
        world = replace(shared, bookmark=bookmark)
        if method.trains:
            world = world.stretched(recipe.budget)
        ticket = method.draw(world, recipe.sparsity, meter).stamped(recipe.key)

    refuse_divergence(ticket.start)
    cell.keep_ticket(recipe, ticket, {**meter.dump(), "seconds": bookmark.seconds})
    bookmark.clear()
    return ticket


def _controlled(
    recipe: Recipe,
    kind: str,
    task: CourseTask,
    store: Store,
    cell: Cell,
    watch: Watch | None,
) -> Ticket:
    """A control of the ticket that *recipe* asks for otherwise, drawn first where it is not there."""
    fields = {**recipe.model_dump(exclude_unset=True), "control": None, "run": recipe.run}
    plain = Recipe.parse(fields)  # a copy would keep the key
    drawn = draw(plain, task, store, watch)
    ticket = control(drawn, task, kind).stamped(recipe.key)
    cell.keep_ticket(recipe, ticket, store.cell(plain).finished("draw"))
    return ticket


def tuned(
    ticket: Ticket, recipe: Recipe, task: CourseTask, cell: Cell, meter: Meter
) -> tuple[ModuleLearner, dict[str, Any]]:
    """A learner at the fine-tuned weights, and what getting there cost."""
    if cell.has(cell.model):
        learner = _place(ticket, task, meter)
        learner.restore(cell.load_model())
        spent = cell.finished("train")
        meter.load(spent)
        cell.bookmark("train").clear()
        return learner, spent

    bookmark = cell.bookmark("train")
    learner = _train(ticket, task, recipe.budget, meter, bookmark)
    spent = {**meter.dump(), "seconds": bookmark.seconds}
    weights = learner.whole()
    refuse_divergence(weights)
    cell.keep_model(weights, spent)
    bookmark.clear()

    return learner, spent


def _train(
    ticket: Ticket,
    task: CourseTask,
    budget: float,
    meter: Meter,
    bookmark: Bookmark | None = None,
) -> ModuleLearner:
    horizon = max(1, round(budget * task.horizon))
    learner = _place(ticket, replace(task, bookmark=bookmark), meter, horizon)
    if not ticket.ready and budget:
        learner.complete()
    return learner


def _place(
    ticket: Ticket, task: CourseTask, meter: Meter, horizon: int | None = None
) -> ModuleLearner:
    """A learner at the ticket's start, under its mask."""
    learner = task.learner(meter, horizon=horizon)
    ticket.check_base(learner.base, learner.scope)
    learner.apply_mask(ticket.mask)
    learner.restore(ticket.start)
    return learner


def judge(learner: ModuleLearner, meter: Meter) -> Result:
    """What a trained *learner* reaches; reads the test split. Its cost is what *meter* has been charged.

    Raises TrainingError where a figure is not finite.
    """
    validation = learner.evaluate()
    cost = meter.spent
    test = learner.test()

    for name, figure in {
        "validation": validation,
        **{f"test {name}": figure for name, figure in test.items()},
    }.items():
        if not isfinite(figure):
            raise TrainingError(
                f"{name} is {figure}: training has diverged; lower the learning rate"
            )

    return Result(test, validation, cost, learner.weights())


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
    contents: Mapping[str, str],
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
            "full_fine_tune": {
                "steps": full.steps,
                "examples": full.examples,
                "passes": full.passes,
            },
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
        "contents": dict(contents),
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
        "layers": {
            name: [kept, scope.numel(name)]
            for name, kept in ticket.mask.kept_by_name.items()
        },
    }


def circumstances(task: CourseTask) -> dict[str, Any]:
    """What records say of what they were made on, when and with what."""
    return {
        "memory": peaks(),
        "examples": {
            name: len(getattr(task.course, name))
            for name in ("train", "validation", "test")
        },
        "made": {"at": datetime.now(UTC).isoformat(timespec="seconds"), **environment()},
    }


def budget_like(outcome: Record) -> float:
    """The budget at which a method that draws for nothing costs as much as the run of *outcome* did.

    The validation at the end is left out, for every run pays it.
    """
    return outcome.cost.as_budget
