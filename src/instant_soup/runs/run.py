"""Run: draw, fine-tune, evaluate, record. A stage that is done is not done again."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from math import isfinite
from typing import Any

from ..core.budget import Meter, Pulse
from ..core.content import content_key
from ..core.errors import TrainingError
from ..core.kinds import checked
from ..core.pattern import check_pattern
from ..core.prune import survivors
from ..core.task import Bookmark
from ..core.ticket import Ticket
from ..methods import control
from ..recipes.known import DRAWN
from ..recipes.recipe import Recipe
from ..store import index
from ..store.cell import Cell
from ..store.contents import contents_of
from ..store.plain import read_sealed
from ..store.record import Record
from ..store.record import write as write_record
from ..store.store import Store
from ..tasks import CourseTask, image, language, text
from ..training import ranks
from ..training.device import check_device
from ..training.learner import ModuleLearner
from .divergence import refuse_divergence
from .environment import forget_peaks
from .lookaheads import with_workers
from .progress import progress as shown_progress
from .recording import run_record
from .result import Result
from .stand_in import pattern_of

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

    Raises TicketError when the ticket belongs to another model, or is trained to the end for another task.
    """
    if progress and meter is None:
        with shown_progress(task, f"fine-tuning on {task.name}") as shown:
            return evaluate(ticket, task, budget=budget, meter=shown)

    meter = meter or Meter()
    charged_before = meter.spent
    with ranks.lost():
        learner = _train(ticket, task, budget, meter)
        result = judge(learner, meter)

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

    Where another process is at it, this one waits and reads what comes of it. Ranks launched together do it together.
    *begin* is called with the task once it is loaded, and gives what is told of the work; *load* gives the task.
    """
    cell = store.cell(recipe, ranks.team())
    if cell.has(cell.contents):
        # even where all is done: with other data or another model than then it is refused
        cell.write(lambda: contents_of(recipe, store, cell))
    if cell.has(cell.record):
        return cell.load_record()

    check_device(recipe.training.device)
    # before the task is loaded, so that what loading takes counts
    forget_peaks()
    task = (load or build)(recipe)
    check_pattern(pattern_of(recipe), recipe.sparsity, task.course.scope)

    with cell.hold():
        # whoever held it until now may have done it
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
    trained_on = shared if _shares(recipe) else task
    learner, trained = tuned(ticket, recipe, trained_on, cell, meter)
    result = judge(learner, meter)

    record = run_record(
        recipe,
        task,
        ticket,
        result,
        drawn=cell.load_bill("draw"),
        trained=trained,
        meter=meter,
        contents=read_sealed(cell.contents)["digests"],
    )
    cell.write(lambda: _put(record, cell, store))


def on_shelf(task: CourseTask, recipe: Recipe, store: Store, cell: Cell) -> CourseTask:
    """*task* with the trainings that others of its kind may share, made with the same data and model.

    Raises StoreError where data or model have changed since the run in *cell* was begun.
    """
    cell.write(lambda: contents_of(recipe, store, cell))
    made_with = content_key(read_sealed(cell.contents)["digests"])
    shelf = replace(store.shelf(recipe, cell.team), contents=made_with)
    return replace(task, shelf=shelf)


def _put(record: Record, cell: Cell, store: Store) -> None:
    write_record(cell.record, record)
    # after the record, or a kill in between would leave the index with a run that is not there
    index.add(store, cell.load_record())


def _shares(recipe: Recipe) -> bool:
    """Whether the fine-tune may be one that another run has done, or be kept for others."""
    return DRAWN[recipe.method["name"]].shares and not recipe.control


def build(recipe: Recipe) -> CourseTask:
    """The task that *recipe* names, loaded and encoded. Raises SparsityError where no weight would be left."""
    task = recipe.task
    data = recipe.data
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
    # drawing takes long, so whoever asks for the same ticket meanwhile waits for this one
    with cell.hold():
        if cell.has(cell.ticket):
            # a run that was killed right after it drew has left its place behind
            cell.bookmark("draw").clear()
            return cell.load_ticket()
        if recipe.control:
            return _controlled(recipe, recipe.control, task, store, cell, watch)
        return _drawn(recipe, task, cell, watch)


def _drawn(recipe: Recipe, task: CourseTask, cell: Cell, watch: Watch | None) -> Ticket:
    meter = meter_of("draw", watch)
    bookmark = cell.bookmark("draw")
    method = recipe.make_method()

    with with_workers(recipe, task, build) as shared:
        world = replace(shared, bookmark=bookmark)
        # a method that trains the ticket to the end does so within the budget of the fine-tune
        if method.trains:
            world = world.stretched(recipe.budget)
        ticket = method.draw(world, recipe.sparsity, meter).stamped(recipe.key)

    refuse_divergence(ticket.start)
    cell.keep_ticket(recipe, ticket, {**meter.dump(), "seconds": bookmark.seconds})
    # only now that the ticket is safe
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
    # parsed anew, because a copy would keep the key that was computed of the other
    plain = Recipe.parse(fields)
    drawn = draw(plain, task, store, watch)

    ticket = control(drawn, task, kind).stamped(recipe.key)
    cell.keep_ticket(recipe, ticket, store.cell(plain).load_bill("draw"))
    return ticket


def tuned(
    ticket: Ticket, recipe: Recipe, task: CourseTask, cell: Cell, meter: Meter
) -> tuple[ModuleLearner, dict[str, Any]]:
    """A learner at the fine-tuned weights, and what getting there cost."""
    if cell.has(cell.model):
        learner = _start(ticket, task, meter)
        learner.restore(cell.load_model())
        bill = cell.load_bill("train")
        meter.load(bill)
        # a run that was killed right after it trained has left its place behind
        cell.bookmark("train").clear()
        return learner, bill

    bookmark = cell.bookmark("train")
    learner = _train(ticket, task, recipe.budget, meter, bookmark)
    bill = {**meter.dump(), "seconds": bookmark.seconds}
    weights = learner.whole()

    refuse_divergence(weights)
    cell.keep_model(weights, bill)
    bookmark.clear()
    return learner, bill


def _train(
    ticket: Ticket,
    task: CourseTask,
    budget: float,
    meter: Meter,
    bookmark: Bookmark | None = None,
) -> ModuleLearner:
    horizon = max(1, round(budget * task.horizon))
    learner = _start(ticket, replace(task, bookmark=bookmark), meter, horizon)
    if not ticket.ready and budget:
        learner.complete()
    return learner


def _start(
    ticket: Ticket, task: CourseTask, meter: Meter, horizon: int | None = None
) -> ModuleLearner:
    """A learner at the ticket's start, under its mask."""
    learner = task.learner(meter, horizon=horizon)
    ticket.check_base(learner.base, learner.scope)
    if task.course.goal is not None:
        task.course.goal.check(ticket)
    learner.apply_mask(ticket.mask)
    learner.restore(ticket.start)
    return learner


def judge(learner: ModuleLearner, meter: Meter) -> Result:
    """What a trained *learner* reaches; reads the test split. Its cost is what *meter* has been charged.

    Raises TrainingError where a figure is not finite.
    """
    validation = learner.evaluate()
    # read before the test split is, which every run pays for alike and is left out
    cost = meter.spent
    test = learner.test()

    figures = {"validation": validation}
    figures |= {f"test {name}": figure for name, figure in test.items()}
    for name, figure in figures.items():
        if not isfinite(figure):
            raise TrainingError(
                f"{name} is {figure}: training has diverged; lower the learning rate"
            )

    return Result(test, validation, cost, learner.weights())


def meter_of(stage: str, watch: Watch | None) -> Meter:
    """A meter that tells *watch* of the work of one stage."""
    if watch is None:
        return Meter()
    return Meter(watch=lambda pulse: watch(stage, pulse))
