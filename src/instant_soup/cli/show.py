"""Show: makes tables of records, plans, methods and tasks, for people to read."""

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
    """One run: what it reached, at what sparsity, cost and time."""
    ticket = outcome.ticket
    cost = outcome.cost
    pruned = (ticket.prunable - ticket.kept) / ticket.parameters

    rows = grid()
    add(rows, "test", figures(outcome.test))
    add(rows, "validation", f"{outcome.validation:.4f}")
    add(
        rows,
        "sparsity",
        f"{ticket.sparsity:.4%}  ({ticket.kept:,} of {ticket.prunable:,} prunable weights kept; "
        f"{pruned:.1%} of the whole model pruned)",
    )
    add(
        rows,
        "cost",
        f"{cost.multiple_of_T:.2f} T, where T is {cost.full_fine_tune.steps:,} steps",
    )
    for stage, costs in cost.stages.items():
        add(rows, "", f"{stage}: {bill(costs)}")
    add(
        rows,
        "time",
        f"draw {outcome.seconds.draw:.0f} s, train {outcome.seconds.train:.0f} s",
    )
    return rows


def bill(costs: Mapping[str, Cost]) -> str:
    """A bill in one line."""
    parts = []
    for purpose, cost in costs.items():
        # scoring and validation take no steps
        amount = f"{cost.examples:,} examples"
        if cost.steps:
            amount = f"{cost.steps:,} steps"
        parts.append(f"{purpose} {amount}")
    return ", ".join(parts) or "nothing"


def figures(test: Mapping[str, float]) -> str:
    """Metrics in one line."""
    return ", ".join(f"{name} {value:.4f}" for name, value in test.items())


def plan(cost: Plan) -> Table:
    """What a recipe will cost."""
    rows = table(
        ["stage", "purpose", "steps", "examples", "cost in T"], caption=_caption(cost)
    )

    for stage, bill in (("draw", cost.draw), ("fine-tune", cost.train)):
        for purpose, work in bill.items():
            add(
                rows,
                stage,
                purpose,
                f"{work.steps:,}",
                f"{work.examples:,}",
                f"{work.ratio(cost.full):.2f}",
            )

    add(rows, "total", "test left out", "", "", f"{cost.ratio:.2f}", style="bold")
    return rows


def _caption(cost: Plan) -> str:
    """How long T is, and the time and memory of a plan on this machine where these were measured."""
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
    rows = table(
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
            rows,
            str(forecast.workers),
            f"{forecast.steps:,}",
            minutes(forecast.seconds),
            *moved,
        )

    return rows


def plans(costs: Mapping[str, tuple[Recipe, Plan]]) -> Table:
    """What each cell of a file of recipes will cost."""
    rows = table(
        ["cell", "method", "sparsity", "T in steps", "steps in all", "cost in T"]
    )

    for name, (recipe, cost) in costs.items():
        steps = (f"{cost.full.steps:,}", f"{cost.total.steps:,}")
        add(
            rows,
            name,
            str(recipe.method["name"]),
            f"{recipe.sparsity:.0%}",
            *steps,
            f"{cost.ratio:.2f}",
        )

    return rows


def survey(recipe: Recipe, parameters: Survey) -> Group:
    """A model as a tree: what may be pruned, what is trained densely, what is frozen."""
    root = Tree(cell(f"{recipe.task.model}, as {recipe.task.name} learns with it"))
    branches: dict[tuple[str, ...], Tree] = {(): root}

    for (path, facts), times in _count_alike(parameters).items():
        # a branch for each module on the way, made when its first parameter comes
        for depth in range(1, len(path)):
            module = path[:depth]
            if module not in branches:
                branches[module] = branches[module[:-1]].add(cell(module[-1]))

        line = cell(f"{path[-1]}  {_describe('.'.join(path), facts, times)}")
        branches[path[:-1]].add(line, style=None if facts.prunable else "dim")

    # papers differ in what they call sparsity: of the encoder, or of the whole model
    sizes = {
        "prunable": parameters.prunable,
        "encoder": parameters.encoder,
        "whole model": parameters.whole,
    }
    shares = grid()
    for name, size in sizes.items():
        pruned = recipe.sparsity * parameters.prunable / size
        share = f"sparsity {recipe.sparsity:.0%} prunes {pruned:.1%} of it"
        add(shares, name, f"{size:,}", share)

    return Group(root, "", shares)


def _count_alike(survey: Survey) -> Counter[tuple[tuple[str, ...], ParameterFacts]]:
    """How many parameters there are of each path and kind; the numbered layers of a stack count as one path."""
    counts: Counter[tuple[tuple[str, ...], ParameterFacts]] = Counter()
    for name, facts in survey.parameters.items():
        steps = without_numbers(name, "#").split(".")
        # after the split, whose dots these are not
        path = tuple(step.replace("#", "0 ..") for step in steps)
        counts[path, facts] += 1
    return counts


def _describe(name: str, facts: ParameterFacts, times: int) -> str:
    """The shape of a parameter, what becomes of it, and what is special about it."""
    if facts.prunable:
        remarks = ["in scope"]
    elif facts.trained:
        remarks = ["trained densely"]
    else:
        remarks = ["frozen"]

    if facts.fused:
        remarks.append("fused")
    remarks += [f"tied to {other}" for other in facts.names]
    oddity = unusual(name, facts.shape)
    if facts.prunable and oddity:
        remarks.append(f"unusual: {oddity}")

    count = f"{times} times " if times > 1 else ""
    shape = " x ".join(map(str, facts.shape))
    return f"{count}{shape}: {', '.join(remarks)}"


def demo(outcomes: Iterable[Row]) -> Table:
    """The methods that the demo compares."""
    rows = table(["", "test accuracy", "sparsity", "cost in T", "wall time"])
    for row in outcomes:
        add(
            rows,
            row.title,
            f"{row.record.test['accuracy']:.4f}",
            f"{row.record.ticket.sparsity:.1%}",
            f"{row.record.cost.multiple_of_T:.2f}",
            minutes(row.record.seconds.total),
        )
    return rows


def demo_language(outcomes: Iterable[Row]) -> Table:
    """The models that the demo of language compares."""
    rows = Table("", "perplexity", "sparsity", "wall time")
    for row in outcomes:
        record = row.record
        # the clock of the stage after the draw, which only judges here
        seconds = record.seconds.total + sum(record.clock.train.values())
        rows.add_row(
            row.title,
            f"{record.test['perplexity']:.2f}",
            f"{record.ticket.sparsity:.1%}",
            minutes(seconds),
        )
    return rows


def minutes(seconds: float) -> str:
    """A time in seconds or minutes, whichever reads better."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.1f} min"
