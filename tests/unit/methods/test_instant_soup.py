"""Instant Soup Pruning: rounds, blends and presets of Algorithms 1 and 2."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

import instant_soup as soup
from instant_soup.core.errors import KnobError, UnknownName
from instant_soup.core.score import curved, magnitude
from instant_soup.methods import METHODS, InstantSoup
from instant_soup.methods.presets import INSTANT_SOUP
from instant_soup.soup.denoiser import Protocols, briefs
from instant_soup.tasks import CourseTask
from instant_soup.training.learner import ModuleLearner

Make = Callable[..., CourseTask]
# look-aheads are thrown away, and so is what was learned
THROWN: dict[str, Any] = {"carry": "none", "finish": "rewind"}


def beside_t(**knobs: Any) -> InstantSoup:
    """The method with its look-aheads beside T, as it was first built; most of what is tested here shows there."""
    return InstantSoup(**{**INSTANT_SOUP["beside-t"], **knobs})


QUICK: dict[str, Any] = {"lookahead_steps": 2, "compression": 0.3, **THROWN}


def rounds(ticket: soup.Ticket) -> list[dict[str, Any]]:
    return list(ticket.notes["rounds"])


# the rounds


def lengths(task: CourseTask, **knobs: Any) -> list[int]:
    """Steps of the main line before each of three rounds' look-aheads."""
    seen, meter = [], soup.Meter()

    def watch(pulse: Any) -> None:
        if pulse.purpose == "look-ahead":
            seen.append(meter.bill.get("train", soup.Cost()).steps)

    meter.watch = watch
    beside_t(**{**QUICK, "denoisers": 1, "lookahead_steps": 1, **knobs}).draw(
        task, 0.8, meter
    )
    return seen


def test_round_i_trains_i_times_as_long_as_the_first(points: Make) -> None:
    assert lengths(points(steps=40), round_steps=2) == [2, 6, 12]
    # of an epoch of 8 steps
    assert lengths(points(steps=40), round_epochs=0.25) == [2, 6, 12]
    assert lengths(points(steps=60), mask_share=0.2) == [2, 6, 12]
    assert lengths(points(steps=60), round_epochs=0.1) == [1, 2, 5]  # 0.8, 2.4, 4.8


def test_the_length_of_a_round_is_given_once() -> None:
    with pytest.raises(
        KnobError, match=r"round_steps is 2 and round_epochs 0\.1; set one of them"
    ):
        beside_t(round_steps=2, round_epochs=0.1)


def test_rounds_that_do_not_fit_are_refused_before_any_work(points: Make) -> None:
    meter = soup.Meter()
    with pytest.raises(KnobError, match="3 rounds take 18 steps and the budget T has 15"):
        beside_t(**QUICK, round_steps=3).draw(points(), 0.8, meter)
    with pytest.raises(KnobError, match="3 rounds take 24 steps and the budget T has 15"):
        beside_t(**{**QUICK, "carry": "mean"}, denoisers=4, mask_share=1e-9).draw(
            points(), 0.8, meter
        )
    assert not meter.bill


@pytest.mark.parametrize(
    ("share", "sparsities"),
    [("linear", [0.3, 0.6, 0.8]), ("geometric", [0.3, 0.51, 0.657, 0.7])],
)
def test_each_round_prunes_its_share(
    points: Make, share: Any, sparsities: list[float]
) -> None:
    ticket = beside_t(**QUICK, share=share).draw(points(), sparsities[-1])
    assert [note["target"] for note in rounds(ticket)] == pytest.approx(sparsities)
    kept = [round((1 - sparsity) * 168) for sparsity in sparsities]
    assert [round((1 - note["sparsity"]) * 168) for note in rounds(ticket)] == kept


def test_without_denoisers_each_round_is_a_plain_cut(points: Make) -> None:
    task = points()
    ticket = beside_t(denoisers=0, compression=0.3, round_steps=2).draw(task, 0.8)
    learner = task.learner(soup.Meter())
    for steps, target in ((2, 0.3), (4, 0.6), (6, 0.8)):
        learner.train(steps)
        learner.apply_mask(soup.prune(magnitude(learner), learner.mask, target))
    assert ticket.mask == learner.mask
    assert [note["moved"] for note in rounds(ticket)] == [0.0, 0.0, 0.0]


