"""Recording: what the record of a run says, put together from its ticket, its result and its bills."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

from ..core.budget import Cost, Meter
from ..core.ticket import Ticket
from ..recipes.recipe import Recipe
from ..store.record import SCHEMA, Record
from ..tasks import CourseTask
from ..training.device import computed_in
from ..training.half import settled
from .environment import environment, peaks
from .result import Result
from .sizes import Sizes


def run_record(
    recipe: Recipe,
    task: CourseTask,
    ticket: Ticket,
    result: Result,
    *,
    drawn: Mapping[str, Any],
    trained: Mapping[str, Any],
    meter: Meter,
    contents: Mapping[str, str],
) -> Record:
    """The record of a run that is done.

    Args:
        drawn, trained: the bills of the two stages, as the store keeps them.
        meter: of the fine-tune, its evaluation included.
        contents: digests of the data and the model at hand.
    """
    facts: dict[str, Any] = {
        "schema": SCHEMA,
        "key": recipe.key,
        "recipe": recipe.asked(),
        "ticket": {**ticket_facts(ticket, task), "notes": dict(ticket.notes)},
        "metric": next(iter(result.test)),
        "test": dict(result.test),
        "validation": result.validation,
        "contents": dict(contents),
        **_costs(task, result, drawn, trained, meter),
        **circumstances(task),
    }
    # records of tasks that have nothing to say here have no such field
    if task.course.facts:
        facts["judged"] = dict(task.course.facts)

    return Record.model_validate(facts)


def _costs(
    task: CourseTask,
    result: Result,
    drawn: Mapping[str, Any],
    trained: Mapping[str, Any],
    meter: Meter,
) -> dict[str, Any]:
    """What the run was charged and how long it took.

    What the fine-tune used and its clock are read from *meter*, which has seen the evaluation too; what *trained* keeps
    ended before it.
    """
    full = Sizes.of(task).full
    tuned = meter.dump()

    total = result.cost
    for cost_of_purpose in drawn["bill"].values():
        total += Cost(**cost_of_purpose)
    reused = Cost(**drawn["reused"]) + Cost(**trained["reused"])

    cost = {
        "multiple_of_T": total.ratio(full),
        "total": asdict(total),
        "full_fine_tune": {
            "steps": full.steps,
            "examples": full.examples,
            "passes": full.passes,
        },
        "draw": drawn["bill"],
        "train": tuned["bill"],
        "reused": asdict(reused),
    }
    clock = {
        "draw": drawn["clock"],
        "train": tuned["clock"],
        "reused": drawn["reused_seconds"] + trained["reused_seconds"],
    }
    seconds = {"draw": drawn["seconds"], "train": trained["seconds"]}
    return {"cost": cost, "seconds": seconds, "clock": clock}


def ticket_facts(ticket: Ticket, task: CourseTask) -> dict[str, Any]:
    """What records say of a ticket."""
    scope = ticket.mask.scope
    layers = {}
    for name, kept in ticket.mask.kept_by_name.items():
        layers[name] = [kept, scope.numel(name)]

    parameters = task.course.model.parameters()
    return {
        "digest": ticket.digest,
        "mask": ticket.mask.digest,
        "base": asdict(ticket.base),
        "kept": ticket.mask.kept,
        "prunable": scope.size,
        "parameters": sum(parameter.numel() for parameter in parameters),
        "sparsity": ticket.sparsity,
        "layers": layers,
    }


def circumstances(task: CourseTask) -> dict[str, Any]:
    """What records say of what they were made on, when and with what."""
    course = task.course
    now = datetime.now(UTC).isoformat(timespec="seconds")
    device = task.regime.device
    precision = computed_in(settled(task.regime.precision, course, device), device)

    return {
        "memory": peaks(),
        "examples": {
            "train": len(course.train),
            "validation": len(course.validation),
            "test": len(course.test),
        },
        "made": {"at": now, "precision": precision, **environment(device)},
    }
