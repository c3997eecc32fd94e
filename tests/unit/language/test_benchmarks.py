"""A run may be judged by tasks of lm-eval, whenever somebody asks for it."""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from click.testing import Result
from typer.testing import CliRunner

from instant_soup.cli.main import app
from instant_soup.core.ticket import Ticket
from instant_soup.recipes.recipe import Recipe
from instant_soup.store import index
from instant_soup.store.record import read_run
from instant_soup.store.store import Store

from .stand_in import VERSION, fake

REAL = "lm-eval is not installed (pip install 'instant-soup[lm-eval]')"


def fields_of(llama: Path, letters: Path) -> dict[str, Any]:
    return {
        "task": {"name": "mine", "kind": "language", "model": str(llama)},
        "data": {"folder": str(letters), "window": 32},
        "method": {"name": "magnitude", "across": "layer", "pattern": "2:4"},
        "sparsity": 0.5,
        "training": {"steps": 4, "batch": 4, "device": "cpu"},
        "budget": 1.0,
    }


@pytest.fixture
def recipe(ending_llama: Path, letters: Path, tmp_path: Path) -> Path:
    path = tmp_path / "recipe.toml"
    fields = fields_of(ending_llama, letters)
    path.write_text(Recipe.parse(fields).toml(), encoding="utf-8")
    return path