# the blend


def test_a_round_is_a_vote_of_the_masks_of_its_look_aheads_and_its_own(
    points: Make,
) -> None:
    task = points()
    learner = task.learner(soup.Meter())
    learner.train(2)
    own = soup.prune(magnitude(learner), learner.mask, 0.5)
    looks = briefs(3, 4, Protocols(), learner.seed("look-ahead", 0))
    see: Any = lambda scout: soup.prune(magnitude(scout), scout.mask, 0.5)  # noqa: E731
    masks = [own, *learner.look_ahead(looks, see)]
    scores = {
        name: sum(mask[name].double() for mask in masks)
        + learner.view()[name].abs().double() / 1e3
        for name in learner.scope
    }
    ticket = beside_t(
        denoisers=3, lookahead_steps=4, compression=0.5, round_steps=2, **THROWN
    ).draw(task, 0.5)
    assert ticket.mask == soup.prune(scores, soup.Mask.dense(learner.scope), 0.5)
    assert ticket.mask != own
    (note,) = rounds(ticket)
    votes = (
        torch.stack(
            [torch.cat([mask[name].flatten() for name in mask]) for mask in masks[1:]]
        )
        .int()
        .sum(0)
    )
    assert note["look-aheads"] == 3
    assert note["unanimous"] == pytest.approx(
        float(((votes == 0) | (votes == 3)).float().mean())
    )
    pairs = votes * (votes - 1) / 2 + (3 - votes) * (2 - votes) / 2
    assert note["agreement"] == pytest.approx(float(pairs.mean() / 3))
    assert note["moved"] == ticket.mask.distance(own)
    assert note["moved"] > 0


def test_what_the_look_aheads_of_a_warm_up_see_is_all_but_one_mask(points: Make) -> None:
    """The trap of the released code: forty steps behind a warm-up of five hundred go nowhere.

    They then vote for the plain cut, and the denoiser has next to nothing to say.
    """
    knobs = {"preset": "authors-code", "compression": 0.5, "lookahead_steps": 10}
    idle, real = (
        rounds(
            METHODS["instant-soup"](**knobs, lookahead_warmup=warmup).draw(
                points(steps=60), 0.5
            )
        )[0]
        for warmup in (500, 0)
    )
    assert idle["agreement"] > 0.99
    assert real["agreement"] < 0.95
    assert idle["moved"] < real["moved"] / 4


def test_a_union_is_trimmed_in_the_last_round_alone(points: Make) -> None:
    ticket = beside_t(
        denoisers=4,
        lookahead_steps=8,
        compression=0.3,
        blend="union",
        own_mask=False,
        **THROWN,
    ).draw(points(), 0.8)
    *before, last = rounds(ticket)
    assert all(note["sparsity"] < note["target"] for note in before)
    assert round((1 - last["sparsity"]) * 168) == round(0.2 * 168)


# settled


def drawn(task: CourseTask, **knobs: Any) -> tuple[soup.Ticket, soup.Meter]:
    meter = soup.Meter()
    return beside_t(
        **{"denoisers": 6, "lookahead_steps": 3, "compression": 0.5, **THROWN, **knobs}
    ).draw(task, 0.5, meter), meter


def test_look_aheads_that_change_nothing_more_are_left_out_and_not_charged(
    points: Make,
) -> None:
    still = points(rate=1e-12, weight_decay=0.0)
    (few, spent), (many, full) = (drawn(still, settled=share) for share in (0.01, None))
    # the second shows that the first was enough
    assert [note["look-aheads"] for note in rounds(few)] == [2]
    assert [note["look-aheads"] for note in rounds(many)] == [6]
    assert spent.bill["look-ahead"].steps == 2 * 3
    assert full.bill["look-ahead"].steps == 6 * 3
    assert spent.bill["train"] == full.bill["train"]
    assert few.mask == many.mask


def test_a_round_that_may_not_change_at_all_takes_every_look_ahead(points: Make) -> None:
    ticket, meter = drawn(points(rate=1e-12, weight_decay=0.0), settled=0.0)
    assert [note["look-aheads"] for note in rounds(ticket)] == [6]
    assert meter.bill["look-ahead"].steps == 18


