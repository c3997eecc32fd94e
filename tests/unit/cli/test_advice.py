"""Advice: what makes a method pointless is said, and nothing else."""

from __future__ import annotations

import pytest

from instant_soup.cli.advice import warnings_of
from instant_soup.recipes.recipe import Recipe

MAGNITUDE = {
    "task": {"name": "demo/polarity"},
    "method": {"name": "magnitude"},
    "sparsity": 0.5,
    "training": {"steps": 100},
}


@pytest.mark.parametrize(
    ("horizon", "steps_in_all", "count"), [(99, 99, 1), (100, 100, 0), (99, 0, 0)]
)
def test_a_short_dense_model_matters_only_where_something_is_trained(
    horizon: int, steps_in_all: int, count: int
) -> None:
    recipe = Recipe.parse(MAGNITUDE)
    assert len(list(warnings_of(recipe, horizon, steps_in_all))) == count
