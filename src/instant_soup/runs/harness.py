"""Harness: a pruned language model on common benchmarks, by lm-evaluation-harness."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch import nn
from transformers import PreTrainedTokenizerBase

from ..core.errors import DataError
from ..core.extras import extra


def harness(
    model: nn.Module,
    tokenizer: PreTrainedTokenizerBase,
    tasks: Sequence[str],
    *,
    limit: int | None = None,
) -> dict[str, float]:
    """What *model* reaches on *tasks* of the harness, by task and figure, such as ``"arc_easy/acc"``.

    Args:
        model: a causal language model, zero where a ticket prunes.
        tasks: as the harness names them, such as ``"hellaswag"``.
        limit: examples of each task; all if None.

    Raises:
        MissingExtra: lm-eval is not installed.
        DataError: the harness knows no such task, or cannot load its data.
    """
    lm_eval = extra("lm_eval", "lm-eval", "judging by benchmarks")
    wrapper = extra("lm_eval.models.huggingface", "lm-eval", "judging by benchmarks").HFLM

    try:
        judged = wrapper(pretrained=model.eval(), tokenizer=tokenizer)
        outcome: Mapping[str, Any] = lm_eval.simple_evaluate(
            model=judged, tasks=list(tasks), limit=limit
        )
    except (KeyError, ValueError, OSError) as reason:
        # what it raises for names and for data out of reach
        raise DataError(
            f"lm-eval could not judge {', '.join(tasks)} ({reason}); check the names and the hub"
        ) from reason

    return figures(outcome["results"])


def figures(results: Mapping[str, Mapping[str, Any]]) -> dict[str, float]:
    """The numbers in the harness's *results*, without their standard errors; ``acc,none`` becomes ``TASK/acc``."""
    numbers = {}
    for task, entries in results.items():
        for name, value in entries.items():
            # behind the comma stands the harness's filter of answers
            figure = name.partition(",")[0]
            if isinstance(value, float) and not figure.endswith("_stderr"):
                numbers[f"{task}/{figure}"] = value
    return numbers
