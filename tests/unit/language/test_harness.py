"""The harness is called with the pruned model, and its numbers are taken over."""

from __future__ import annotations

import sys
from types import ModuleType
from typing import Any

import pytest
from torch import nn

from instant_soup.core.errors import DataError, MissingExtra
from instant_soup.runs.harness import figures, harness


def fake(monkeypatch: pytest.MonkeyPatch, evaluate: Any) -> None:
    whole, inner = ModuleType("lm_eval"), ModuleType("lm_eval.models.huggingface")
    whole.simple_evaluate = evaluate  # type: ignore[attr-defined]
    inner.HFLM = lambda pretrained, tokenizer: (pretrained, tokenizer)  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "lm_eval", whole)
    monkeypatch.setitem(sys.modules, "lm_eval.models", ModuleType("lm_eval.models"))
    monkeypatch.setitem(sys.modules, "lm_eval.models.huggingface", inner)


def test_figures_of_the_harness_come_back_by_task(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked: dict[str, Any] = {}

    def evaluate(**options: Any) -> dict[str, Any]:
        asked.update(options)
        entries = {
            "acc,none": 0.5,
            "acc_stderr,none": 0.01,
            "alias": "arc",
            "acc_norm,none": 0.6,
        }
        return {"results": {"arc_easy": entries}}

    fake(monkeypatch, evaluate)
    model = nn.Linear(2, 2)
    found = harness(model, "tokenizer", ["arc_easy"], limit=3)  # type: ignore[arg-type]
    assert found == {"arc_easy/acc": 0.5, "arc_easy/acc_norm": 0.6}
    assert asked["model"] == (model, "tokenizer")
    assert (asked["tasks"], asked["limit"]) == (["arc_easy"], 3)
    assert figures({}) == {}


def test_a_task_that_the_harness_does_not_know_and_a_missing_package_are_told(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def evaluate(**options: Any) -> dict[str, Any]:
        raise KeyError("nonsense")

    fake(monkeypatch, evaluate)
    with pytest.raises(DataError, match="could not judge nonsense"):
        harness(nn.Linear(2, 2), "tokenizer", ["nonsense"])  # type: ignore[arg-type]
    monkeypatch.setitem(sys.modules, "lm_eval", None)
    with pytest.raises(MissingExtra, match=r"instant-soup\[lm-eval\]"):
        harness(nn.Linear(2, 2), "tokenizer", ["arc_easy"])  # type: ignore[arg-type]
