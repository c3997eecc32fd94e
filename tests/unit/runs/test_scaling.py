from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

import instant_soup as soup
from instant_soup.engine import wire
from instant_soup.methods.presets import INSTANT_SOUP
from instant_soup.runs.plan import plan
from instant_soup.runs.run import build
from instant_soup.runs.scaling import Load, forecast, numbers
from instant_soup.runs.sizes import Sizes
from instant_soup.runs.stand_in import Round, StandInTask

LOAD = Load(
    [Round((10,) * 4, 0.125, carried=False)] * 3,
    weights=400,
    scope=80,
    step=1.0,
    alone=100.0,
)
FREE: dict[str, float] = {"link": 1e12, "handling": 0.0}


def test_one_worker_takes_all_steps_one_after_the_other() -> None:
    one = forecast(LOAD, 1, **FREE)
    assert (one.steps, one.seconds) == (120, 220.0)


@pytest.mark.parametrize(("workers", "steps"), [(2, 60), (3, 60), (4, 30), (100, 30)])
def test_workers_shorten_look_aheads_and_nothing_else(workers: int, steps: int) -> None:
    many = forecast(LOAD, workers, **FREE)
    assert many.steps == steps
    assert many.seconds == pytest.approx(100 + steps)


def test_a_round_sends_a_snapshot_to_each_worker_and_gets_a_bit_for_each_weight_in_scope_back() -> (
    None
):
    assert forecast(LOAD, 3).out == 3 * (400 + 10)
    assert forecast(LOAD, 100).out == 4 * (400 + 10)
    assert forecast(LOAD, 3).back == 4 * 10
    carried = replace(LOAD, rounds=[replace(one, carried=True) for one in LOAD.rounds])
    assert forecast(carried, 1).out == 3 * 400 + 10


def test_a_blend_that_reads_weights_gets_all_of_them_back() -> None:
    reading = replace(LOAD, rounds=[Round((10,) * 4, 4.125, carried=False)])
    assert forecast(reading, 1).back == 4 * (400 + 10)
    reading = replace(reading, rounds=3 * list(reading.rounds))
    assert (
        forecast(reading, 4, link=10.0, handling=0.0).seconds
        > forecast(LOAD, 4, link=10.0, handling=0.0).seconds
    )


def test_the_numbers_of_workers_shown_double_up_to_the_one_asked_for() -> None:
    assert [numbers(most) for most in (1, 2, 3, 8, 9)] == [
        [1],
        [1, 2],
        [1, 2, 3],
        [1, 2, 4, 8],
        [1, 2, 4, 8, 9],
    ]


@pytest.mark.parametrize(
    ("knobs", "returned"),
    [({}, 0.125), ({"blend": "lookahead"}, 4.125), ({"carry": "mean"}, 4.125)],
)
def test_what_a_method_asks_for_is_seen_by_letting_it_ask(
    knobs: dict[str, Any], returned: float
) -> None:
    rounds = list[Round]()
    quick = {
        **INSTANT_SOUP["beside-t"],
        "denoisers": 3,
        "lookahead_steps": 5,
        "compression": 0.25,
        "carry_optimizer": True,
        "carry": "none",
    }
    method = soup.InstantSoup(**{**quick, **knobs})
    method.draw(StandInTask(Sizes("any", 500, 8, 1000, 100, 100, 2), rounds), 0.5)
    assert [one.steps for one in rounds] == [(5, 5, 5)] * 2
    assert all(
        one.carried and one.returned == pytest.approx(returned, abs=0.05)
        for one in rounds
    )


def test_the_plan_agrees_with_what_is_really_sent(mini_recipe: dict[str, Any]) -> None:
    recipe = soup.Recipe.parse(mini_recipe)
    task = build(recipe)
    load = Load.of(recipe, task, plan(recipe, Sizes.of(task), task))
    snapshot = wire.pack(task.learner(soup.Meter()).snapshot(carry=False))
    assert load.rounds
    assert forecast(load, 1).out == pytest.approx(
        sum(memoryview(body).nbytes for body in snapshot.bodies), rel=0.01
    )


def test_a_plan_without_times_is_refused(mini_recipe: dict[str, Any]) -> None:
    recipe = soup.Recipe.parse(mini_recipe)
    task = build(recipe)
    with pytest.raises(ValueError, match="without timing"):
        Load.of(recipe, task, plan(recipe, Sizes.of(task)))