def test_the_looser_the_share_the_sooner_a_round_is_settled(points: Make) -> None:
    taken = [
        rounds(drawn(points(), settled=share)[0])[0]["look-aheads"]
        for share in (0.0, 0.08, 1.0)
    ]
    assert taken == sorted(taken, reverse=True)
    assert taken[0] == 6
    assert 2 < taken[1] < 6
    assert taken[2] == 2


@pytest.mark.parametrize("blend", ["votes", "lookahead", "union", "intersection"])
@pytest.mark.parametrize("own_mask", [True, False])
def test_a_settled_round_is_the_round_of_as_many_denoisers(
    points: Make, blend: str, own_mask: bool
) -> None:
    knobs: dict[str, Any] = {"blend": blend, "own_mask": own_mask, "across": "layer"}
    early, _ = drawn(points(), settled=1.0, **knobs)
    fewer, _ = drawn(points(), denoisers=2, **knobs)
    assert early.mask == fewer.mask


def test_a_mean_of_all_look_aheads_does_not_settle() -> None:
    with pytest.raises(KnobError, match="counts on all look-aheads"):
        beside_t(settled=0.1, carry="mean")


def test_rounds_settle_where_what_is_carried_on_was_left_open(points: Make) -> None:
    task = points()
    knobs: dict[str, Any] = {"denoisers": 6, "lookahead_steps": 3, "settled": 1.0}
    left_open = beside_t(**knobs).draw(task, 0.5)
    thrown_away = beside_t(**knobs, carry="none").draw(task, 0.5)
    assert left_open.mask == thrown_away.mask
    assert left_open.method["carry"] == "none"


# what is carried on


def test_the_mean_of_the_look_aheads_is_where_the_round_goes_on_from(
    points: Make,
) -> None:
    task = points()
    ticket = beside_t(
        denoisers=2,
        lookahead_steps=3,
        compression=0.5,
        round_steps=2,
        carry="mean",
        finish="restart",
    ).draw(task, 0.5)
    learner = task.learner(soup.Meter())
    learner.train(2)
    looks = briefs(2, 3, Protocols(), learner.seed("look-ahead", 0))
    one, other = learner.look_ahead(looks, lambda scout: scout.weights())
    for name, part in ticket.start.items():
        keep = ticket.mask[name] if name in ticket.mask else torch.ones(())
        torch.testing.assert_close(part, (one[name] + other[name]) / 2 * keep)


# look-aheads inside the budget

INSIDE: dict[str, Any] = {
    "denoisers": 2,
    "lookahead_steps": 2,
    "share": "cubic",
    "rounds": 4,
    "spacing": "even",
    "mask_share": 0.5,
    "denoised_rounds": 2,
    "inside": True,
    "finish": "continue",
}


@pytest.mark.parametrize("blend", ["votes", "extrapolated"])
@pytest.mark.parametrize(
    ("carry", "progress"),
    [("none", "all"), ("mean", "all"), ("mean", "row"), ("auto", "row")],
)
@pytest.mark.parametrize("score", ["magnitude", "curved"])
def test_look_aheads_inside_the_budget_take_exactly_t_steps_in_all(
    points: Make, carry: Any, progress: Any, score: str, blend: str
) -> None:
    meter = soup.Meter()
    method = beside_t(
        **{**INSIDE, "carry": carry, "progress": progress, "score": score, "blend": blend}
    )
    ticket = method.draw(points(steps=40), 0.9, meter)
    assert meter.bill["look-ahead"].steps == 2 * 2 * 2
    assert meter.bill["train"].steps + meter.bill["look-ahead"].steps == 40
    assert ticket.ready
    assert [note["look-aheads"] for note in rounds(ticket)] == [0, 0, 2, 2]


def test_look_aheads_that_leave_no_line_are_refused_before_any_work(points: Make) -> None:
    meter = soup.Meter()
    with pytest.raises(
        KnobError, match="look-aheads take 40 steps and the budget T has 40"
    ):
        beside_t(**{**INSIDE, "carry": "none", "lookahead_steps": 10}).draw(
            points(steps=40), 0.9, meter
        )
    assert not meter.bill


