"""Denoiser: look-aheads that differ, and what they have in common."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from instant_soup.core.errors import KnobError, UnknownName
from instant_soup.core.mask import Mask
from instant_soup.core.prune import prune
from instant_soup.core.scope import Scope
from instant_soup.core.task import Brief
from instant_soup.soup.denoiser import (
    Outlook,
    Protocols,
    Settled,
    Wanted,
    briefs,
    denoise,
)

SCOPE = Scope({"a": (6, 5), "b": (21,)})


class Fake:
    """A learner whose look-aheads move by random steps that follow from their seed."""

    scope = SCOPE

    def __init__(self) -> None:
        self.mask = Mask(
            SCOPE, {"a": torch.arange(30).view(6, 5) % 5 > 0, "b": torch.ones(21).bool()}
        )
        self.here = self.at(0)
        self.asked: list[Brief] = []

    def at(self, seed: int) -> dict[str, Tensor]:
        dice = torch.Generator().manual_seed(seed)
        body = {
            name: torch.randn(s, generator=dice) * self.mask[name]
            for name, s in SCOPE.shapes.items()
        }
        return {**body, "head": torch.randn(2, generator=dice), "n": torch.tensor(seed)}

    def view(self) -> dict[str, Tensor]:
        return self.here

    def weights(self) -> dict[str, Tensor]:
        return {name: tensor.clone() for name, tensor in self.here.items()}

    def look_ahead(
        self, looks: Sequence[Brief], look: Callable[[Any], Any]
    ) -> Iterator[Any]:
        mine = self.here
        for brief in looks:
            self.asked.append(brief)
            self.here = self.at(brief.variation.seed)
            seen = look(self)
            for tensor in self.here.values():
                tensor.zero_()  # as a real learner goes on to use its buffers
            self.here = mine
            yield seen


# briefs


def test_briefs_follow_from_their_seed() -> None:
    assert briefs(5, 7, Protocols(), 3) == briefs(5, 7, Protocols(), 3)
    assert briefs(5, 7, Protocols(), 3) != briefs(5, 7, Protocols(), 4)


def test_briefs_differ_from_each_other_and_share_their_length() -> None:
    looks = briefs(6, 11, Protocols(), 0, carry_optimizer=True)
    assert len({brief.variation for brief in looks}) == 6
    assert len({brief.variation.seed for brief in looks}) == 6
    assert {(brief.steps, brief.carry_optimizer) for brief in looks} == {(11, True)}


def test_more_look_aheads_begin_with_the_same_ones() -> None:
    assert briefs(8, 5, Protocols(), 0)[:3] == briefs(3, 5, Protocols(), 0)


def test_no_look_ahead_is_no_brief() -> None:
    assert briefs(0, 5, Protocols(), 0) == []


def test_briefs_leave_pythons_own_random_numbers_alone() -> None:
    random.seed(1)
    wanted = random.random()
    random.seed(1)
    briefs(4, 5, Protocols(), 0)
    assert random.random() == wanted


def test_what_is_drawn_fills_its_range_and_stays_inside() -> None:
    protocols = Protocols(
        rate=(0.5, 8.0),
        weight_decay=(0.1, 0.3),
        label_smoothing=(0.0, 0.2),
        subset=(0.25, 0.75),
    )
    drawn = [brief.variation for brief in briefs(400, 1, protocols, 0)]
    for knob in ("rate", "weight_decay", "label_smoothing", "subset"):
        low, high = getattr(protocols, knob)
        values = [getattr(training, knob) for training in drawn]
        assert low <= min(values) < low + 0.05 * (high - low)
        assert high - 0.05 * (high - low) < max(values) <= high


def test_rates_are_even_on_a_log_scale() -> None:
    """As many between 0.01 and 1 as between 1 and 100: 1000 draws within five standard deviations of a half."""
    rates = [
        brief.variation.rate
        for brief in briefs(1000, 1, Protocols(rate=(0.01, 100.0)), 0)
    ]
    assert 420 < sum(rate < 1 for rate in rates) < 580
    assert 170 < sum(rate < 0.1 for rate in rates) < 330


def test_a_range_of_one_point_is_that_point() -> None:
    fixed = Protocols(
        rate=(2.0, 2.0),
        weight_decay=(0.5, 0.5),
        label_smoothing=(0.1, 0.1),
        subset=(1.0, 1.0),
    )
    training = briefs(1, 1, fixed, 0)[0].variation
    assert (
        training.rate,
        training.weight_decay,
        training.label_smoothing,
        training.subset,
    ) == (2.0, 0.5, 0.1, 1.0)


@pytest.mark.parametrize("knob", ["rate", "weight_decay", "label_smoothing", "subset"])
@pytest.mark.parametrize(
    "wrong", [(0.5, 0.1), (-0.1, 0.1), (0.1, 1e6), (math.nan, 0.5), (0.1, math.nan)]
)
def test_a_range_that_cannot_be_drawn_from_is_refused_and_named(
    knob: str, wrong: tuple[float, float]
) -> None:
    with pytest.raises(KnobError, match=f"^{knob} range is"):
        Protocols(**{knob: wrong})


@pytest.mark.parametrize("knob", ["rate", "subset"])
def test_a_rate_or_a_subset_of_nothing_is_refused(knob: str) -> None:
    with pytest.raises(KnobError, match=knob):
        Protocols(**{knob: (0.0, 0.5)})


@pytest.mark.parametrize(
    ("knob", "over"),
    [
        ("subset", (0.5, 1.01)),
        ("label_smoothing", (0.0, 1.0)),
        ("weight_decay", (0.0, 11.0)),
    ],
)
def test_a_range_that_is_too_wide_is_refused(
    knob: str, over: tuple[float, float]
) -> None:
    with pytest.raises(KnobError, match=knob):
        Protocols(**{knob: over})


@pytest.mark.parametrize("count", [2, 3, 5])
def test_disjoint_subsets_are_the_parts_of_one_division(count: int) -> None:
    portions = [
        brief.variation.portion
        for brief in briefs(count, 1, Protocols(subsets="disjoint"), 7)
    ]
    assert [(part.index, part.count, part.seed) for part in portions if part] == [
        (i, count, 7) for i in range(count)
    ]


def test_subsets_of_another_kind_change_nothing_else_of_a_training() -> None:
    plain = [brief.variation for brief in briefs(3, 1, Protocols(), 0)]
    for kind in ("disjoint", "classes", "lengths"):
        other = [brief.variation for brief in briefs(3, 1, Protocols(subsets=kind), 0)]
        assert [replace(each, portion=None, lean="none") for each in other] == plain
        assert {each.lean for each in other} == {"none" if kind == "disjoint" else kind}


def test_subsets_that_leave_nothing_out_cannot_lean() -> None:
    with pytest.raises(KnobError, match="which may leave nothing out"):
        Protocols(subset=(0.5, 1.0), subsets="classes")
    with pytest.raises(UnknownName, match="did you mean 'disjoint'"):
        Protocols(subsets="disjoin")  # type: ignore[arg-type]


# outlook


def test_union_and_intersection_are_those_of_all_masks() -> None:
    dice = torch.Generator().manual_seed(0)
    kept = [
        {n: torch.rand(s, generator=dice) < 0.6 for n, s in SCOPE.shapes.items()}
        for _ in range(4)
    ]
    outlook = Outlook(tuple(Mask(SCOPE, each) for each in kept))
    for name in SCOPE:
        stack = torch.stack([each[name] for each in kept])
        assert torch.equal(outlook.union[name], stack.any(0))
        assert torch.equal(outlook.intersection[name], stack.all(0))


HAND = [[1, 1, 1, 1, 0, 0], [1, 1, 0, 0, 0, 0], [1, 0, 1, 0, 0, 1]]


def hand(*numbers: int) -> Outlook:
    scope = Scope({"a": (6,)})
    return Outlook(
        tuple(Mask(scope, {"a": torch.tensor(HAND[i]).bool()}) for i in numbers)
    )


def test_unanimous_is_the_share_on_which_all_masks_agree() -> None:
    # the first weight and the fifth
    assert hand(0, 1, 2).unanimous == pytest.approx(2 / 6)
    assert hand(0, 1).unanimous == pytest.approx(4 / 6)
    assert hand(1).unanimous == hand().unanimous == 1


def test_agreement_is_the_share_on_which_two_masks_agree_on_average() -> None:
    assert hand(0, 1, 2).agreement == pytest.approx((4 / 6 + 3 / 6 + 3 / 6) / 3)
    assert hand(0, 2).agreement == pytest.approx(3 / 6)
    assert hand(1).agreement == hand().agreement == 1


# settled


def test_a_round_is_settled_when_the_last_mask_changed_less_than_the_share() -> None:
    """From the first to the second, two weights change of the two that are then kept."""
    for share, wanted in ((1.0, False), (1.01, True)):
        settled = Settled(lambda outlook: outlook.masks[-1], share)
        assert not settled(hand(0))
        assert settled(hand(0, 1)) == wanted


def test_a_mask_is_compared_with_the_one_before_and_not_with_the_first() -> None:
    settled = Settled(lambda outlook: outlook.masks[-1], 0.5)
    assert [settled(hand(*range(i + 1))) for i in range(3)] == [False, False, False]
    assert settled(hand(0, 1, 2, 2))
    assert not settled(hand(0, 1, 2, 2, 0))


# denoise


def test_no_more_is_looked_at_once_it_is_enough() -> None:
    learner, asked = Fake(), []

    def enough(outlook: Outlook) -> bool:
        asked.append((len(outlook.masks), outlook.scores is not None))
        return len(outlook.masks) == 2

    outlook = denoise(
        learner,
        briefs(5, 4, Protocols(), 0),
        0.6,
        wanted=Wanted(scores=True),
        enough=enough,
    )  # type: ignore[arg-type]
    assert asked == [(1, True), (2, True)]
    assert len(outlook.masks) == len(learner.asked) == 2
    whole = denoise(Fake(), briefs(2, 4, Protocols(), 0), 0.6, wanted=Wanted(scores=True))  # type: ignore[arg-type]
    assert outlook.masks == whole.masks
    assert outlook.scores is not None
    assert whole.scores is not None
    assert all(torch.equal(outlook.scores[name], whole.scores[name]) for name in SCOPE)


def test_each_look_ahead_gives_the_magnitude_mask_of_where_it_got() -> None:
    learner = Fake()
    looks = briefs(3, 4, Protocols(), 0)
    outlook = denoise(learner, looks, 0.6)  # type: ignore[arg-type]
    assert learner.asked == looks
    for brief, mask in zip(looks, outlook.masks, strict=True):
        there = learner.at(brief.variation.seed)
        assert mask == prune(
            {name: there[name].abs() for name in SCOPE}, learner.mask, 0.6
        )
        assert mask <= learner.mask
    assert (outlook.scores, outlook.weights) == (None, None)


def test_masks_can_be_cut_layer_by_layer() -> None:
    learner = Fake()
    (mask,) = denoise(learner, briefs(1, 4, Protocols(), 0), 0.6, across="layer").masks  # type: ignore[arg-type]
    assert mask.kept_by_name == {"a": 12, "b": 8}


def test_the_mean_magnitude_is_of_sizes_and_not_of_weights() -> None:
    learner, looks = Fake(), briefs(3, 4, Protocols(), 0)
    outlook = denoise(learner, looks, 0.6, wanted=Wanted(scores=True))  # type: ignore[arg-type]
    assert outlook.scores is not None
    assert set(outlook.scores) == set(SCOPE)
    for name in SCOPE:
        places = torch.stack([learner.at(brief.variation.seed)[name] for brief in looks])
        torch.testing.assert_close(outlook.scores[name], places.abs().mean(0))
        assert not torch.allclose(outlook.scores[name], places.mean(0).abs())
    assert outlook.weights is None


def test_the_mean_of_the_weights_is_of_all_of_them_and_keeps_the_first_counter() -> None:
    learner, looks = Fake(), briefs(3, 4, Protocols(), 0)
    outlook = denoise(learner, looks, 0.6, wanted=Wanted(weights=True))  # type: ignore[arg-type]
    assert outlook.weights is not None
    places = [learner.at(brief.variation.seed) for brief in looks]
    assert outlook.weights.keys() == places[0].keys()
    for name in (*SCOPE, "head"):
        torch.testing.assert_close(
            outlook.weights[name], torch.stack([place[name] for place in places]).mean(0)
        )
    assert outlook.weights["n"].item() == looks[0].variation.seed
    assert not outlook.weights["a"][~learner.mask["a"]].any()
    assert outlook.scores is None


@pytest.mark.parametrize(
    ("asked", "scores", "weights"),
    [
        ({}, set(), set()),
        ({"scores": True}, {"a", "b"}, set()),
        ({"spread": True}, {"a", "b"}, set()),
        ({"weights": True}, set(), {"a", "b", "head", "n"}),
    ],
)
def test_a_look_ahead_hands_back_no_more_than_is_asked_for(
    asked: dict[str, bool], scores: set[str], weights: set[str]
) -> None:
    class Watched(Fake):
        def look_ahead(
            self, looks: Sequence[Brief], look: Callable[[Any], Any]
        ) -> Iterator[Any]:
            for seen in super().look_ahead(looks, look):
                assert (set(seen.scores), set(seen.weights)) == (scores, weights)
                yield seen

    denoise(Watched(), briefs(2, 4, Protocols(), 0), 0.6, wanted=Wanted(**asked))  # type: ignore[arg-type]


@pytest.mark.parametrize("asked", ["scores", "spread", "weights"])
def test_what_look_aheads_hand_back_is_not_written_to(asked: str) -> None:
    """It may lie in memory that another process shares."""
    handed: list[tuple[Tensor, Tensor]] = []

    class Keeping(Fake):
        def look_ahead(
            self, looks: Sequence[Brief], look: Callable[[Any], Any]
        ) -> Iterator[Any]:
            for seen in super().look_ahead(looks, look):
                handed.extend(
                    (tensor, tensor.clone())
                    for tensor in (*seen.scores.values(), *seen.weights.values())
                )
                yield seen

    denoise(Keeping(), briefs(3, 4, Protocols(), 0), 0.6, wanted=Wanted(**{asked: True}))  # type: ignore[arg-type]
    assert len(handed) >= 6
    assert all(torch.equal(now, then) for now, then in handed)


def test_the_spread_is_the_standard_deviation_over_look_aheads() -> None:
    learner, looks = Fake(), briefs(4, 4, Protocols(), 0)
    outlook = denoise(learner, looks, 0.6, wanted=Wanted(spread=True))  # type: ignore[arg-type]
    assert outlook.spread is not None
    assert outlook.scores is not None
    for name in SCOPE:
        sizes = torch.stack(
            [learner.at(brief.variation.seed)[name].abs() for brief in looks]
        )
        torch.testing.assert_close(outlook.scores[name], sizes.mean(0))
        torch.testing.assert_close(
            outlook.spread[name], sizes.std(0, correction=0), atol=1e-5, rtol=1e-4
        )


def test_whether_it_is_enough_is_asked_of_all_that_came_in() -> None:
    asked: list[bool] = []

    def enough(outlook: Outlook) -> bool:
        asked.append(None not in (outlook.scores, outlook.spread, outlook.weights))
        return False

    wanted = Wanted(scores=True, spread=True, weights=True)
    denoise(Fake(), briefs(2, 4, Protocols(), 0), 0.6, wanted=wanted, enough=enough)  # type: ignore[arg-type]
    assert asked == [True, True]


def test_no_look_aheads_see_nothing() -> None:
    outlook = denoise(
        Fake(), [], 0.6, wanted=Wanted(scores=True, spread=True, weights=True)
    )  # type: ignore[arg-type]
    assert outlook == Outlook(())
