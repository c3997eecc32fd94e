"""Lottery Pools, compared with the loop of the paper written out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partialmethod
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.func import functional_call

import instant_soup as soup
from instant_soup.core.errors import KnobError
from instant_soup.methods import Lottery, LotteryPools
from instant_soup.methods.lottery_pools import COEFFICIENTS
from instant_soup.tasks import CourseTask

Make = Callable[..., CourseTask]
Tensors = dict[str, Tensor]
SCOPE = ("one.weight", "two.weight")


def accuracy(task: CourseTask, weights: Tensors) -> float:
    validation = task.course.validation
    outputs = functional_call(task.course.model, weights, (validation.inputs,))
    return float((outputs.argmax(1) == validation.targets).float().mean())


def cut(weights: Tensors, kept: int) -> Tensors:
    sizes = torch.cat([weights[name].abs().flatten() for name in SCOPE])
    bar = sizes.sort(descending=True).values[kept - 1]
    return {
        n: part * (part.abs() >= bar) if n in SCOPE else part
        for n, part in weights.items()
    }


def level(task: CourseTask, sparsity: float) -> Tensors:
    """IMP's trained network of this sparsity."""
    method = (
        Lottery(rewind=0.0, compression=0.2, rewind_head=True)
        if sparsity
        else soup.Dense()
    )
    return dict(soup.evaluate(method.draw(task, sparsity), task).weights)


def pooled(
    task: CourseTask, sparsities: list[float], target: int
) -> tuple[Tensors, list[float | None]]:
    """The best of the pool, and the coefficient of each level in the order they were tried."""
    levels = [level(task, sparsity) for sparsity in sparsities]
    kept = sum(int(levels[target][name].count_nonzero()) for name in SCOPE)
    best, bar, taken = levels[target], accuracy(task, levels[target]), []
    outward = [target + side * by for by in range(1, len(levels)) for side in (-1, 1)]
    for i in (i for i in outward if 0 <= i < len(levels)):
        tried = []
        for a in COEFFICIENTS:
            candidate = cut({n: a * best[n] + (1 - a) * levels[i][n] for n in best}, kept)
            tried.append((accuracy(task, candidate), a, candidate))
        value, a, candidate = max(tried, key=lambda each: each[0])
        taken.append(a if value > bar else None)
        if value > bar:
            best, bar = candidate, value
    return best, taken


@pytest.mark.parametrize(("beyond", "order"), [(0, [2, 1, 0]), (1, [2, 4, 1, 0])])
def test_the_ticket_is_that_of_the_loop_written_out(
    points: Make, beyond: int, order: list[int]
) -> None:
    task = replace(points(steps=20), seed=1)
    ticket = LotteryPools(compression=0.2, rewind_head=True, beyond=beyond).draw(
        task, 0.6
    )
    wanted, taken = pooled(task, [0.0, 0.2, 0.4, 0.6, 0.8][: 4 + beyond], 3)
    assert any(taken)
    assert None in taken
    assert [note["coefficient"] for note in ticket.notes["pool"]] == taken
    assert [note["level"] for note in ticket.notes["pool"]] == order
    for name, part in soup.evaluate(ticket, task).weights.items():
        torch.testing.assert_close(part, wanted[name])
        if name in SCOPE:
            assert torch.equal(ticket.mask[name], wanted[name] != 0)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("rewind", [0.0, 0.2])
def test_the_pool_is_never_below_the_ticket_on_validation(
    points: Make, seed: int, rewind: float
) -> None:
    task, knobs = (
        replace(points(), seed=seed),
        {"compression": 0.3, "rewind": rewind, "rewind_head": True},
    )
    lottery, pools = (make(**knobs).draw(task, 0.6) for make in (Lottery, LotteryPools))
    assert pools.mask.kept == lottery.mask.kept == round(0.4 * pools.mask.scope.size)
    bars = [note["validation"] for note in pools.notes["pool"]]
    assert bars == sorted(bars)
    assert soup.evaluate(pools, task).validation == bars[-1]
    if not rewind:  # else the ticket is trained for longer than its level was
        assert soup.evaluate(lottery, task).validation <= bars[0]


