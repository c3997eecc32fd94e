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

    def matches(self, run: Run) -> bool:
        """Whether *run* is of the same model, method, sparsity and pattern, and judged by the same metric."""
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
    """A table of cells, its head first: each figure, what was reached here in as many seeds, and both protocols."""
    all_runs = list(runs)
    rows = [HEADS]
    for figure in figures:
        matching = [run for run in all_runs if figure.matches(run)]
        pattern = "" if figure.pattern == UNSTRUCTURED else f", {figure.pattern}"
        reached = "not run"
        protocol = ""
        if matching:
            mean = sum(run.figure for run in matching) / len(matching)
            reached = f"{mean:.2f}"
            protocol = _protocol(matching[0])

        rows.append(
            [
                figure.model,
                figure.method,
                f"{figure.sparsity:.0%}{pattern}",
                figure.metric,
                f"{figure.value:g}",
                reached,
                figure.source,
                figure.protocol,
                protocol,
            ]
        )

    return rows


def _protocol(run: Run) -> str:
    judged = run.record.judged
    if not judged:
        return ""
    return f"L {judged['L']}, {judged['tokens']:,} tokens of {judged['text']}"
