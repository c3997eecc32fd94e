from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import instant_soup as soup
from instant_soup.runs.memory import LIBRARIES, SPARE, memory
from instant_soup.store.plain import seal, write_json
from instant_soup.store.store import Store

RECORD = Path(__file__).parents[2] / "corpus" / "records" / "schema-4-gradual.json"


def test_a_checkpoint_says_what_a_run_on_it_takes(
    mini_recipe: dict[str, Any], tmp_path: Path
) -> None:
    recipe = soup.Recipe.parse(mini_recipe)
    weights = (Path(recipe.task.model) / "model.safetensors").stat().st_size
    assert memory(recipe, Store(tmp_path)) == LIBRARIES + 9 * weights

    # one more set of weights is added up over the tail of the line
    training = {**mini_recipe["training"], "tail": 0.2}
    averaged = soup.Recipe.parse({**mini_recipe, "training": training})
    assert memory(averaged, Store(tmp_path)) == LIBRARIES + 10 * weights


def test_what_runs_on_the_task_took_says_it_better(
    mini_recipe: dict[str, Any], tmp_path: Path
) -> None:
    recipe, store = soup.Recipe.parse(mini_recipe), Store(tmp_path)
    for seed, took in ((1, 5000), (2, 7000)):
        other = soup.Recipe.parse({**mini_recipe, "seed": seed})
        facts = json.loads(RECORD.read_text(encoding="utf-8"))
        facts |= {"recipe": other.model_dump(mode="json"), "memory": {"process": took}}
        write_json(store.cell(other).record, seal(facts))
    assert memory(recipe, store) == round(SPARE * 7000)


def test_of_a_checkpoint_of_the_hub_nothing_is_known(
    mini_recipe: dict[str, Any], tmp_path: Path
) -> None:
    recipe = soup.Recipe.parse(
        {**mini_recipe, "task": {"name": "glue/cola", "model": "no/such-model"}}
    )
    assert memory(recipe, Store(tmp_path)) is None
