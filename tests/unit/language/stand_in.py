"""A harness that stands in for lm-eval."""

from __future__ import annotations

import sys
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

VERSION = "0.stand-in"
TASKS = ["arc_easy", "boolq", "hellaswag"]


def fake(monkeypatch: pytest.MonkeyPatch, evaluate: Any) -> None:
    """Let *evaluate* be what lm-eval judges with."""
    whole: Any = ModuleType("lm_eval")
    whole.simple_evaluate = evaluate
    whole.__version__ = VERSION
    tasks: Any = ModuleType("lm_eval.tasks")
    tasks.TaskManager = lambda: SimpleNamespace(all_tasks=TASKS)
    inner: Any = ModuleType("lm_eval.models.huggingface")
    inner.HFLM = lambda pretrained, tokenizer: (pretrained, tokenizer)

    monkeypatch.setitem(sys.modules, "lm_eval", whole)
    monkeypatch.setitem(sys.modules, "lm_eval.tasks", tasks)
    monkeypatch.setitem(sys.modules, "lm_eval.models", ModuleType("lm_eval.models"))
    monkeypatch.setitem(sys.modules, "lm_eval.models.huggingface", inner)
