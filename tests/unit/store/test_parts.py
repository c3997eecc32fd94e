"""What records say of costs is what other runs are given as a budget."""

from __future__ import annotations

from typing import Any

from instant_soup.store.parts import Bill


def work(steps: int, passes: int) -> dict[str, int]:
    return {"steps": steps, "examples": passes // 3, "passes": passes, "flops": passes}


def bill(draw: dict[str, Any], train: dict[str, Any]) -> Bill:
    """Of a T of 46 steps and 4,320 passes."""
    facts = {
        "multiple_of_T": 1.0,
        "total": work(0, 0),
        "full_fine_tune": {"steps": 46, "examples": 1440, "passes": 4320},
        "draw": draw,
        "train": {"select": work(0, 80), "test": work(0, 80), **train},
        "reused": work(0, 0),
    }
    return Bill.model_validate(facts)


def test_as_long_as_a_soup_that_is_paid_out_of_t_is_one_t_whatever_its_last_batches_held() -> (
    None
):
    soup = bill({"train": work(42, 3940), "look-ahead": work(4, 290)}, {})
    assert soup.as_budget == 1
    assert soup.as_budget_by_passes < 1


def test_scoring_counts_by_its_passes_and_validation_at_the_end_does_not() -> None:
    scored = bill(
        {"score": work(0, 432), "train": work(23, 2160)}, {"train": work(46, 4320)}
    )
    assert scored.as_budget == 1.6
