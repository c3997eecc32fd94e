"""A run that diverged ends with a sentence and leaves no figure, no ticket and no weights behind."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from accelerate import Accelerator

import instant_soup as soup
from instant_soup.core.errors import TrainingError
from instant_soup.runs.divergence import refuse_divergence
from instant_soup.store.store import Store


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "runs")


@pytest.mark.parametrize("rate", [1e6])
@pytest.mark.parametrize("steps", [1, 4])
@pytest.mark.parametrize("clip", [0.0, 1.0])
def test_what_comes_of_an_absurd_rate_is_finite_or_refused(
    mini_recipe: dict[str, Any], store: Store, rate: float, steps: int, clip: float
) -> None:
    training = {**mini_recipe["training"], "rate": rate, "steps": steps, "clip": clip}
    recipe = soup.Recipe.parse({**mini_recipe, "training": training})
    try:
        record = soup.run(recipe, store)
    except TrainingError:
        assert not store.cell(recipe).record.exists()
        return
    weights = store.cell(recipe).load_model()
    assert all(bool(torch.isfinite(tensor).all()) for tensor in weights.values())
    assert record.figure == record.figure


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_weights_that_are_not_finite_are_named(value: float) -> None:
    weights = {
        "a": torch.ones(2),
        "steps": torch.tensor(3),
        "b.weight": torch.tensor([1.0, value]),
    }
    with pytest.raises(
        TrainingError,
        match=r"b\.weight has weights that are not finite.*lower the learning rate",
    ):
        refuse_divergence(weights)


def test_a_gradient_that_is_not_finite_stops_before_the_step(
    mini_recipe: dict[str, Any], store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = soup.Recipe.parse(mini_recipe)
    monkeypatch.setattr(
        Accelerator, "clip_grad_norm_", lambda *_: torch.tensor(float("inf"))
    )
    with pytest.raises(TrainingError, match="the gradient's norm is inf"):
        soup.run(recipe, store)
    assert not store.cell(recipe).model.exists()