@pytest.mark.parametrize(("progress", "moved"), [("row", 3), ("all", 6)])
def test_the_mean_of_look_aheads_moves_the_line_by_what_is_in_a_row_or_by_all(
    points: Make, monkeypatch: pytest.MonkeyPatch, progress: Any, moved: int
) -> None:
    advanced: list[int] = []
    advance = ModuleLearner.advance

    def heard(learner: ModuleLearner, weights: Any, steps: int) -> None:
        advanced.append(steps)
        advance(learner, weights, steps)

    monkeypatch.setattr(ModuleLearner, "advance", heard)
    meter = soup.Meter()
    knobs: dict[str, Any] = {
        "denoisers": 2,
        "lookahead_steps": 3,
        "compression": 0.4,
        "mask_share": 0.3,
    }
    beside_t(**knobs, carry="mean", progress=progress, finish="continue").draw(
        points(steps=40), 0.8, meter
    )
    assert advanced == [moved, moved]
    assert meter.bill["train"].steps == 40 - 2 * moved
    assert meter.bill["look-ahead"].steps == 12


@pytest.mark.parametrize("mask_start", [0.0, 0.2])
@pytest.mark.parametrize("score", ["magnitude", "curved"])
def test_without_denoisers_and_evenly_spaced_it_is_gradual_pruning_to_the_bit(
    points: Make, score: str, mask_start: float
) -> None:
    common: dict[str, Any] = {
        "rounds": 5,
        "mask_share": 0.6,
        "mask_start": mask_start,
        "score": score,
    }
    task = points(steps=40)
    ours = beside_t(
        denoisers=0, share="cubic", spacing="even", finish="continue", **common
    ).draw(task, 0.9)
    theirs = soup.Gradual(schedule="cubic", **common).draw(task, 0.9)
    assert ours.mask == theirs.mask
    assert ours.start.keys() == theirs.start.keys()
    assert all(torch.equal(part, theirs.start[name]) for name, part in ours.start.items())
    assert ours.cost == theirs.cost


def test_a_curved_round_is_cut_by_the_mean_of_what_look_aheads_score(
    points: Make,
) -> None:
    task = points()
    learner = task.learner(soup.Meter())
    learner.train(4)
    looks = briefs(3, 4, Protocols(), learner.seed("look-ahead", 0), carry_optimizer=True)
    seen = list(learner.look_ahead(looks, lambda scout: dict(curved(scout))))
    mean = {
        name: torch.stack([scores[name] for scores in seen]).mean(0)
        for name in learner.scope
    }
    knobs: dict[str, Any] = {
        "denoisers": 3,
        "lookahead_steps": 4,
        "compression": 0.5,
        "round_steps": 4,
        **THROWN,
    }
    ticket = beside_t(
        **knobs, carry_optimizer=True, score="curved", blend="lookahead"
    ).draw(task, 0.5)
    assert ticket.mask == soup.prune(mean, learner.mask, 0.5)
    assert (
        ticket.mask
        != beside_t(**knobs, carry_optimizer=True, blend="lookahead").draw(task, 0.5).mask
    )


@pytest.mark.parametrize("carry", ["none", "mean"])
def test_an_extrapolated_round_is_cut_where_the_mean_displacement_leads(
    points: Make, carry: Any
) -> None:
    """From where the look-aheads began, whether their mean is gone on from or not."""
    task = points()
    learner = task.learner(soup.Meter())
    learner.train(4)
    before = learner.weights()
    looks = briefs(2, 4, Protocols(), learner.seed("look-ahead", 0))
    one, other = learner.look_ahead(looks, lambda scout: scout.weights())
    ahead = {
        name: before[name] + 3 * ((one[name] + other[name]) / 2 - before[name])
        for name in learner.scope
    }
    knobs: dict[str, Any] = {
        "denoisers": 2,
        "lookahead_steps": 4,
        "compression": 0.5,
        "round_steps": 4,
    }
    ticket = beside_t(**knobs, blend="extrapolated", carry=carry, finish="restart").draw(
        task, 0.5
    )
    assert ticket.mask == soup.prune(
        {name: part.abs() for name, part in ahead.items()}, learner.mask, 0.5
    )


