"""Show: records, plans and tables as a person reads them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from rich.table import Table

from ..data.text import TextSpec
from ..lab.demo import Row
from ..lab.plan import Plan
from ..methods import Variant


def methods(table: Mapping[str, Variant]) -> Table:
    """Every method, what it is and its knobs."""
    shown = Table("method", "what it does", "knobs and defaults")
    for name, variant in table.items():
        shown.add_row(name, variant.summary, ", ".join(f"{knob}={value!r}" for knob, value in variant.knobs.items()))
    return shown


def tasks(table: Mapping[str, TextSpec]) -> Table:
    """Every task with its columns, classes and metrics."""
    shown = Table("task", "columns", "labels", "metrics", "on the hub")
    for name, spec in table.items():
        hub = "/".join(filter(None, spec.hub)) if spec.hub else "packaged"
        shown.add_row(name, ", ".join(spec.columns), ", ".join(spec.labels) or "a score", ", ".join(spec.metrics), hub)
    return shown


def record(found: Mapping[str, Any]) -> Table:
    """One run."""
    ticket, cost = found["ticket"], found["cost"]
    shown = Table.grid(padding=(0, 2))
    shown.add_row("test", figures(found["test"]))
    shown.add_row("validation", f"{found['validation']:.4f}")
    shown.add_row(
        "sparsity",
        f"{ticket['sparsity']:.4%}  ({ticket['kept']:,} of {ticket['prunable']:,} prunable weights kept; "
        f"{(ticket['prunable'] - ticket['kept']) / ticket['parameters']:.1%} of the whole model pruned)",
    )
    shown.add_row("cost", f"{cost['multiple_of_T']:.2f} T, where T is {cost['full_fine_tune']['steps']:,} steps")
    for stage in ("draw", "train"):
        shown.add_row("", f"{stage}: {bill(cost[stage])}")
    shown.add_row("time", ", ".join(f"{stage} {seconds:.0f} s" for stage, seconds in found["seconds"].items()))
    return shown


def bill(costs: Mapping[str, Mapping[str, int]]) -> str:
    """A bill in one line."""
    parts = (
        f"{purpose} {cost['steps']:,} steps" if cost["steps"] else f"{purpose} {cost['examples']:,} examples"
        for purpose, cost in costs.items()
    )
    return ", ".join(parts) or "nothing"


def figures(found: Mapping[str, float]) -> str:
    """Metrics in one line."""
    return ", ".join(f"{name} {value:.4f}" for name, value in found.items())


def plan(found: Plan) -> Table:
    """What a recipe will cost."""
    shown = Table("stage", "purpose", "steps", "examples", "cost in T")
    for stage, costs in (("draw", found.draw), ("fine-tune", found.train)):
        for purpose, cost in costs.items():
            shown.add_row(stage, purpose, f"{cost.steps:,}", f"{cost.examples:,}", f"{cost.ratio(found.full):.2f}")
    shown.add_row("total", "test left out", "", "", f"{found.ratio:.2f}", style="bold")
    shown.caption = (
        f"T is {found.full.steps:,} steps. {found.flops:.2e} FLOPs, about {minutes(found.seconds)} on this machine. "
        f"Memory: {found.tensors / 2**20:,.0f} MiB of tensors and the activations of a batch; "
        f"{found.peak / 2**20:,.0f} MiB seen while timing."
    )
    return shown


def demo(rows: Iterable[Row]) -> Table:
    """The demo's comparison."""
    shown = Table("", "test accuracy", "sparsity", "cost in T", "wall time")
    for row in rows:
        found = row.record
        shown.add_row(
            row.title,
            f"{found['test']['accuracy']:.4f}",
            f"{found['ticket']['sparsity']:.1%}",
            f"{found['cost']['multiple_of_T']:.2f}",
            minutes(sum(found["seconds"].values())),
        )
    return shown


def minutes(seconds: float) -> str:
    """Seconds as a person says them."""
    return f"{seconds:.0f} s" if seconds < 100 else f"{seconds / 60:.1f} min"
