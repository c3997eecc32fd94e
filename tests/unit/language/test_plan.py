"""Plans of language tasks say what the loaded task says, and load no weights."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from instant_soup.cli.main import app
from instant_soup.core.errors import DataError
from instant_soup.models import decoder, tiny
from instant_soup.recipes.recipe import Recipe
from instant_soup.runs.run import build
from instant_soup.runs.sizes import Sizes
from instant_soup.runs.windows import language_sizes


def recipe(model: object, data: dict[str, Any], name: str = "mine") -> Recipe:
    return Recipe.parse(
        {
            "task": {"name": name, "kind": "language", "model": str(model)},
            "data": {key: _plain(value) for key, value in data.items()},
            "method": {"name": "wanda", "samples": 6},
            "sparsity": 0.5,
            "training": {"batch": 4},
        }
    )


def _plain(value: object) -> object:
    return str(value) if isinstance(value, Path) else value


@pytest.mark.parametrize(
    "more", [{}, {"window": 32}, {"window": 16, "limit": 20, "windows": 3}]
)
def test_sizes_are_those_of_the_loaded_task(
    more: dict[str, Any],
    decoder_folder: Path,
    letters: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    wanted = recipe(decoder_folder, {"folder": letters, **more})
    loaded = build(wanted)

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("weights were loaded")

    monkeypatch.setattr(decoder.AutoModelForCausalLM, "from_pretrained", refuse)
    sizes = language_sizes(wanted)
    assert replace(sizes, remarks=()) == Sizes.of(loaded)
    prunable = loaded.course.scope.size
    weights = sum(weight.numel() for weight in loaded.course.model.parameters())
    assert sizes.remarks == (
        f"The model has {weights:,} weights, {prunable:,} of them prunable",
    )


def test_what_is_not_here_is_planned_by_the_numbers_of_the_recipe(
    llama: Path, letters: Path
) -> None:
    """A model of the hub has no tokenizer here, and a text of the hub, or a folder to come, is not read."""
    known = {"window": 32, "limit": 40, "validation": 0.1}
    for model, folder in (
        ("nobody/nothing", letters),
        (llama, "language/c4"),
        (llama, Path("nowhere")),
    ):
        wanted = recipe(model, {"folder": folder, **known}, "language/wikitext2")
        sizes = language_sizes(wanted)
        assert (sizes.train, sizes.validation, sizes.test) == (36, 4, 0)
        assert "as data.limit says, 40" in " ".join(sizes.remarks)
        assert "how many windows are judged on is not known" in sizes.remarks[-1]

        fields = wanted.model_dump()
        fields["data"]["windows"] = 7
        assert language_sizes(Recipe.parse(fields)).test == 7

        fields["data"]["limit"] = None
        with pytest.raises(DataError, match=r"plan fetches nothing; set data\.limit"):
            language_sizes(Recipe.parse(fields))


def test_a_plan_refuses_what_a_run_refuses(
    llama: Path, letters: Path, tmp_path: Path
) -> None:
    (tmp_path / "short").mkdir()
    (tmp_path / "short" / "train.txt").write_text("soup", encoding="utf-8")
    for model, data, words in (
        (tiny.bert(tmp_path / "bert"), {"folder": letters}, "no causal language model"),
        (llama, {"folder": letters, "window": 65}, "the model reads 2 to 64"),
        (llama, {"folder": tmp_path / "short", "window": 32}, "fewer than a window"),
        (llama, {"folder": letters, "window": 32, "limit": 1 + 1, "validation": 0.9}, "no window"),
    ):  # fmt: skip
        with pytest.raises(DataError, match=words):
            language_sizes(recipe(model, data))


def test_the_command_says_what_a_language_model_costs_from_its_configuration_alone(
    llama: Path, letters: Path, tmp_path: Path
) -> None:
    model = tmp_path / "model"
    shutil.copytree(llama, model)
    for weights in model.glob("*.safetensors"):
        weights.unlink()
    wanted = recipe(model, {"folder": letters, "window": 32})
    path = tmp_path / "recipe.toml"
    path.write_text(wanted.toml(), encoding="utf-8")

    result = CliRunner().invoke(app, ["plan", str(path)])
    assert result.exit_code == 0, result.output
    assert "of them prunable." in result.output
    result = CliRunner().invoke(app, ["plan", str(path), "--json"])
    plan = json.loads(result.stdout)
    assert plan["draw"]["score"]["examples"] == 6
    assert "of them prunable" in plan["remarks"][0]
