"""Show: records, plans and tables as a person reads them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from rich.console import Group
from rich.table import Table
from rich.tree import Tree

from ..core.budget import Cost
from ..core.names.layers import without_numbers
from ..core.names.matrices import unusual
from .console import add, cell, grid, table

if TYPE_CHECKING:
    from ..core.parameters import ParameterFacts, Survey
    from ..recipes.recipe import Recipe
    from ..runs.demo import Row
    from ..runs.plan import Plan
    from ..runs.scaling import Forecast
    from ..store.record import Record


def record(outcome: Record) -> Table:
    """One run."""
    ticket = outcome.ticket
    cost = outcome.cost
    pruned = (ticket.prunable - ticket.kept) / ticket.parameters

    shown = grid()
    add(shown, "test", figures(outcome.test))
    add(shown, "validation", f"{outcome.validation:.4f}")
    add(
        shown,
        "sparsity",
        f"{ticket.sparsity:.4%}  ({ticket.kept:,} of {ticket.prunable:,} prunable weights kept; "
        f"{pruned:.1%} of the whole model pruned)",
    )
    add(
        shown,
        "cost",
        f"{cost.multiple_of_T:.2f} T, where T is {cost.full_fine_tune.steps:,} steps",
    )
    for stage, costs in cost.stages.items():
        add(shown, "", f"{stage}: {bill(costs)}")
    add(
        shown,
        "time",
        f"draw {outcome.seconds.draw:.0f} s, train {outcome.seconds.train:.0f} s",
    )
    return shown


def bill(costs: Mapping[str, Cost]) -> str:
    """A bill in one line."""
    parts = (
        f"{purpose} {cost.steps:,} steps"
        if cost.steps
        else f"{purpose} {cost.examples:,} examples"
        for purpose, cost in costs.items()
    )
    return ", ".join(parts) or "nothing"


def figures(test: Mapping[str, float]) -> str:
    """Metrics in one line."""
    return ", ".join(f"{name} {value:.4f}" for name, value in test.items())


def plan(cost: Plan) -> Table:
    """What a recipe will cost."""
    shown = table(
        ["stage", "purpose", "steps", "examples", "cost in T"], caption=_known(cost)
    )

    for stage, bill in (("draw", cost.draw), ("fine-tune", cost.train)):
        for purpose, work in bill.items():
            add(
                shown,
                stage,
                purpose,
                f"{work.steps:,}",
                f"{work.examples:,}",
                f"{work.ratio(cost.full):.2f}",
            )

    add(shown, "total", "test left out", "", "", f"{cost.ratio:.2f}", style="bold")
    return shown


def _known(cost: Plan) -> str:
    """How a plan is known, and what it comes to on this machine where that was measured."""
    full = f"T is {cost.full.steps:,} steps."
    timing = cost.timing
    if timing is None:
        return f"{full} Nothing was timed; --timed loads model and data, and measures a few steps."
    return (
        f"{full} {timing.flops:.2e} FLOPs, about {minutes(timing.seconds)} on this machine. "
        f"Memory: {timing.tensors / 2**20:,.0f} MiB of tensors and the activations of a batch; "
        f"{timing.peak / 2**20:,.0f} MiB seen while timing."
    )


def forecasts(forecasts: Iterable[Forecast]) -> Table:
    """What numbers of workers make of a run."""
    heads = [
        "workers",
        "steps in a row",
        "time",
        "sent a round",
        "returned a round",
        "memory each",
    ]
    shown = table(
        heads,
        caption="At most, with a node for each worker and 10 Gbit/s between them; docs/scaling.md says how this is "
        "known.",
    )

    for forecast in forecasts:
        moved = (
            f"{size / 2**20:,.1f} MiB"
            for size in (forecast.out, forecast.back, forecast.memory)
        )
        add(
            shown,
            str(forecast.workers),
            f"{forecast.steps:,}",
            minutes(forecast.seconds),
            *moved,
        )

    return shown


def plans(costs: Mapping[str, tuple[Recipe, Plan]]) -> Table:
    """What each cell of a file of recipes will cost."""
    shown = table(
        ["cell", "method", "sparsity", "T in steps", "steps in all", "cost in T"]
    )

    for name, (recipe, cost) in costs.items():
        steps = (f"{cost.full.steps:,}", f"{cost.total.steps:,}")
        add(
            shown,
            name,
            str(recipe.method["name"]),
            f"{recipe.sparsity:.0%}",
            *steps,
            f"{cost.ratio:.2f}",
        )

    return shown


def survey(recipe: Recipe, parameters: Survey) -> Group:
    """A model as a tree: what may be pruned, what is trained densely, what is frozen."""
    root = Tree(cell(f"{recipe.task.model}, as {recipe.task.name} learns with it"))
    branches: dict[tuple[str, ...], Tree] = {(): root}

    for (path, part), times in _alike(parameters).items():
        for depth in range(1, len(path)):
            if path[:depth] not in branches:
                branches[path[:depth]] = branches[path[: depth - 1]].add(
                    cell(path[depth - 1])
                )
        line = cell(f"{path[-1]}  {_part('.'.join(path), part, times)}")
        branches[path[:-1]].add(line, style=None if part.prunable else "dim")

    shares = grid()
    for name, size in (
        ("prunable", parameters.prunable),
        ("encoder", parameters.encoder),
        ("whole model", parameters.whole),
    ):
        pruned = recipe.sparsity * parameters.prunable / size
        add(
            shares,
            name,
            f"{size:,}",
            f"sparsity {recipe.sparsity:.0%} prunes {pruned:.1%} of it",
        )

    return Group(root, "", shares)


def _alike(survey: Survey) -> Counter[tuple[tuple[str, ...], ParameterFacts]]:
    """How many parameters there are of each path and kind, with the numbered layers of a stack taken as one."""
    return Counter(
        (
            tuple(
                step.replace("#", "0 ..")
                for step in without_numbers(name, "#").split(".")
            ),
            part,
        )
        for name, part in survey.parameters.items()
    )


def _part(name: str, part: ParameterFacts, times: int) -> str:
    state = (
        "in scope" if part.prunable else "trained densely" if part.trained else "frozen"
    )
    marks = [
        *(["fused"] if part.fused else []),
        *(f"tied to {other}" for other in part.names),
    ]
    remark = unusual(name, part.shape)
    if part.prunable and remark:
        marks.append(f"unusual: {remark}")
    count = f"{times} times " if times > 1 else ""

    return f"{count}{' x '.join(map(str, part.shape))}: {', '.join([state, *marks])}"


def demo(rows: Iterable[Row]) -> Table:
    """The demo's comparison."""
    shown = table(["", "test accuracy", "sparsity", "cost in T", "wall time"])
    for row in rows:
        add(
            shown,
            row.title,
            f"{row.record.test['accuracy']:.4f}",
            f"{row.record.ticket.sparsity:.1%}",
            f"{row.record.cost.multiple_of_T:.2f}",
            minutes(row.record.seconds.total),
        )
    return shown


def demo_language(rows: Iterable[Row]) -> Table:
    """The comparison of the demo of language models."""
    shown = Table("", "perplexity", "sparsity", "wall time")
    for row in rows:
        record = row.record
        seconds = record.seconds.total + sum(record.clock.train.values())
        shown.add_row(
            row.title,
            f"{record.test['perplexity']:.2f}",
            f"{record.ticket.sparsity:.1%}",
            minutes(seconds),
        )
    return shown


def minutes(seconds: float) -> str:
    """Seconds as a person says them."""
    return f"{seconds:.0f} s" if seconds < 100 else f"{seconds / 60:.1f} min"
