"""Ledger: a bill adds up, and says what it would be without its look-aheads."""

from __future__ import annotations

from typing import Any

import pytest

from instant_soup.evidence.compare import compare
from instant_soup.evidence.ledger import Bill, bill

from .made_records import FULL, named, record


def billed(*records: dict[str, Any]) -> Bill:
    (line,) = compare(named(records), records[0]["recipe"]["method"]["name"]).lines
    return bill(line)


def test_look_aheads_are_counted_and_their_share_is_made_visible() -> None:
    found = billed(record("instant-soup", ahead=0.6, draw=0.2))
    assert {
        purpose: item.share for purpose, item in found.items.items()
    } == pytest.approx({"train": 1.2, "look-ahead": 0.6, "select": 0.02})
    assert found.total == pytest.approx(1.82)
    assert found.uncounted == pytest.approx(1.22)


def test_the_purposes_add_up_to_the_whole_cost_and_the_test_reading_is_not_among_them() -> (
    None
):
    one = record("instant-soup", ahead=0.6, draw=0.2, tested=10**6)
    found = billed(one)
    assert sum(item.share for item in found.items.values()) == pytest.approx(found.total)
    paid = [
        cost
        for stage in ("draw", "train")
        for name, cost in one["cost"][stage].items()
        if name != "test"
    ]
    for unit in ("steps", "examples", "flops"):
        assert sum(getattr(item, unit) for item in found.items.values()) == sum(
            cost[unit] for cost in paid
        )
    assert found.seconds == pytest.approx(sum(cost["passes"] for cost in paid) / 100)


def test_what_never_looked_ahead_costs_the_same_either_way() -> None:
    found = billed(record("lth", draw=3))
    assert found.total == found.uncounted == pytest.approx(4.02)
    assert found.items.keys() == {"train", "select"}


def test_a_bill_is_the_mean_over_its_runs() -> None:
    found = billed(record("lth", draw=3), record("lth", draw=1, seed=1))
    assert found.items["train"].steps == 300
    assert found.total == pytest.approx(3.02)


def test_what_another_run_had_done_is_named_and_its_time_is_counted() -> None:
    one = record("lth", draw=3)
    one["cost"]["reused"] = {"steps": 200, "examples": 2000, "passes": 6000, "flops": 0}
    plain = billed(one)
    one["clock"]["reused"] = 50.0
    found = billed(one)
    assert found.reused == pytest.approx(6000 / FULL["passes"])
    assert found.total == plain.total
    assert (found.seconds or 0) - (plain.seconds or 0) == 50.0


def test_where_old_records_note_no_time_none_is_made_up() -> None:
    found = billed(record("lth", old=True))
    assert (found.seconds, found.memory, found.items["train"].seconds) == (
        None,
        None,
        None,
    )
    mixed = billed(record("lth", old=True), record("lth", seed=1))
    assert mixed.memory == 2**30
    assert mixed.items["train"].seconds == pytest.approx(30.0)
