"""Budget: charging before the work is done."""

from __future__ import annotations

import json

import pytest

from instant_soup.core.budget import Cost, Meter, Pulse
from instant_soup.core.errors import BudgetSpent, SoupError


def test_costs_add_up_unit_by_unit() -> None:
    assert Cost(1, 2, 3, 4) + Cost(10, 20, 30, 40) == Cost(11, 22, 33, 44)


def test_what_a_leg_cost_is_the_difference_of_two_bills() -> None:
    before, leg = Cost(1, 2, 3, 4), Cost(10, 20, 30, 40)
    assert before + leg - before == leg


def test_a_cost_is_compared_in_passes() -> None:
    assert (
        Cost(steps=1, passes=150, flops=7).ratio(Cost(steps=99, passes=100, flops=1))
        == 1.5
    )


def test_a_meter_keeps_a_bill_by_purpose() -> None:
    meter = Meter()
    meter.charge("train", Cost(1, 8, 24, 100))
    meter.charge("look-ahead", Cost(2, 4, 12, 50))
    meter.charge("train", Cost(1, 8, 24, 100))
    assert meter.bill == {"train": Cost(2, 16, 48, 200), "look-ahead": Cost(2, 4, 12, 50)}
    assert meter.spent == Cost(4, 20, 60, 250)


def test_a_new_meter_has_spent_nothing() -> None:
    assert Meter().spent == Cost()


def test_meters_do_not_share_a_bill() -> None:
    first, second = Meter(), Meter()
    first.charge("train", Cost(passes=1))
    assert second.bill == {}


def test_the_last_pass_of_the_limit_can_be_spent() -> None:
    meter = Meter(limit=10)
    meter.charge("train", Cost(passes=6))
    meter.charge("score", Cost(passes=4))
    assert meter.spent.passes == 10


def test_a_charge_past_the_limit_is_refused_and_adds_nothing() -> None:
    meter = Meter(limit=10)
    meter.charge("train", Cost(passes=6))
    with pytest.raises(
        BudgetSpent, match="look-ahead needs 5 passes and 4 of 10 are left"
    ):
        meter.charge("look-ahead", Cost(passes=5))
    assert meter.bill == {"train": Cost(passes=6)}


def test_a_limit_of_nothing_lets_nothing_through() -> None:
    with pytest.raises(SoupError):
        Meter(limit=0).charge("train", Cost(passes=1))


def test_whoever_watches_is_told_what_was_done_and_what_it_cost_so_far() -> None:
    told: list[Pulse] = []
    meter = Meter(watch=told.append)
    meter.charge("train", Cost(passes=3))
    assert told == []
    meter.tell("train", loss=0.5, sparsity=0.25)
    meter.charge("score", Cost(passes=1))
    meter.tell("score")
    assert told == [
        Pulse("train", Cost(passes=3), 0.5, 0.25),
        Pulse("score", Cost(passes=4), None, None),
    ]


def test_a_bill_survives_json() -> None:
    meter = Meter()
    meter.charge("train", Cost(1, 2, 3, 4))
    meter.charge("select", Cost(0, 5, 5, 9))
    copy = Meter()
    copy.charge("test", Cost(9, 9, 9, 9))
    copy.load(json.loads(json.dumps(meter.dump())))
    assert copy.bill == meter.bill


def test_work_that_another_run_did_is_charged_in_full_and_remembered() -> None:
    meter = Meter()
    meter.charge("train", Cost(1, 8, 24, 100))
    meter.charge("train", Cost(2, 16, 48, 200), reused=True)
    meter.charge("select", Cost(0, 5, 5, 9), reused=True)
    assert meter.spent == Cost(3, 29, 77, 309)
    assert meter.reused == Cost(2, 21, 53, 209)


def test_what_is_reused_counts_towards_the_limit() -> None:
    meter = Meter(limit=10)
    with pytest.raises(BudgetSpent):
        meter.charge("train", Cost(passes=11), reused=True)
    assert meter.reused == Cost()
