"""The laws of the house on language models: a Llama, and a GPT-2, whose matrices lie the other way round.

Each method draws once under observation, as in `test_methods`, whose laws these are.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from torch import Tensor

import instant_soup as soup
from instant_soup.methods import METHODS
from instant_soup.models import tiny_decoders
from instant_soup.tasks import CourseTask

from .test_methods import BY_BLOCK, SPARSITY, Drawn, all_bits_zero, build, once_each


@pytest.fixture(scope="module", params=["llama", "gpt2"])
def decoder_task(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> CourseTask:
    folder = tmp_path_factory.mktemp(request.param)
    make: Callable[[Path], Path] = getattr(tiny_decoders, request.param)
    rows = [{"text": "the film is not good, and the soup was very bad."}] * 40
    return soup.tasks.language(
        request.param,
        model=make(folder / "model"),
        data={"train": rows, "test": rows[:6]},
        window=16,
        validation=0.1,
        regime=soup.Regime(steps=12, batch=8, rate=1e-3, precision="float32"),
    )


@pytest.fixture(params=list(METHODS))
def name(request: pytest.FixtureRequest) -> str:
    chosen: str = request.param
    return chosen


@pytest.fixture(scope="module")
def observed() -> Callable[[str, CourseTask], Drawn]:
    return once_each(build)


@pytest.fixture
def drawn(name: str, decoder_task: CourseTask, observed: Any) -> Drawn:
    made: Drawn = observed(name, decoder_task)
    return made


def test_the_count_is_exact_and_what_is_pruned_is_bit_zero(drawn: Drawn) -> None:
    mask = drawn.ticket.mask
    assert mask.kept == round((1 - SPARSITY) * mask.scope.size)
    for matrix in mask:
        weight: Tensor = drawn.result.weights[matrix]
        assert all_bits_zero(weight[~mask[matrix]])


def test_the_same_seed_draws_the_same_ticket(
    name: str, decoder_task: CourseTask, drawn: Drawn
) -> None:
    again = build(name).draw(decoder_task, SPARSITY)
    assert again.digest == drawn.ticket.digest


def test_every_pass_is_charged_and_random_numbers_are_left_alone(
    name: str, drawn: Drawn
) -> None:
    worked = drawn.worked
    spent = drawn.drawing.spent + drawn.tuning.spent
    by_block = 2 * drawn.drawing.bill["score"].examples if name in BY_BLOCK else 0
    seen = 3 * worked.trained + 6 * worked.differentiated_twice + worked.evaluated
    assert spent.passes == seen + by_block
    assert spent.flops > 0
    assert drawn.random_state_kept


def test_the_test_text_is_read_once_in_the_end(drawn: Drawn) -> None:
    assert drawn.looked_while_drawing == []
    looked = sorted(index for index in drawn.test.looked if index >= 0)
    assert looked == list(range(len(drawn.test)))