def test_look_aheads_come_in_as_many_rounds_as_are_asked_for_from_either_end(
    points: Make,
) -> None:
    for denoised, end, wanted in (
        (1, "last", [0, 0, 2]),
        (2, "last", [0, 2, 2]),
        (1, "first", [2, 0, 0]),
        (2, "first", [2, 2, 0]),
        (9, "last", [2, 2, 2]),
        (9, "first", [2, 2, 2]),
        (None, "last", [2, 2, 2]),
    ):
        ticket = beside_t(
            **QUICK, denoisers=2, denoised_rounds=denoised, denoised_from=end
        ).draw(points(), 0.8)
        assert [note["look-aheads"] for note in rounds(ticket)] == wanted


# presets


def test_presets_are_table_one_of_the_paper() -> None:
    variant = METHODS["instant-soup"]
    clip, bert = variant(preset="paper-clip"), variant(preset="paper-bert")
    for ours, denoisers, steps, compression in ((clip, 5, 50, 0.15), (bert, 4, 30, 0.1)):
        knobs: Any = ours
        assert (knobs.denoisers, knobs.lookahead_steps, knobs.compression) == (
            denoisers,
            steps,
            compression,
        )
        assert (knobs.blend, knobs.own_mask, knobs.carry, knobs.finish) == (
            "union",
            True,
            "none",
            "continue",
        )
        assert (knobs.round_epochs, knobs.round_steps, knobs.lookahead_warmup) == (
            0.1,
            None,
            0,
        )
        assert knobs.trains


def test_what_is_asked_for_goes_before_the_preset() -> None:
    knobs: Any = METHODS["instant-soup"](preset="authors-code", denoisers=1)
    assert (knobs.denoisers, knobs.lookahead_warmup, knobs.own_mask) == (1, 500, False)
    # look-aheads differ in their examples alone
    assert knobs.protocols.rate == (1.0, 1.0)


def test_a_preset_that_does_not_exist_is_refused() -> None:
    with pytest.raises(UnknownName, match="did you mean 'paper-bert'"):
        METHODS["instant-soup"](preset="paper-brt")


@pytest.mark.parametrize("preset", METHODS["instant-soup"].presets)
def test_every_preset_draws(points: Make, preset: str) -> None:
    method = METHODS["instant-soup"](preset=preset, lookahead_steps=2)
    ticket = method.draw(points(epochs=12, steps=None), 0.3)
    assert ticket.ready == method.trains
    assert ticket.mask.kept == round(0.7 * 168)


# knobs


@pytest.mark.parametrize(
    ("knobs", "message"),
    [
        ({"denoisers": -1}, "denoisers is -1; expected 0 or more"),
        ({"lookahead_steps": 0}, "lookahead_steps is 0; expected 1"),
        ({"lookahead_warmup": -1}, "lookahead_warmup is -1"),
        ({"round_steps": 0}, "round_steps is 0"),
        ({"round_epochs": 0.0}, "round_epochs is 0.0"),
        ({"round_epochs": float("inf")}, "round_epochs is inf"),
        ({"settled": 1.5}, "settled is 1.5"),
        ({"settled": float("nan")}, "settled is nan"),
        ({"mask_share": 0.0}, "mask_share is 0.0"),
        ({"compression": 0.0}, "compression is 0.0"),
        ({"denoisers": 0, "own_mask": False}, "no mask is left to blend"),
        ({"denoised_rounds": 0}, "denoised_rounds is 0; expected 1"),
        ({"rounds": 0}, "rounds is 0; expected 1"),
        ({"share": "cubic"}, "share is 'cubic', which the number of rounds sets"),
        ({"mask_start": 0.1}, "set spacing to 'even', and mask_start below mask_share"),
        ({"mask_start": 0.2, "spacing": "even"}, "and mask_start below mask_share"),
        ({"mask_start": 1.0, "spacing": "even"}, "mask_start is 1.0"),
        ({"inside": True}, "set finish to 'continue', or inside to false"),
    ],
)
def test_knobs_that_cannot_work_are_refused(knobs: dict[str, Any], message: str) -> None:
    with pytest.raises(KnobError, match=message):
        beside_t(**knobs)


