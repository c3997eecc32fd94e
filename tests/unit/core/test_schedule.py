"""Schedule: rising sparsities that end exactly on the target."""

from __future__ import annotations

from itertools import pairwise

import pytest

from instant_soup.core.errors import KnobError, SparsityError, UnknownName
from instant_soup.core.schedule import (
    MOST_ROUNDS,
    SCHEDULES,
    Schedule,
    cubic,
    geometric,
    linear,
    one_shot,
    steps_to,
)

TARGETS = (0.05, 0.1, 0.3, 0.5, 0.7, 0.9, 0.977, 0.999)
EACH = pytest.mark.parametrize("schedule", SCHEDULES.values(), ids=SCHEDULES)


@EACH
@pytest.mark.parametrize("rounds", [1, 2, 3, 7, 20])
@pytest.mark.parametrize("target", TARGETS)
def test_a_schedule_has_so_many_rounds_and_ends_exactly_on_the_target(
    schedule: Schedule, target: float, rounds: int
) -> None:
    reached = schedule(target, rounds)
    assert len(reached) == rounds
    assert reached[-1] == target
    assert all(0 <= before <= after < 1 for before, after in pairwise(reached))


@EACH
def test_a_schedule_to_no_sparsity_prunes_nothing(schedule: Schedule) -> None:
    assert set(schedule(0.0, 4)) == {0.0}


@EACH
@pytest.mark.parametrize("target", [1.0, 1.2, -0.1, float("nan"), float("inf")])
def test_a_target_out_of_range_is_refused_before_the_first_round(
    schedule: Schedule, target: float
) -> None:
    with pytest.raises(SparsityError, match="expected a share"):
        schedule(target, 3)


def test_one_shot_is_done_in_the_first_round() -> None:
    assert one_shot(0.6, 3) == (0.6, 0.6, 0.6)


def test_linear_removes_the_same_share_of_all_weights() -> None:
    assert linear(0.8, 4) == pytest.approx((0.2, 0.4, 0.6, 0.8))


def test_geometric_removes_the_same_share_of_what_is_left() -> None:
    assert geometric(0.875, 3) == pytest.approx((0.5, 0.75, 0.875))
    left = [1.0, *(1 - reached for reached in geometric(0.97, 6))]
    assert {round(after / before, 9) for before, after in pairwise(left)} == {
        round(0.03 ** (1 / 6), 9)
    }


def test_cubic_removes_less_each_round_and_most_in_the_first() -> None:
    assert cubic(0.8, 2) == pytest.approx((0.7, 0.8))
    removed = [after - before for before, after in pairwise((0.0, *cubic(0.9, 8)))]
    assert removed == sorted(removed, reverse=True)


def test_steps_of_a_share_of_all_weights_add_up_to_the_target() -> None:
    assert steps_to(0.5, 0.1, "linear") == pytest.approx((0.1, 0.2, 0.3, 0.4, 0.5))


def test_steps_of_a_share_of_the_rest_shrink() -> None:
    assert steps_to(0.5, 0.1, "geometric") == pytest.approx(
        (0.1, 0.19, 0.271, 0.3439, 0.40951, 0.468559, 0.5)
    )


def test_the_last_step_may_be_smaller() -> None:
    assert steps_to(0.25, 0.1, "linear") == pytest.approx((0.1, 0.2, 0.25))


def test_a_share_larger_than_the_target_takes_one_step() -> None:
    assert steps_to(0.3, 0.5, "linear") == (0.3,)
    assert steps_to(0.3, 0.5, "geometric") == (0.3,)


@pytest.mark.parametrize("of", ["linear", "geometric"])
@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("share", [0.01, 0.1, 0.15, 0.2, 0.5, 0.9])
def test_steps_remove_the_share_each_round_and_never_more(
    target: float, share: float, of: str
) -> None:
    reached = (0.0, *steps_to(target, share, of))
    assert reached[-1] == target
    of_what = [1 if of == "linear" else 1 - before for before in reached]
    removed = [
        (after - before) / base
        for (before, after), base in zip(pairwise(reached), of_what, strict=False)
    ]
    assert all(each == pytest.approx(share) for each in removed[:-1])
    assert 0 < removed[-1] <= share * (1 + 1e-6)


@pytest.mark.parametrize("times", range(1, 10))
def test_a_target_that_is_a_whole_number_of_shares_takes_just_so_many_steps(
    times: int,
) -> None:
    """Though 0.3 / 0.1 is not quite 3 in floating point."""
    assert len(steps_to(times * 0.1, 0.1, "linear")) == times
    assert len(steps_to(1 - 0.9**times, 0.1, "geometric")) == times


@pytest.mark.parametrize("share", [0.0, 1.0, -0.1, 2.0, float("nan")])
def test_a_share_out_of_range_is_refused(share: float) -> None:
    with pytest.raises(KnobError, match="compression is"):
        steps_to(0.5, share, "linear")


def test_an_unknown_share_is_met_with_the_nearest_name() -> None:
    with pytest.raises(UnknownName, match="did you mean 'geometric'"):
        steps_to(0.5, 0.1, "geometrical")


def test_a_target_out_of_range_is_refused_for_steps_too() -> None:
    with pytest.raises(SparsityError):
        steps_to(1.0, 0.1, "linear")


# rounds in place of a share


@pytest.mark.parametrize(
    ("of", "wanted"),
    [
        ("linear", [0.3, 0.6, 0.9]),
        ("geometric", [1 - 0.1 ** (1 / 3), 1 - 0.1 ** (2 / 3), 0.9]),
        ("cubic", [0.9 * 19 / 27, 0.9 * 26 / 27, 0.9]),
    ],
)
def test_a_number_of_rounds_divides_the_way_whatever_the_share(
    of: str, wanted: list[float]
) -> None:
    for share in (0.1, 0.5):
        assert steps_to(0.9, share, of, 3) == pytest.approx(wanted)
        assert steps_to(0.9, share, of, 3)[-1] == 0.9
    assert steps_to(0.9, 0.1, of, 1) == (0.9,)


def test_a_cubic_way_needs_its_number_of_rounds() -> None:
    with pytest.raises(
        KnobError,
        match="share is 'cubic', which the number of rounds sets; set rounds, to 12",
    ):
        steps_to(0.9, 0.1, "cubic")


def test_no_rounds_and_targets_out_of_range_are_refused() -> None:
    with pytest.raises(KnobError, match="rounds is 0; expected 1 or more"):
        steps_to(0.9, 0.1, "linear", 0)
    for target in (1.0, -0.1, float("nan")):
        with pytest.raises(SparsityError):
            steps_to(target, 0.1, "cubic", 3)
    with pytest.raises(UnknownName, match="did you mean 'cubic'"):
        steps_to(0.9, 0.1, "cubik", 3)


@pytest.mark.parametrize("share", [1e-300, 5e-324, 1e-9])
@pytest.mark.parametrize("of", ["linear", "geometric"])
def test_a_share_that_would_take_for_ever_is_refused_at_once(
    share: float, of: str
) -> None:
    with pytest.raises(
        KnobError, match=r"compression asks for .* rounds; expected 10,000"
    ):
        steps_to(0.5, share, of)


@pytest.mark.parametrize("name", SCHEDULES)
def test_more_rounds_than_anybody_lists_are_refused(name: str) -> None:
    assert len(SCHEDULES[name](0.5, MOST_ROUNDS)) == MOST_ROUNDS
    with pytest.raises(KnobError, match="rounds is 1,000,000,000; expected 10,000"):
        SCHEDULES[name](0.5, 10**9)
