"""The harness is called with the pruned model, and its numbers are taken over."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from typer.testing import CliRunner

from instant_soup.cli.main import app
from instant_soup.core.errors import DataError, MissingExtra
from instant_soup.methods import METHODS
from instant_soup.recipes.recipe import Recipe
from instant_soup.runs.harness import figures, harness
from instant_soup.tasks import language

from .stand_in import fake


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


def test_the_command_puts_the_figures_of_the_harness_beside_perplexity(
    monkeypatch: pytest.MonkeyPatch, ending_llama: Path, letters: Path, tmp_path: Path
) -> None:
    """What is judged are the pruned weights, with the tokenizer of the model."""
    judged: list[Any] = []

    def evaluate(**options: Any) -> dict[str, Any]:
        judged.append(options)
        return {"results": {name: {"acc,none": 0.5} for name in options["tasks"]}}

    fake(monkeypatch, evaluate)
    task = language("mine", model=str(ending_llama), data=letters, window=32)
    ticket = METHODS["magnitude"](across="layer").draw(task, 0.5)
    ticket.save(tmp_path / "ticket.safetensors")
    recipe = {
        "task": {"name": "mine", "kind": "language", "model": str(ending_llama)},
        "data": {"folder": str(letters), "window": 32},
        "method": {"name": "magnitude"},
        "sparsity": 0.5,
        "budget": 0.0,
    }
    path = tmp_path / "recipe.toml"
    path.write_text(Recipe.parse(recipe).toml(), encoding="utf-8")
    words = ["evaluate", str(tmp_path / "ticket.safetensors"), str(path), "--quiet"]

    result = CliRunner().invoke(app, [*words, "--json", "--lm-eval", "arc_easy, boolq"])
    assert result.exit_code == 0, result.output
    test = json.loads(result.stdout)["test"]
    assert test["perplexity"] > 1
    assert (test["arc_easy/acc"], test["boolq/acc"]) == (0.5, 0.5)

    model, tokenizer = judged[0]["model"]
    assert judged[0]["tasks"] == ["arc_easy", "boolq"]
    assert len(tokenizer) > 10
    for name in ticket.mask:
        weight = model.get_parameter(name)
        expected = task.course.model.get_parameter(name) * ticket.mask[name]
        assert torch.equal(weight, expected)

    shown = CliRunner().invoke(app, [*words, "--lm-eval", "arc_easy"])
    assert "arc_easy/acc 0.5000" in shown.stdout

    # told before anything is trained
    monkeypatch.setitem(sys.modules, "lm_eval", None)
    refused = CliRunner().invoke(app, [*words, "--lm-eval", "arc_easy"])
    assert refused.exit_code == 2
    assert "lm-eval" in refused.output
