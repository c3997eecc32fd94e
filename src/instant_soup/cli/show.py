"""Show: records, plans and tables as a person reads them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping

from rich.console import Group
from rich.table import Table
from rich.tree import Tree

from ..core.budget import Cost
from ..core.names.layers import without_numbers
from ..core.parameters import Part, Survey
from ..data.images import ImageSpec
from ..data.language import LanguageSpec
from ..data.text import TextSpec
from ..methods import Variant
from ..recipes.recipe import Recipe
from ..runs.demo import Row
from ..runs.plan import Plan
from ..runs.scaling import Spread
from ..store.record import Record


def methods(table: Mapping[str, Variant]) -> Table:
    """Every method, what it is and its knobs."""
    shown = Table("method", "what it does", "knobs and defaults")
    for name, variant in table.items():
        knobs = ", ".join(f"{knob}={value!r}" for knob, value in variant.knobs.items())
        presets = f"\npresets: {', '.join(variant.presets)}" if variant.presets else ""
        shown.add_row(name, variant.summary, knobs + presets)
    return shown


def tasks(table: Mapping[str, TextSpec | ImageSpec | LanguageSpec]) -> Table:
    """Every task with its columns, classes and metrics."""
    shown = Table("task", "columns", "labels", "metrics", "on the hub")
    for name, spec in table.items():
        hub = "/".join(filter(None, spec.hub)) if spec.hub else "packaged"
        if isinstance(spec, TextSpec):
            columns, labels = ", ".join(spec.columns), ", ".join(spec.labels) or "a score"
        elif isinstance(spec, LanguageSpec):
            columns, labels = "text", "the next token"
        else:
            columns, labels = spec.image, f"{spec.classes} classes"
        shown.add_row(name, columns, labels, ", ".join(spec.metrics), hub)
    return shown


def record(outcome: Record) -> Table:
    """One run."""
    ticket = outcome.ticket
    cost = outcome.cost
    pruned = (ticket.prunable - ticket.kept) / ticket.parameters

    shown = Table.grid(padding=(0, 2))
    shown.add_row("test", figures(outcome.test))
    shown.add_row("validation", f"{outcome.validation:.4f}")
    shown.add_row(
        "sparsity",
        f"{ticket.sparsity:.4%}  ({ticket.kept:,} of {ticket.prunable:,} prunable weights kept; "
        f"{pruned:.1%} of the whole model pruned)",
    )
    shown.add_row("cost", f"{cost.multiple_of_T:.2f} T, where T is {cost.full_fine_tune.steps:,} steps")
    for stage, costs in cost.stages.items():
        shown.add_row("", f"{stage}: {bill(costs)}")
    shown.add_row("time", f"draw {outcome.seconds.draw:.0f} s, train {outcome.seconds.train:.0f} s")
    return shown


def bill(costs: Mapping[str, Cost]) -> str:
    """A bill in one line."""
    parts = (
        f"{purpose} {cost.steps:,} steps" if cost.steps else f"{purpose} {cost.examples:,} examples"
        for purpose, cost in costs.items()
    )
    return ", ".join(parts) or "nothing"


def figures(test: Mapping[str, float]) -> str:
    """Metrics in one line."""
    return ", ".join(f"{name} {value:.4f}" for name, value in test.items())


def plan(found: Plan) -> Table:
    """What a recipe will cost."""
    shown = Table("stage", "purpose", "steps", "examples", "cost in T")
    for stage, costs in (("draw", found.draw), ("fine-tune", found.train)):
        for purpose, cost in costs.items():
            shown.add_row(stage, purpose, f"{cost.steps:,}", f"{cost.examples:,}", f"{cost.ratio(found.full):.2f}")
    shown.add_row("total", "test left out", "", "", f"{found.ratio:.2f}", style="bold")
    shown.caption = f"T is {found.full.steps:,} steps. "
    if (timing := found.timing) is None:
        shown.caption += "Known without loading anything; --timed loads model and data, and measures a few steps."
    else:
        shown.caption += (
            f"{timing.flops:.2e} FLOPs, about {minutes(timing.seconds)} on this machine. "
            f"Memory: {timing.tensors / 2**20:,.0f} MiB of tensors and the activations of a batch; "
            f"{timing.peak / 2**20:,.0f} MiB seen while timing."
        )
    return shown


def spread(found: Iterable[Spread]) -> Table:
    """What numbers of workers make of a run."""
    shown = Table("workers", "steps in a row", "time", "sent a round", "returned a round", "memory each")
    for one in found:
        moved = (f"{size / 2**20:,.1f} MiB" for size in (one.out, one.back, one.memory))
        shown.add_row(str(one.workers), f"{one.steps:,}", minutes(one.seconds), *moved)
    shown.caption = (
        "At most, with a node for each worker and 10 Gbit/s between them; docs/scaling.md says how this is known."
    )
    return shown


def plans(found: Mapping[str, tuple[Recipe, Plan]]) -> Table:
    """What each cell of a file of recipes will cost."""
    shown = Table("cell", "method", "sparsity", "T in steps", "steps in all", "cost in T")
    for name, (recipe, cost) in found.items():
        of, line = recipe.method["name"], (f"{cost.full.steps:,}", f"{cost.total.steps:,}", f"{cost.ratio:.2f}")
        shown.add_row(name, of, f"{recipe.sparsity:.0%}", *line)
    return shown


def survey(recipe: Recipe, found: Survey) -> Group:
    """A model as a tree: what may be pruned, what is trained densely, what is frozen."""
    root = Tree(f"{recipe.task.model}, as {recipe.task.name} learns with it")
    branches: dict[tuple[str, ...], Tree] = {(): root}
    for (path, part), times in _alike(found).items():
        for depth in range(1, len(path)):
            if path[:depth] not in branches:
                branches[path[:depth]] = branches[path[: depth - 1]].add(path[depth - 1])
        branches[path[:-1]].add(f"{path[-1]}  {_part(part, times)}", style=None if part.prunable else "dim")
    shares = Table.grid(padding=(0, 2))
    for name, size in (("prunable", found.prunable), ("encoder", found.encoder), ("whole model", found.whole)):
        pruned = recipe.sparsity * found.prunable / size
        shares.add_row(name, f"{size:,}", f"sparsity {recipe.sparsity:.0%} prunes {pruned:.1%} of it")
    return Group(root, "", shares)


def _alike(found: Survey) -> Counter[tuple[tuple[str, ...], Part]]:
    """How many parameters there are of each path and kind, with the numbered layers of a stack taken as one."""
    return Counter(
        (tuple(step.replace("#", "0 ..") for step in without_numbers(name, "#").split(".")), part)
        for name, part in found.parts.items()
    )


def _part(part: Part, times: int) -> str:
    state = "in scope" if part.prunable else "trained densely" if part.trained else "frozen"
    marks = [*(["fused"] if part.fused else []), *(f"tied to {name}" for name in part.names)]
    count = f"{times} times " if times > 1 else ""
    return f"{count}{' x '.join(map(str, part.shape))}: {', '.join([state, *marks])}"


def demo(rows: Iterable[Row]) -> Table:
    """The demo's comparison."""
    shown = Table("", "test accuracy", "sparsity", "cost in T", "wall time")
    for row in rows:
        shown.add_row(
            row.title,
            f"{row.record.test['accuracy']:.4f}",
            f"{row.record.ticket.sparsity:.1%}",
            f"{row.record.cost.multiple_of_T:.2f}",
            minutes(row.record.seconds.total),
        )
    return shown


def minutes(seconds: float) -> str:
    """Seconds as a person says them."""
    return f"{seconds:.0f} s" if seconds < 100 else f"{seconds / 60:.1f} min"
