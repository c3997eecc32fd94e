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
        method = recipe["method"]
        return (
            run.metric == self.metric
            and recipe["task"]["name"] == self.task
            and recipe["task"]["model"] == self.model
            and method["name"] == self.method
            and method.get("pattern", UNSTRUCTURED) == self.pattern
            and abs(run.sparsity - self.sparsity) < 1e-9
            and not run.control
        )


def read(path: Path) -> list[Published]:
    """The figures in the file at *path*. Raises StoreError when it cannot be read, or a figure lacks something."""
    # reading a pipe would wait for ever
    if path.exists() and not path.is_file():
        raise StoreError(f"{path} is no regular file; give a file of published figures")
    try:
        whole = tomllib.loads(path.read_text(encoding="utf-8"))
        tables: list[dict[str, Any]] = whole["figure"]
        return [Published(**table) for table in tables]
    except (OSError, ValueError, KeyError, TypeError) as reason:
        expected = ", ".join(field.name for field in fields(Published))
        raise StoreError(
            f"{path} holds no published figures ({reason}); expected [[figure]] with {expected}"
        ) from reason


def beside(figures: Sequence[Published], runs: Iterable[Run]) -> list[list[str]]:
    """A table of cells, its head first: each figure, what was reached here in as many seeds, and both protocols."""
    known = list(runs)
    rows = [HEADS]
    for figure in figures:
        own = [run for run in known if figure.matches(run)]
        pattern = "" if figure.pattern == UNSTRUCTURED else f", {figure.pattern}"
        reached = "not run"
        protocol = ""
        if own:
            reached = f"{sum(run.figure for run in own) / len(own):.2f}"
            protocol = _protocol(own[0])

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
