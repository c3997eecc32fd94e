"""Published: figures that papers print, set beside what was reached here.

A file of figures is TOML: a table ``[[figure]]`` for each, with model, method, sparsity, pattern, metric, value, source
and protocol. What is published under another protocol is no measure of a run here, so both protocols are shown.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from ..core.errors import StoreError
from ..core.pattern import UNSTRUCTURED
from .runs import Run

HEADS = [
    "model",
    "method",
    "pruned",
    "metric",
    "published",
    "here",
    "source",
    "protocol there",
    "protocol here",
]


@dataclass(frozen=True)
class Published:
    """A figure that a paper prints.

    Attributes:
        source: which paper, and which table of it.
        protocol: how it was measured, and what was calibrated on.
        budget: for how many T the ticket was trained before; papers on calibration judge it as it was drawn.
    """

    task: str
    model: str
    method: str
    sparsity: float
    metric: str
    value: float
    source: str
    protocol: str
    pattern: str = UNSTRUCTURED
    budget: float = 0.0

    def matches(self, run: Run) -> bool:
        """Whether *run* is of the same model, method, sparsity, pattern and budget, and judged by the same metric."""
        recipe = run.record.recipe.facts()
        task = recipe["task"]
        method = recipe["method"]

        if run.control or run.metric != self.metric:
            return False
        if task["name"] != self.task or task["model"] != self.model:
            return False
        # records from before there were patterns have none
        pattern = method.get("pattern", UNSTRUCTURED)
        if method["name"] != self.method or pattern != self.pattern:
            return False
        if run.record.recipe.budget != self.budget:
            return False
        return abs(run.sparsity - self.sparsity) < 1e-9


def read_published(path: Path) -> list[Published]:
    """The figures in the file at *path*. Raises StoreError when it cannot be read, or a figure lacks something."""
    # reading a pipe would wait for ever
    if path.exists() and not path.is_file():
        raise StoreError(f"{path} is no regular file; give a file of published figures")
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
        tables: list[dict[str, Any]] = content["figure"]
        return [Published(**table) for table in tables]
    except (OSError, ValueError, KeyError, TypeError) as reason:
        # no file, no TOML, no table [[figure]], and a figure with other fields, in this order
        expected = ", ".join(field.name for field in fields(Published))
        raise StoreError(
            f"{path} holds no published figures ({reason}); expected [[figure]] with {expected}"
        ) from reason


def published_rows(figures: Sequence[Published], runs: Iterable[Run]) -> list[list[str]]:
    """A table of cells, its head first: each figure, what was reached here, and both protocols.

    Runs under several protocols, or of several variants of the method, have a row for each, the mean over their seeds.
    """
    all_runs = list(runs)
    rows = [HEADS]
    for figure in figures:
        by_protocol: dict[str, list[float]] = {}
        for run in all_runs:
            if figure.matches(run):
                by_protocol.setdefault(_protocol(run), []).append(run.figure)
        if not by_protocol:
            rows.append(_row(figure, [], ""))

        for protocol, reached in sorted(by_protocol.items()):
            rows.append(_row(figure, reached, protocol))
    return rows


def _row(figure: Published, reached: Sequence[float], protocol: str) -> list[str]:
    """One figure beside what was *reached* here under one protocol, by each seed."""
    pattern = "" if figure.pattern == UNSTRUCTURED else f", {figure.pattern}"
    measured = "not run"
    if reached:
        measured = f"{sum(reached) / len(reached):.2f}"
        protocol += f"; {len(reached)} seed{'s' * (len(reached) > 1)}"

    return [
        figure.model,
        figure.method,
        f"{figure.sparsity:.0%}{pattern}",
        figure.metric,
        f"{figure.value:g}",
        measured,
        figure.source,
        figure.protocol,
        protocol,
    ]


def _protocol(run: Run) -> str:
    """How *run* was judged, and what variant of its method it is."""
    judged = run.record.judged
    if not judged:
        return run.method
    return (
        f"{run.method}: L {judged['L']}, {judged['tokens']:,} tokens of {judged['text']}"
    )
