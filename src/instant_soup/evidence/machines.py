"""Machines: runs as CSV and a comparison as JSON, for programs that go on from there."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from math import isinf
from typing import Any

from ..core.printable import printable
from .comparison import Comparison, Line, Offer
from .ledger import PURPOSES, bill, spent_on
from .runs import Run
from .transfers import Matrix

_FORMULA = ("=", "+", "-", "@")
"""Letters that make a spreadsheet take a text for a formula."""


def tidy(runs: Iterable[Run]) -> str:
    """One row a run, as CSV."""
    columns = [
        "task",
        "sparsity",
        "method",
        "control",
        "seed",
        "metric",
        "figure",
        "validation",
        "cost_in_T",
    ]
    for purpose in (*PURPOSES, "test"):
        columns += [
            f"{purpose}_{unit}" for unit in ("steps", "examples", "flops", "seconds")
        ]
    columns += [
        "seconds",
        "reused_seconds",
        "memory",
        "kept",
        "prunable",
        "key",
        "ticket",
    ]

    out = io.StringIO()
    writer = csv.DictWriter(out, columns, lineterminator="\n")
    writer.writeheader()
    for run in runs:
        writer.writerow({name: _harmless(value) for name, value in _row(run).items()})
    return out.getvalue()


def _harmless(value: Any) -> Any:
    """A text that no spreadsheet takes for a formula, on one line."""
    if not isinstance(value, str):
        return value
    text = printable(value)
    return f"'{text}" if text.startswith(_FORMULA) else text


def _row(run: Run) -> dict[str, Any]:
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

    for purpose in (*PURPOSES, "test"):
        work = spent_on(purpose, run)
        seconds = [stage[purpose] for stage in run.clock.values() if purpose in stage]
        row[f"{purpose}_steps"] = work.steps
        row[f"{purpose}_examples"] = work.examples
        row[f"{purpose}_flops"] = work.flops
        row[f"{purpose}_seconds"] = sum(seconds) if seconds else ""

    return row


def as_json(comparison: Comparison, transfers: Sequence[Matrix] = ()) -> str:
    """Everything, as JSON."""
    silent = [
        {"task": task, "sparsity": sparsity, "why": why}
        for (task, sparsity), why in (comparison.silent or {}).items()
    ]
    whole = {
        "reference": comparison.reference,
        "offers": [_offer(offer) for offer in comparison.offers],
        "lines": [_line(line) for line in comparison.lines],
        "differences": [asdict(pair) for pair in comparison.differences],
        "controls": [asdict(pair) for pair in comparison.controls],
        "equal": [asdict(pair) for pair in comparison.equal],
        "ranks": comparison.ranks and asdict(comparison.ranks),
        "silent": silent,
        "remarks": comparison.remarks,
        "transfers": [_matrix(matrix) for matrix in transfers],
    }

    # NaN is no JSON, and figures that are not numbers are no lines of a comparison: one would be a fault of ours
    return json.dumps(whole, indent=2, allow_nan=False)


def _offer(offer: Offer) -> dict[str, Any]:
    best = []
    for (task, sparsity), line in offer.best.items():
        best.append(
            {
                "task": task,
                "sparsity": sparsity,
                "method": line.method,
                "figure": asdict(line.figure),
                "cost": line.cost.mean,
            }
        )

    # JSON has no infinity
    budget = None if isinf(offer.budget) else offer.budget
    return {"budget": budget, "best": best, "ranks": offer.ranks and asdict(offer.ranks)}


def _line(line: Line) -> dict[str, Any]:
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


def _matrix(matrix: Matrix) -> dict[str, Any]:
    return {
        "method": matrix.method,
        "sparsity": matrix.sparsity,
        "metrics": dict(matrix.targets),
        "figures": _figures(matrix),
    }


def _figures(matrix: Matrix) -> Mapping[str, Mapping[str, float]]:
    """Row -> target -> mean figure."""
    figures: dict[str, dict[str, float]] = {}
    for row in matrix.rows:
        cells = {target: matrix.at(row, target) for target in matrix.targets}
        figures[row] = {target: cell.mean for target, cell in cells.items() if cell}
    return figures
