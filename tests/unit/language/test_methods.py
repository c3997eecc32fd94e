"""Calibration methods, and patterns over methods, on miniatures that read."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

import instant_soup as soup
from instant_soup.core import calibration
from instant_soup.core.errors import KnobError, ScopeError, SparsityError, TrainingError
from instant_soup.core.pattern import (
    Pattern,
    best,
    by_pattern,
    follows,
    rows,
)
from instant_soup.core.pattern import by_row as cut_by_row
from instant_soup.core.prune import Across
from instant_soup.methods import METHODS
from instant_soup.methods.calibration import SCORES, Calibrated, Cutter
from instant_soup.tasks import CourseTask

QUICK: dict[str, dict[str, object]] = {
    "gradual": {"rounds": 3},
    "early-bird": {"check": 0.02, "queue": 2},
    "lth": {"compression": 0.3},
    "lth-rewind": {"compression": 0.3, "rewind": 0.2},
    "lottery-pools": {"compression": 0.4, "coefficients": (0.5,)},
    "model-soup": {"ingredients": 2},
    "instant-model-soup": {"ingredients": 2, "lookahead_steps": 1, "grid": 1},
    "instant-soup": {
        "denoisers": 1,
        "lookahead_steps": 1,
        "compression": 0.3,
        "finish": "rewind",
        "carry": "none",
    },
    "snip": {"per_class": 1},
    "grasp": {"per_class": 1},
    **{name: {"samples": 6} for name in SCORES},
}


@pytest.mark.parametrize("name", SCORES)
@pytest.mark.parametrize("sparsity", [0.31, 0.5, 0.9])
def test_counts_are_exact_and_what_is_pruned_is_bit_zero(
    name: str, sparsity: float, reading: CourseTask
) -> None:
    ticket = METHODS[name](samples=6).draw(reading, sparsity)
    scope = ticket.mask.scope
    assert ticket.mask.kept == round((1 - sparsity) * scope.size)
    even = [
        (kept / scope.numel(part) - (1 - sparsity))
        for part, kept in ticket.mask.kept_by_name.items()
    ]
    assert max(map(abs, even)) < 0.01
    for part, start in ticket.start.items():
        assert not start[~ticket.mask[part]].contiguous().view(torch.int32).any()
    assert set(ticket.start) == (set(scope) if name == "sparsegpt" else set())


@pytest.mark.parametrize("pattern", ["2:4", "4:8", "1:4"])
@pytest.mark.parametrize("name", METHODS)
def test_every_method_that_takes_a_pattern_keeps_it_along_the_inputs(
    name: str, pattern: str, reading: CourseTask
) -> None:
    groups = Pattern.named(pattern)
    assert groups is not None
    ticket = METHODS[name](pattern=pattern, **QUICK.get(name, {})).draw(
        reading, groups.sparsity
    )
    inputs = reading.course.scope.inputs
    for part in ticket.mask:
        assert follows(ticket.mask[part], groups, inputs.get(part, -1)), part
    weights = soup.evaluate(ticket, reading).weights
    assert all(not weights[part][~ticket.mask[part]].any() for part in ticket.mask)


def test_wanda_cuts_rows_by_the_scores_of_inputs_through_pruned_blocks(
    reading_llama: CourseTask,
) -> None:
    """The same by hand: block by block, scores and rows written out."""
    ticket = Calibrated(samples=6).draw(reading_llama, 0.5)
    learner = reading_llama.learner(soup.Meter())
    for part in learner.inputs(6, learner.seed("calibration")):
        pruned = {}
        for name, squares in part.items():
            weight = learner.view()[name]
            score = weight.abs() * squares.sqrt()
            expected = torch.zeros_like(weight, dtype=torch.bool)
            for row, order in enumerate(score.argsort(dim=1, descending=True)):
                expected[row, order[: weight.shape[1] // 2]] = True
            assert torch.equal(ticket.mask[name], expected), name
            pruned[name] = weight * expected
        learner.restore(pruned)


def test_sparsegpt_carries_the_updated_weights_and_is_nearer_to_what_the_model_said(
    reading_llama: CourseTask,
) -> None:
    moments = next(
        iter(reading_llama.learner(soup.Meter()).inputs(16, 0, second_moment=True))
    )
    model = dict(reading_llama.course.model.named_parameters())
    name = "model.layers.0.mlp.down_proj.weight"
    weight, moment = model[name].detach(), moments[name]
    lost = []
    for method in (Calibrated("sparsegpt", 16), Calibrated("wanda", 16)):
        ticket = method.draw(reading_llama, 0.5)
        gone = weight - (
            ticket.start[name] if name in ticket.start else weight * ticket.mask[name]
        )
        lost.append(float(((gone @ moment) * gone).sum()))
    assert lost[0] < lost[1]
    assert calibration.DAMPING == 0.01


def test_a_ticket_of_sparsegpt_is_saved_and_read_back(
    reading: CourseTask, tmp_path: Path
) -> None:
    ticket = Calibrated("sparsegpt", 6, pattern="2:4").draw(reading, 0.5)
    ticket.save(tmp_path / "ticket.safetensors")
    again = soup.Ticket.load(tmp_path / "ticket.safetensors")
    assert again.digest == ticket.digest
    assert again.method["pattern"] == "2:4"


def test_another_seed_calibrates_on_other_windows(reading_llama: CourseTask) -> None:
    ticket = Calibrated(samples=6).draw(reading_llama, 0.5)
    assert Calibrated(samples=6).draw(reading_llama, 0.5).digest == ticket.digest
    assert (
        Calibrated(samples=6).draw(replace(reading_llama, seed=1), 0.5).mask
        != ticket.mask
    )


def masks_of_subsets(
    task: CourseTask, count: int
) -> tuple[dict[str, list[torch.Tensor]], dict[str, torch.Tensor]]:
    """The masks that Wanda makes of each subset of six examples in the first block, and the mean of their scores."""
    learner = task.learner(soup.Meter())
    seed = learner.seed("calibration")
    masks: dict[str, list[torch.Tensor]] = {}
    scores: dict[str, list[torch.Tensor]] = {}
    for index in range(count):
        for name, squares in next(learner.inputs(6, seed, subset=(index, count))).items():
            score = learner.view()[name].abs() * squares.sqrt()
            order = score.argsort(dim=1, descending=True, stable=True)
            kept = torch.zeros_like(score, dtype=torch.bool).scatter_(
                1, order[:, : score.shape[1] // 2], True
            )
            masks.setdefault(name, []).append(kept)
            scores.setdefault(name, []).append(score)
    return masks, {name: torch.stack(each).mean(0) for name, each in scores.items()}


def test_masks_of_disjoint_subsets_vote_and_the_mean_score_settles_ties(
    reading_llama: CourseTask,
) -> None:
    """The same by hand in the first block, which all subsets see unpruned."""
    ticket = Calibrated(samples=6, subsets=2).draw(reading_llama, 0.5)
    masks, means = masks_of_subsets(reading_llama, 2)
    disputed = 0
    for name, each in masks.items():
        votes = torch.stack(each).sum(0)
        mean = means[name].double()
        order = (votes * (mean.max() + 1) + mean).argsort(
            dim=1, descending=True, stable=True
        )
        expected = torch.zeros_like(votes, dtype=torch.bool).scatter_(
            1, order[:, : votes.shape[1] // 2], True
        )
        assert torch.equal(ticket.mask[name], expected), name
        disputed += int((votes == 1).sum())
    assert disputed > 0


def test_subsets_divide_the_pooled_examples_and_cost_as_much(
    reading_llama: CourseTask,
) -> None:
    """The control, one mask of all samples, sees the very same examples once."""
    learner = reading_llama.learner(soup.Meter())
    pooled = next(learner.inputs(6, 0))
    parts = [next(learner.inputs(6, 0, subset=(index, 3))) for index in range(3)]
    for name, squares in pooled.items():
        torch.testing.assert_close(
            parts[0][name] + parts[1][name] + parts[2][name], squares
        )

    bills = []
    tickets = []
    for subsets in (1, 3):
        meter = soup.Meter()
        tickets.append(
            Calibrated(samples=6, subsets=subsets).draw(reading_llama, 0.5, meter)
        )
        bills.append(meter.bill)
    assert bills[0] == bills[1]
    assert tickets[0].mask != tickets[1].mask


@pytest.mark.parametrize(
    ("pattern", "across"),
    [("unstructured", "row"), ("unstructured", "layer"), ("2:4", None)],
)
@pytest.mark.parametrize("score", ["wanda", "ria"])
def test_votes_keep_exactly_as_many(
    score: str, pattern: str, across: Any, reading: CourseTask
) -> None:
    ticket = Calibrated(score, 6, across, pattern, subsets=3).draw(reading, 0.5)
    assert ticket.mask.kept == round(0.5 * ticket.mask.scope.size)
    inputs = reading.course.scope.inputs
    for name in ticket.mask:
        dim = inputs.get(name, -1)
        if pattern == "2:4":
            assert follows(ticket.mask[name], Pattern(2, 4), dim)
        elif across == "row":
            kept = rows(ticket.mask[name], dim).sum(1)
            assert int(kept.max() - kept.min()) <= 1
        else:
            assert (
                abs(ticket.mask.kept_by_name[name] - ticket.mask.scope.numel(name) / 2)
                <= 1
            )


def test_subsets_of_equal_masks_change_nothing() -> None:
    weight, squares = (
        torch.randn(6, 8, generator=torch.Generator().manual_seed(0)),
        torch.rand(8),
    )
    cutter = Cutter("wanda", "row")
    alone, together = (
        cutter.vote(weight, [squares] * count, 24, -1)[0] for count in (1, 4)
    )
    assert torch.equal(alone, together)


def test_fewer_examples_than_are_asked_for_are_all_taken_and_said(
    reading_llama: CourseTask,
) -> None:
    count = len(reading_llama.course.train)
    with pytest.warns(UserWarning, match=f"{count + 1} training examples are asked for"):
        more = Calibrated(samples=count + 1).draw(reading_llama, 0.5)
    assert more.mask == Calibrated(samples=count).draw(reading_llama, 0.5).mask
    assert more.cost.examples == count


@pytest.mark.filterwarnings("ignore:.*to calibrate on:UserWarning")
def test_more_subsets_than_examples_are_refused(reading_llama: CourseTask) -> None:
    count = len(reading_llama.course.train) + 1
    with pytest.raises(TrainingError, match=f"do not make {count} subsets"):
        Calibrated(samples=count, subsets=count).draw(reading_llama, 0.5)


def test_across_rows_and_layers(reading_llama: CourseTask) -> None:
    by_row = Calibrated("ria", 6, across="row").draw(reading_llama, 0.75)
    for name in by_row.mask:
        kept = rows(by_row.mask[name], -1).sum(1)
        assert int(kept.max() - kept.min()) <= 1
    by_layer = Calibrated("ria", 6).draw(reading_llama, 0.75)
    assert by_layer.mask != by_row.mask
    assert by_layer.mask.kept_by_name == by_row.mask.kept_by_name


def test_what_makes_no_sense_is_refused_before_any_work(reading: CourseTask) -> None:
    meter = soup.Meter()
    with pytest.raises(SparsityError, match="pattern 2:4 prunes 0"):
        Calibrated(pattern="2:4").draw(reading, 0.6, meter)
    with pytest.raises(ScopeError, match="pattern 3:7 does not divide"):
        Calibrated(pattern="3:7").draw(reading, 4 / 7, meter)
    with pytest.raises(ScopeError, match="pattern 3:7 does not divide"):
        METHODS["snip"](pattern="3:7").draw(reading, 4 / 7, meter)
    assert not meter.bill
    refused: list[dict[str, Any]] = [
        {"across": "model"},
        {"score": "sparsegpt", "across": "row"},
        {"samples": 0},
        {"subsets": 0},
        {"samples": 4, "subsets": 5},
        {"score": "sparsegpt", "subsets": 2},
    ]
    for knobs in refused:
        with pytest.raises(KnobError):
            Calibrated(**knobs)


@pytest.mark.parametrize("dim", [-1, 1])
@pytest.mark.parametrize("pattern", [None, Pattern(2, 4)])
@pytest.mark.parametrize("across", ["row", "layer"])
@pytest.mark.parametrize("score", ["magnitude", "wanda", "ria"])
def test_a_stack_is_cut_matrix_by_matrix_as_it_would_be_whole(
    score: str, across: Across, pattern: Pattern | None, dim: int
) -> None:
    stack = torch.randn(3, 8, 8)
    squares = torch.rand(3, 8)
    cutter = Cutter(score, across, pattern)
    # 3 x 8 outputs do not share 77 weights evenly
    kept = cutter.kept(stack, squares, 77, dim)

    whole = stack.abs()
    if score != "magnitude":
        whole = getattr(calibration, score)(stack, squares, dim)
    alive = torch.ones_like(kept)
    if pattern is not None:
        expected = by_pattern(whole, alive, pattern, 2, dim)
    elif across == "row":
        expected = cut_by_row(whole, alive, 77, dim)
    elif score == "magnitude":
        expected = best(whole.reshape(1, -1), alive.reshape(1, -1), 77).view(stack.shape)
    else:
        # experts are not compared with one another: they are called differently often
        expected = torch.empty_like(kept)
        for number, quota in enumerate((26, 26, 25)):
            matrix = whole.movedim(dim, -1)[number].reshape(1, -1)
            flags = best(matrix, torch.ones_like(matrix).bool(), quota)
            expected.movedim(dim, -1)[number] = flags.view(8, 8)
    assert torch.equal(kept, expected)
