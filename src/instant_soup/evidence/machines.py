"""Machines: runs as CSV and a comparison as JSON, for programs that go on from there."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from math import isfinite, isinf
from typing import Any

from ..core.printable import printable
from .comparison import Comparison, Offer
from .ledger import PURPOSES, bill, spent_on
from .line import Line
from .runs import Run
from .transfers import Matrix

_FORMULA = ("=", "+", "-", "@")
"""Letters that make a spreadsheet take a text for a formula."""


_BEFORE_PURPOSES = (
    "task",
    "sparsity",
    "method",
    "control",
    "seed",
    "metric",
    "figure",
    "validation",
    "cost_in_T",
)
_BILLED = (*PURPOSES, "test")
_AFTER_PURPOSES = (
    "seconds",
    "reused_seconds",
    "memory",
    "kept",
    "prunable",
    "key",
    "ticket",
)


def as_csv(runs: Iterable[Run]) -> str:
    """One row a run, as CSV."""
    out = io.StringIO()
    # the csv module ends lines as Windows does, which tools that go by lines stumble over
    writer = csv.DictWriter(out, _columns(), lineterminator="\n")
    writer.writeheader()
    for run in runs:
        row = _run_row(run)
        for name, value in row.items():
            row[name] = _harmless(value)
        writer.writerow(row)
    return out.getvalue()


def _columns() -> list[str]:
    columns = list(_BEFORE_PURPOSES)
    for purpose in _BILLED:
        for unit in ("steps", "examples", "flops", "seconds"):
            columns.append(f"{purpose}_{unit}")
    return [*columns, *_AFTER_PURPOSES]


def _harmless(value: Any) -> Any:
    """A text that no spreadsheet takes for a formula, on one line."""
    if not isinstance(value, str):
        return value
    text = printable(value)
    # spreadsheets take what follows an apostrophe as text, and do not show the apostrophe
    return f"'{text}" if text.startswith(_FORMULA) else text


def _run_row(run: Run) -> dict[str, Any]:
    ticket = run.record.ticket
    row: dict[str, Any] = {
        "task": run.task,
        "sparsity": run.sparsity,
        "method": run.method,
        "control": run.control or "",
        "seed": run.seed,
        "metric": run.metric,
        "figure": run.figure,
        "validation": run.validation,
        "cost_in_T": run.cost,
        "seconds": run.seconds,
        "reused_seconds": run.reused_seconds,
        "memory": run.memory or "",
        "kept": ticket.kept,
        "prunable": ticket.prunable,
        "key": run.key,
        "ticket": ticket.digest,
    }

    for purpose in _BILLED:
        cost = spent_on(purpose, run)
        seconds = [stage[purpose] for stage in run.clock.values() if purpose in stage]
        row[f"{purpose}_steps"] = cost.steps
        row[f"{purpose}_examples"] = cost.examples
        row[f"{purpose}_flops"] = cost.flops
        # an empty cell is what no record says, a zero what took no time
        row[f"{purpose}_seconds"] = sum(seconds) if seconds else ""

    return row


def as_json(comparison: Comparison, transfers: Sequence[Matrix] = ()) -> str:
    """Everything, as JSON."""
    silent = []
    for (task, sparsity), why in (comparison.silent or {}).items():
        silent.append({"task": task, "sparsity": sparsity, "why": why})

    facts = {
        "reference": comparison.reference,
        "offers": [_offer_facts(offer) for offer in comparison.offers],
        "lines": [_line_facts(line) for line in comparison.lines],
        "differences": [asdict(pair) for pair in comparison.differences],
        "controls": [asdict(pair) for pair in comparison.controls],
        "equal": [asdict(pair) for pair in comparison.equal],
        "ranks": comparison.ranks and asdict(comparison.ranks),
        "silent": silent,
        "remarks": comparison.remarks,
        "transfers": [_matrix_facts(matrix) for matrix in transfers],
    }

    # NaN is no JSON; lines hold finite figures only, so a NaN would be a fault of ours and is not written
    return json.dumps(facts, indent=2, allow_nan=False)


def _offer_facts(offer: Offer) -> dict[str, Any]:
    best = []
    for (task, sparsity), line in offer.best.items():
        best.append(
            {
                "task": task,
                "sparsity": sparsity,
                "method": line.method,
                "figure": asdict(line.figure),
                "validation": line.validation if isfinite(line.validation) else None,
                "cost": line.cost.mean,
                "level": [other.method for other in offer.level.get(line.block, ())],
            }
        )

    # JSON has no infinity
    budget = None if isinf(offer.budget) else offer.budget
    ranks = offer.ranks and asdict(offer.ranks)
    return {"budget": budget, "best": best, "ranks": ranks, "leaders": offer.leaders}


def _line_facts(line: Line) -> dict[str, Any]:
    facts: dict[str, Any] = {
        "task": line.task,
        "sparsity": line.sparsity,
        "method": line.method,
        "control": line.control,
        "metric": line.metric,
        "frontier": line.frontier,
        "figure": asdict(line.figure),
        "cost": asdict(line.cost),
        "steps_in_T": line.steps,
        "figures": line.by_seed,
        "keys": [run.key for run in line.runs],
        "bill": asdict(bill(line)),
    }
    if line.recovery:
        facts["recovery"] = asdict(line.recovery)

    return facts


def _matrix_facts(matrix: Matrix) -> dict[str, Any]:
    return {
        "method": matrix.method,
        "sparsity": matrix.sparsity,
        "metrics": dict(matrix.targets),
        "figures": _mean_figures(matrix),
    }


def _mean_figures(matrix: Matrix) -> Mapping[str, Mapping[str, float]]:
    """Row -> target -> mean figure."""
    figures: dict[str, dict[str, float]] = {}
    for row in matrix.rows:
        figures[row] = {}
        for target in matrix.targets:
            figure = matrix.at(row, target)
            if figure is not None:
                figures[row][target] = figure.mean
    return figures
