"""Regime: how long a full fine-tune is, and what cannot train."""

from __future__ import annotations

import math

import pytest
from pydantic import ValidationError

from instant_soup.core.errors import KnobError
from instant_soup.training.regime import Regime


@pytest.mark.parametrize(
    ("epochs", "examples", "batch", "steps"),
    [
        (3.0, 96, 32, 9),
        (3.0, 97, 32, 12),
        (1.0, 5, 32, 1),
        (0.5, 320, 32, 5),
        (0.001, 320, 32, 1),
        (2.0, 7, 1, 14),
    ],
)
def test_the_budget_is_so_many_passes_over_the_training_split(
    epochs: float, examples: int, batch: int, steps: int
) -> None:
    assert Regime(epochs=epochs, batch=batch).horizon(examples) == steps


def test_steps_take_the_place_of_epochs() -> None:
    assert Regime(steps=7, epochs=100).horizon(10_000) == 7


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("rate", 0),
        ("rate", -1e-5),
        ("rate", math.nan),
        ("weight_decay", -0.1),
        ("batch", 0),
        ("accumulation", 0),
        ("epochs", 0),
        ("steps", 0),
        ("warmup", 1.0),
        ("warmup", -0.1),
        ("clip", -1),
        ("precision", "float16"),
        ("learning_rate", 1e-3),
    ],
)
def test_a_regime_that_cannot_train_is_refused(field: str, value: object) -> None:
    with pytest.raises(KnobError, match=field):
        Regime(**{field: value})


@pytest.mark.parametrize("field", ["rate", "epochs", "weight_decay"])
def test_an_infinite_figure_is_refused(field: str) -> None:
    with pytest.raises(KnobError, match=field):
        Regime(**{field: math.inf})


def test_a_regime_cannot_be_changed_once_it_is_part_of_a_key() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        Regime().rate = 1.0  # type: ignore[misc]


def test_only_a_flat_line_is_flat_for_its_share() -> None:
    assert Regime(line="flat", flat=0.5).flat_steps(15) == 8
    assert Regime(line="flat", flat=0.25).flat_steps(100) == 25
    assert Regime(flat=0.25).flat_steps(100) == 0
    assert Regime(line="flat").flat_steps(100) == 50