@pytest.mark.parametrize("beyond", [0, 1])
@pytest.mark.parametrize("rewind", [0.0, 0.25])
def test_on_text_the_level_of_the_target_is_imps_ticket_fine_tuned(
    mini: CourseTask, rewind: float, beyond: int
) -> None:
    """A text classifier has a head that rounds carry on, and the ticket starts from the one that all tickets have."""
    imp: dict[str, Any] = {"compression": 0.3, "rewind": rewind}
    lottery = Lottery(**imp).draw(mini, 0.6)
    learner = mini.learner(soup.Meter())
    learner.apply_mask(lottery.mask)
    learner.restore(lottery.start)
    learner.complete(at=round(rewind * mini.horizon))
    wanted = learner.evaluate()

    heard: list[float] = []
    pools = LotteryPools(**imp, beyond=beyond, coefficients=(0.5,))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            LotteryPools, "_mixed", partialmethod(mixed, heard, learner.weights())
        )
        ticket = pools.draw(mini, 0.6)
    assert heard == [wanted]
    assert ticket.mask == lottery.mask


def mixed(
    method: LotteryPools,
    heard: list[float],
    weights: Tensors,
    learner: Any,
    pool: Any,
    place: int,
    sparsity: float,
) -> Any:
    """The level of the target alone, which is to have these *weights*."""
    level = pool[place]
    learner.apply_mask(level.mask)
    learner.restore(level.weights)
    assert all(torch.equal(part, weights[name]) for name, part in level.weights.items())
    heard.append(learner.evaluate())
    return level


@pytest.mark.parametrize("beyond", [0, 1])
def test_on_text_the_pool_is_never_below_imps_own_ticket_on_validation(
    mini: CourseTask, beyond: int
) -> None:
    lottery = Lottery(compression=0.3, rewind=0.0).draw(mini, 0.6)
    pools = LotteryPools(compression=0.3, beyond=beyond).draw(mini, 0.6)
    bars = [note["validation"] for note in pools.notes["pool"]]
    assert (
        soup.evaluate(lottery, mini).validation
        <= bars[0]
        <= bars[-1]
        == soup.evaluate(pools, mini).validation
    )


def test_a_curved_pool_cuts_its_candidates_by_curvature(points: Make) -> None:
    """Mixed half and half, the second moments are mixed half and half too."""
    task = replace(points(steps=20), seed=1)
    knobs: dict[str, Any] = {"compression": 0.3, "rewind_head": True, "score": "curved"}
    ticket = LotteryPools(**knobs).draw(task, 0.6)
    plain = LotteryPools(**{**knobs, "score": "magnitude"}).draw(task, 0.6)
    assert ticket.mask.kept == plain.mask.kept
    assert ticket.mask != plain.mask
    assert (
        soup.evaluate(ticket, task).validation == ticket.notes["pool"][-1]["validation"]
    )


def test_where_nothing_helps_the_ticket_is_imps_own(points: Make) -> None:
    """At next to no rate all levels are one network, more or less pruned, and validate no better."""
    task = points(rate=1e-12, weight_decay=0.0)
    ticket = LotteryPools(compression=0.3, rewind_head=True).draw(task, 0.6)
    assert [note["coefficient"] for note in ticket.notes["pool"]] == [None] * 2
    assert ticket.mask == Lottery(rewind=0.0, compression=0.3).draw(task, 0.6).mask
    assert ticket.ready


def test_levels_beyond_the_target_cost_a_fine_tune_each(points: Make) -> None:
    steps, examples = [], []
    for beyond in (0, 1, 2):
        meter = soup.Meter()
        LotteryPools(compression=0.2, coefficients=(0.5,), beyond=beyond).draw(
            points(), 0.4, meter
        )
        steps.append(meter.bill["train"].steps)
        examples.append(meter.bill["select"].examples)
    assert steps == [45, 60, 75]
    # the ticket, and each other level once
    assert examples == [40 * (1 + 2), 40 * (1 + 3), 40 * (1 + 4)]


def test_knobs_that_cannot_work_are_refused_before_any_work(points: Make) -> None:
    for coefficients in ((), (0.0,), (0.5, 1.0), (float("nan"),)):
        with pytest.raises(KnobError, match="coefficients are"):
            LotteryPools(coefficients=coefficients)
    with pytest.raises(KnobError, match="beyond is -1"):
        LotteryPools(beyond=-1)
    with pytest.raises(KnobError, match="rewind is"):
        LotteryPools(rewind=1.0)
    meter = soup.Meter()
    with pytest.raises(KnobError, match="beyond is 2, whose last level would prune 100%"):
        LotteryPools(compression=0.2, beyond=2).draw(points(), 0.6, meter)
    assert not meter.bill