def test_protocols_that_cannot_work_are_refused() -> None:
    with pytest.raises(KnobError, match="subset range is"):
        beside_t(protocols=Protocols(subset=(0.0, 1.0)))


@pytest.mark.parametrize(
    "knob",
    [
        "blend",
        "carry",
        "denoised_from",
        "finish",
        "share",
        "score",
        "progress",
        "spacing",
    ],
)
def test_a_choice_that_does_not_exist_is_refused(knob: str) -> None:
    with pytest.raises(UnknownName, match=f"unknown {knob} 'x'"):
        beside_t(**{knob: "x"})  # type: ignore[arg-type]


# how long look-aheads are


def test_look_aheads_take_the_papers_steps_or_what_half_of_t_leaves(points: Make) -> None:
    """The paper's constant would cost many T on small data."""

    def steps(horizon: int, **knobs: Any) -> int:
        meter = soup.Meter()
        beside_t(**{"compression": 0.3, "denoisers": 2, **THROWN, **knobs}).draw(
            points(steps=horizon), 0.6, meter
        )
        return meter.bill["look-ahead"].steps

    assert steps(80) == 40  # two rounds of two look-aheads of 10
    assert steps(12) == 4  # never none
    assert steps(80, lookahead_steps=30) == 120
    assert steps(400) == 120
    assert steps(80, carry="mean") == 40


def test_look_aheads_are_carried_on_by_default_where_they_fit_into_t(
    points: Make,
) -> None:
    """Otherwise they are thrown away, or refused if their length was given."""
    knobs: dict[str, Any] = {"compression": 0.3, "denoisers": 5}
    fits, tiny = (beside_t(**knobs).draw(points(steps=steps), 0.6) for steps in (40, 8))
    assert (fits.method["carry"], tiny.method["carry"]) == ("mean", "none")
    assert (
        tiny.digest == beside_t(**knobs, carry="none").draw(points(steps=8), 0.6).digest
    )
    with pytest.raises(KnobError, match="or set carry to 'none'"):
        beside_t(**knobs, lookahead_steps=2).draw(points(steps=8), 0.6)


# by default


def charged(method: InstantSoup, task: CourseTask) -> tuple[dict[str, int], soup.Ticket]:
    """The steps of a draw by purpose, and its ticket."""
    meter = soup.Meter()
    ticket = method.draw(task, 0.6, meter)
    return {purpose: cost.steps for purpose, cost in meter.bill.items()}, ticket


@pytest.mark.parametrize(
    ("horizon", "steps"), [(800, 40), (1200, 40), (400, 20), (60, 3), (12, 1)]
)
def test_by_default_all_is_paid_out_of_t_and_look_aheads_take_a_tenth_of_it_at_most(
    points: Make, horizon: int, steps: int
) -> None:
    spent, ticket = charged(InstantSoup(), points(steps=horizon))
    assert spent["look-ahead"] == 2 * steps
    assert spent["train"] + spent["look-ahead"] == horizon
    assert ticket.ready
    assert [note["look-aheads"] for note in rounds(ticket)] == [0] * 11 + [2]


def test_the_default_is_the_preset_within_t_where_t_has_800_steps_or_more(
    points: Make,
) -> None:
    task = points(steps=800)
    preset = METHODS["instant-soup"](preset="within-t")
    assert InstantSoup().draw(task, 0.6).mask == preset.draw(task, 0.6).mask


def test_a_compression_sets_the_rounds_and_they_remove_the_same_share(
    points: Make,
) -> None:
    targets = [
        note["target"]
        for note in rounds(InstantSoup(compression=0.2).draw(points(), 0.6))
    ]
    assert targets == pytest.approx([0.2, 0.4, 0.6])


@pytest.mark.parametrize("finish", ["restart", "rewind"])
def test_with_another_finish_look_aheads_are_not_paid_out_of_t(
    points: Make, finish: Any
) -> None:
    """They are the paper's 30 steps then, or half of T."""
    spent, _ = charged(InstantSoup(finish=finish), points(steps=100))
    assert spent["look-ahead"] == 2 * 25
