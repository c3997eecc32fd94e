"""Transfer: a ticket of one task, fine-tuned and judged on another; its record, kept beside those of runs."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from ..core.content import content_key
from ..core.errors import StoreError
from ..core.kinds import checked
from ..core.names.name_map import NameMap
from ..core.ticket import Ticket, Transfer
from ..recipes import toml
from ..recipes.later import without_defaults
from ..recipes.recipe import Recipe
from ..store.cell import Cell
from ..store.contents import Contents, contents_of
from ..store.record import TRANSFER_SCHEMA, TransferRecord, read_transfer, write
from ..store.store import Store
from ..tasks import CourseTask
from .environment import forget_peaks
from .recording import circumstances, ticket_facts
from .run import Watch, build, judge, meter_of, tuned
from .sizes import Sizes

# method and sparsity are the ticket's own, and the ticket is in the key already
_TARGET = ("task", "data", "training", "budget", "seed")
# never to be changed: what training learned to say after the first transfers were recorded, and what it did before
_LATER = {"line": "linear", "flat": 0.5}


def fit(
    ticket: Ticket,
    task: CourseTask,
    names: NameMap | None = None,
    heads: int | None = None,
) -> Transfer:
    """*ticket* for the model of *task*, to be fine-tuned there. Raises ScopeError when nothing of it fits."""
    course = task.course
    fitted = ticket.transfer(
        course.model, map=names, scope=course.scope, base=course.base, heads=heads
    )
    # a model without a head of its own, such as one of language, may fit as a whole, and is trained for another task
    return replace(fitted, ticket=replace(fitted.ticket, ready=False))


@checked
def transfer(
    ticket: Ticket,
    recipe: Recipe,
    store: Store,
    *,
    names: Mapping[str, str] | None = None,
    heads: int | None = None,
    begin: Callable[[CourseTask], Watch] | None = None,
    load: Callable[[Recipe], CourseTask] | None = None,
) -> TransferRecord:
    """Fit *ticket* to the model of *recipe*, fine-tune it under its mask and read the test split once.

    The method and the sparsity of *recipe* do not matter. Returns the record; what is in *store* already is read
    back, and what was killed goes on where it was. *begin* and *load* are as in `run`.

    Raises ScopeError when nothing of the ticket fits.
    """
    key = key_of(ticket, recipe, names, heads)
    cell = store.transfer_cell(key)
    place = store.transfer(key)
    if place.exists():
        return _read_back(place, Contents.of(recipe, store).parts)

    # before the task is loaded, so that what loading takes counts
    forget_peaks()
    task = (load or build)(recipe)
    fitted = fit(ticket, task, names, heads)

    with cell.hold():
        # whoever held it until now may have done it
        if not place.exists():
            cell.tidy()
            made_with = contents_of(recipe, store, cell).parts
            watch = begin(task) if begin else None
            facts = {
                "key": key,
                "source": _source(ticket, store),
                "map": dict(names or {}),
                "contents": dict(made_with),
                **_outcome(fitted, recipe, task, cell, watch),
            }
            write(place, TransferRecord.model_validate(facts))

        # what a transfer is made by is of no use any more, for its record is a file elsewhere
        shutil.rmtree(cell.folder, ignore_errors=True)
        return read_transfer(place)


def _read_back(place: Path, made_with: Mapping[str, str]) -> TransferRecord:
    """The record at *place*. Raises StoreError where it was made with other data or another model."""
    record = read_transfer(place)
    for part, digest in record.contents.items():
        if made_with.get(part, digest) != digest:
            raise StoreError(
                f"the {part} of this transfer changed since {place} was made; put back what was there, "
                f"use --out with another folder, or remove the file to have it made anew"
            )
    return record


def key_of(
    ticket: Ticket,
    recipe: Recipe,
    names: Mapping[str, str] | None = None,
    heads: int | None = None,
) -> str:
    """What a transfer depends on: SHA-256 of the ticket, how it is fitted, and what it is trained and judged on."""
    fields = recipe.settled
    target = {name: fields[name] for name in _TARGET}
    target["training"] = without_defaults(target["training"], _LATER)
    facts = {
        "schema": TRANSFER_SCHEMA,
        "ticket": ticket.digest,
        "map": dict(names or {}),
        **target,
    }
    # not in the keys of transfers that were recorded before it counted, nor where it is not said
    if heads is not None:
        facts["heads"] = heads
    return content_key(facts)


def _outcome(
    fitted: Transfer,
    recipe: Recipe,
    task: CourseTask,
    cell: Cell,
    watch: Watch | None,
) -> dict[str, Any]:
    """Fine-tune and judge the fitted ticket, and return what the record says of that."""
    meter = meter_of("fine-tune", watch)
    learner, spent = tuned(fitted.ticket, recipe, task, cell, meter)
    result = judge(learner, meter)

    full = Sizes.of(task).full
    bill = meter.dump()
    return {
        "schema": TRANSFER_SCHEMA,
        "recipe": recipe.asked(),
        "fit": {
            "same_base": fitted.same_base,
            "counts": fitted.counts,
            "rows": [list(row) for row in fitted.rows()],
        },
        "ticket": ticket_facts(fitted.ticket, task),
        "metric": next(iter(result.test)),
        "test": dict(result.test),
        "validation": result.validation,
        "cost": {
            "multiple_of_T": result.cost.ratio(full),
            "total": asdict(result.cost),
            "full_fine_tune": {
                "steps": full.steps,
                "examples": full.examples,
                "passes": full.passes,
            },
            "train": bill["bill"],
        },
        "seconds": spent["seconds"],
        "clock": bill["clock"],
        **circumstances(task),
    }


def _source(ticket: Ticket, store: Store) -> dict[str, Any]:
    """Where the ticket comes from; the recipe in full where *store* knows it."""
    return {
        "ticket": ticket.digest,
        "mask": ticket.mask.digest,
        "base": asdict(ticket.base),
        "method": dict(ticket.method),
        "sparsity": ticket.sparsity,
        "cost": asdict(ticket.cost),
        "key": ticket.recipe,
        "recipe": _drawn_by(ticket, store),
    }


def _drawn_by(ticket: Ticket, store: Store) -> dict[str, Any] | None:
    if ticket.recipe is None:
        return None
    cell = store.cell_of(ticket.recipe)
    if cell.record.exists():
        return cell.load_record().recipe.facts()
    if cell.description.exists():
        return Recipe.parse(toml.read(cell.description)).asked()
    return None