class Harness:
    """Stands in for lm-eval, and keeps what it is asked for."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.asked: list[dict[str, Any]] = []
        self.figure = 0.5
        fake(monkeypatch, self.evaluate)

    def evaluate(self, **options: Any) -> dict[str, Any]:
        self.asked.append(options)
        entries = {"acc,none": self.figure, "acc_stderr,none": 0.01}
        return {"results": dict.fromkeys(options["tasks"], entries)}


@pytest.fixture
def harness(monkeypatch: pytest.MonkeyPatch) -> Harness:
    return Harness(monkeypatch)


def run(recipe: Path, *more: str) -> Result:
    out = str(recipe.parent / "runs")
    return CliRunner().invoke(app, ["run", str(recipe), "--out", out, "--quiet", *more])


def test_a_run_is_judged_by_its_trained_and_masked_weights_and_says_so_in_its_record(
    harness: Harness, recipe: Path
) -> None:
    plain = json.loads(run(recipe, "--json").stdout)
    assert not harness.asked
    result = run(recipe, "--lm-eval", "hellaswag, arc_easy", "--json")
    assert result.exit_code == 0, result.output
    record = json.loads(result.stdout)
    figures = {"hellaswag/acc": 0.5, "arc_easy/acc": 0.5}
    assert record["test"] == plain["test"] | figures
    assert record["metric"] == "perplexity"
    assert record["made"]["packages"]["lm-eval"] == VERSION
    assert record["judged"]["lm-eval"] == {"hellaswag": VERSION, "arc_easy": VERSION}

    # no part of the key, of the recipe, or of anything else
    assert record["key"] == plain["key"]
    added = ("test", "made", "judged", "checksum")
    for name, value in plain.items():
        assert name in added or record[name] == value

    cell = Store(recipe.parent / "runs").cell(Recipe.read(recipe))
    assert read_run(cell.record).facts() == record
    [asked] = harness.asked
    model, tokenizer = asked["model"]
    assert len(tokenizer) > 10
    weights = cell.load_model()
    mask = Ticket.load(cell.ticket).mask
    for name in mask:
        assert torch.equal(model.get_parameter(name), weights[name])
        assert not (model.get_parameter(name) * ~mask[name]).any()


def test_what_was_judged_is_not_judged_again_and_more_is_added(
    harness: Harness, recipe: Path
) -> None:
    first = run(recipe, "--lm-eval", "hellaswag")
    assert first.exit_code == 0, first.output
    assert "hellaswag/acc 0.5000" in " ".join(first.stdout.split())
    again = run(recipe, "--lm-eval", "hellaswag")
    assert "Read back: this run was done before" in again.stdout

    harness.figure = 0.25
    more = json.loads(run(recipe, "--lm-eval", "hellaswag,boolq", "--json").stdout)
    assert [asked["tasks"] for asked in harness.asked] == [["hellaswag"], ["boolq"]]
    assert (more["test"]["hellaswag/acc"], more["test"]["boolq/acc"]) == (0.5, 0.25)

    store = Store(recipe.parent / "runs")
    record = read_run(store.cell(Recipe.read(recipe)).record)
    assert index.read(store)[record.key]["checksum"] == record.checksum
    told = CliRunner().invoke(app, ["doctor", str(store.folder)])
    assert told.exit_code == 0, told.output


@pytest.mark.parametrize(
    ("listed", "words"),
    [
        ("helaswag", "unknown task of lm-eval 'helaswag'"),
        ("hellaswag,", "expected names of tasks with commas between them"),
        ("nowhere.yaml", "no task of lm-eval at nowhere.yaml"),
    ],
)
@pytest.mark.parametrize("command", ["run", "evaluate"])
def test_what_the_harness_does_not_know_is_told_before_anything_is_loaded(
    command: str, listed: str, words: str, harness: Harness, recipe: Path, tmp_path: Path
) -> None:
    result = invoke(command, recipe, tmp_path, listed)
    assert result.exit_code == 2
    assert words in " ".join(result.output.split())
    assert not (tmp_path / "runs").exists()
    assert not harness.asked


def invoke(command: str, recipe: Path, tmp_path: Path, listed: str) -> Result:
    if command == "run":
        return run(recipe, "--lm-eval", listed)
    draw = ["draw", str(recipe), "-o", str(tmp_path / "ticket.safetensors")]
    drawn = CliRunner().invoke(app, [*draw, "--out", str(tmp_path / "drawn"), "--quiet"])
    assert drawn.exit_code == 0, drawn.output
    words = ["evaluate", str(tmp_path / "ticket.safetensors"), str(recipe), "--quiet"]
    return CliRunner().invoke(app, [*words, "--lm-eval", listed])


def test_tasks_of_other_kinds_and_a_missing_package_are_told_before_anything_is_loaded(
    monkeypatch: pytest.MonkeyPatch, recipe: Path, tmp_path: Path
) -> None:
    monkeypatch.setitem(sys.modules, "lm_eval", None)
    result = run(recipe, "--lm-eval", "hellaswag")
    assert result.exit_code == 2
    assert "instant-soup[lm-eval]" in " ".join(result.output.split())

    other = {"task": {"name": "demo/polarity"}, "method": {"name": "magnitude"}}
    recipe.write_text(Recipe.parse({**other, "sparsity": 0.5}).toml(), encoding="utf-8")
    result = run(recipe, "--lm-eval", "hellaswag")
    assert result.exit_code == 2
    words = "--lm-eval judges language models, and 'demo/polarity' is none of their tasks"
    assert words in " ".join(result.output.split())
    assert not (tmp_path / "runs").exists()


def test_a_figure_that_is_not_finite_is_told_and_the_run_stays_as_it_was(
    harness: Harness, recipe: Path
) -> None:
    harness.figure = float("inf")
    result = run(recipe, "--lm-eval", "boolq")
    assert result.exit_code == 2
    assert "boolq/acc is inf by lm-eval" in " ".join(result.output.split())
    store = Store(recipe.parent / "runs")
    record = read_run(store.cell(Recipe.read(recipe)).record)
    assert "lm-eval" not in record.judged
    assert "perplexity" in record.test


def test_a_tokenizer_that_the_harness_cannot_read_with_is_told_before_anything_is_loaded(
    harness: Harness, llama: Path, letters: Path, recipe: Path
) -> None:
    fields = fields_of(llama, letters)
    recipe.write_text(Recipe.parse(fields).toml(), encoding="utf-8")
    result = run(recipe, "--lm-eval", "boolq")
    assert result.exit_code == 2
    assert "has neither a bos_token nor an eos_token" in " ".join(result.output.split())
    assert not (recipe.parent / "runs").exists()


def test_ranks_are_told_to_judge_alone(
    monkeypatch: pytest.MonkeyPatch, harness: Harness, recipe: Path
) -> None:
    monkeypatch.setattr("instant_soup.cli.run.launched", lambda: True)
    result = run(recipe, "--lm-eval", "boolq")
    assert result.exit_code == 2
    assert "is done by one process" in " ".join(result.output.split())


@pytest.mark.skipif(importlib.util.find_spec("lm_eval") is None, reason=REAL)
def test_the_real_harness_judges_a_task_of_ones_own(recipe: Path, tmp_path: Path) -> None:
    """From two local files, without a network."""
    rows = [
        {"text": "the film was very", "choices": ["good", "bad"], "label": number % 2}
        for number in range(6)
    ]
    lines = [json.dumps(row) for row in rows]
    (tmp_path / "rows.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    task = f"""task: own_words
dataset_path: json
dataset_kwargs:
  data_files:
    test: {tmp_path / "rows.jsonl"}
output_type: multiple_choice
test_split: test
doc_to_text: "{{{{text}}}}"
doc_to_choice: "{{{{choices}}}}"
doc_to_target: label
metric_list:
  - metric: acc
"""
    path = tmp_path / "own_words.yaml"
    path.write_text(task, encoding="utf-8")
    result = run(recipe, "--lm-eval", str(path), "--json")
    assert result.exit_code == 0, result.output
    record = json.loads(result.stdout)
    # the same question six times, and each answer is right three times
    assert record["test"]["own_words/acc"] == 0.5
    assert record["made"]["packages"]["lm-eval"] not in ("", VERSION)
    assert [*record["judged"]["lm-eval"]] == [str(path)]
