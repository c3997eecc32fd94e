"""Optim: the line of the learning rate, and a memory that can be moved and masked."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch
from torch import nn

from instant_soup.training.optim import RateLine, adamw, forget, moments, remember

# the line


@pytest.mark.parametrize("horizon", [1, 2, 3, 10, 997])
def test_without_warm_up_the_line_falls_straight_from_the_rate_to_zero(
    horizon: int,
) -> None:
    line = RateLine(0.5, horizon)
    rates = [line.at(step) for step in range(horizon + 1)]
    assert rates[0] == 0.5
    assert rates[-2] > 0
    assert rates[-1] == 0
    drops = [before - after for before, after in pairwise(rates)]
    assert drops == pytest.approx([0.5 / horizon] * horizon)


@pytest.mark.parametrize("warmup", [0, 3])
def test_past_the_end_the_rate_is_exactly_zero(warmup: int) -> None:
    line = RateLine(0.5, 10, warmup)
    assert [line.at(step) for step in (10, 11, 10_000)] == [0, 0, 0]


@pytest.mark.parametrize(("horizon", "warmup"), [(10, 1), (10, 4), (10, 9), (100, 50)])
def test_warm_up_climbs_to_the_rate_in_even_steps_and_then_falls(
    horizon: int, warmup: int
) -> None:
    line = RateLine(0.5, horizon, warmup)
    rates = [line.at(step) for step in range(horizon + 1)]
    assert rates[:warmup] == pytest.approx(
        [0.5 * (step + 1) / warmup for step in range(warmup)]
    )
    assert rates[warmup - 1] == rates[warmup] == max(rates) == 0.5
    fall = rates[warmup:]
    assert [before - after for before, after in pairwise(fall)] == pytest.approx(
        [0.5 / (horizon - warmup)] * (horizon - warmup)
    )
    assert rates[0] > 0
    assert rates[-2] > 0
    assert rates[-1] == 0


def test_the_last_step_is_taken_above_zero_even_when_all_is_warm_up() -> None:
    assert RateLine(0.5, 4, 4).at(3) == 0.5
    assert RateLine(0.5, 4, 4).at(4) == 0


# the memory


def parameters(seed: int = 0) -> dict[str, nn.Parameter]:
    dice = torch.Generator().manual_seed(seed)
    return {
        "a": nn.Parameter(torch.randn(4, 3, generator=dice)),
        "b": nn.Parameter(torch.randn(5, generator=dice)),
    }


def train(
    optimizer: torch.optim.AdamW,
    named: dict[str, nn.Parameter],
    steps: int,
    seed: int = 1,
) -> None:
    dice = torch.Generator().manual_seed(seed)
    for group in optimizer.param_groups:
        group["lr"] = 0.1
    for _ in range(steps):
        for parameter in named.values():
            parameter.grad = torch.randn(parameter.shape, generator=dice)
        optimizer.step()


def copied(named: dict[str, nn.Parameter]) -> dict[str, nn.Parameter]:
    return {
        name: nn.Parameter(parameter.detach().clone())
        for name, parameter in named.items()
    }


def equal(first: dict[str, nn.Parameter], second: dict[str, nn.Parameter]) -> bool:
    return all(torch.equal(first[name], second[name]) for name in first)


def test_adamw_takes_the_step_of_the_textbook() -> None:
    """One step of AdamW from nothing: decay, then the sign of the gradient, nearly."""
    named = {"a": nn.Parameter(torch.tensor([1.0, -2.0, 3.0]))}
    optimizer = adamw(named.values(), weight_decay=0.5)
    optimizer.param_groups[0]["lr"] = 0.1
    named["a"].grad = torch.tensor([4.0, -0.001, 0.0])
    optimizer.step()
    assert named["a"].tolist() == pytest.approx([0.95 - 0.1, -1.9 + 0.1, 2.85], abs=1e-5)


def test_it_does_not_move_before_it_is_given_a_rate() -> None:
    named = parameters()
    before = copied(named)
    optimizer = adamw(named.values(), weight_decay=0.1)
    for parameter in named.values():
        parameter.grad = torch.ones_like(parameter)
    optimizer.step()
    assert equal(named, before)


def test_a_memory_given_to_another_optimiser_goes_on_as_the_first_would() -> None:
    named = parameters()
    optimizer = adamw(named.values(), 0.1)
    train(optimizer, named, 3)
    there = copied(named)
    heir = adamw(there.values(), 0.1)
    train(heir, copied(parameters()), 0)
    remember(heir, there, moments(optimizer, named))
    train(optimizer, named, 4, seed=2)
    train(heir, there, 4, seed=2)
    assert equal(named, there)


def test_a_memory_is_copied_and_not_shared() -> None:
    named = parameters()
    optimizer = adamw(named.values(), 0.1)
    train(optimizer, named, 3)
    memory = moments(optimizer, named)
    before = {key: tensor.clone() for key, tensor in memory.items()}
    there = copied(named)
    heir = adamw(there.values(), 0.1)
    remember(heir, there, memory)
    train(heir, there, 2)
    assert all(torch.equal(memory[key], before[key]) for key in before)


def test_a_memory_names_moments_and_step_of_every_parameter() -> None:
    named = parameters()
    optimizer = adamw(named.values(), 0.1)
    assert moments(optimizer, named) == {}
    train(optimizer, named, 3)
    memory = moments(optimizer, named)
    assert set(memory) == {
        f"{kind}/{name}" for kind in ("exp_avg", "exp_avg_sq", "step") for name in named
    }
    assert memory["step/a"].item() == 3
    assert memory["exp_avg/a"].shape == (4, 3)


def test_an_empty_memory_wipes_what_was_there() -> None:
    named = parameters()
    optimizer = adamw(named.values(), 0.1)
    train(optimizer, named, 3)
    remember(optimizer, named, {})
    assert moments(optimizer, named) == {}


def test_forgetting_zeroes_what_is_pruned_and_nothing_else() -> None:
    named = parameters()
    optimizer = adamw(named.values(), 0.1)
    train(optimizer, named, 3)
    before = {key: tensor.clone() for key, tensor in moments(optimizer, named).items()}
    keep = (torch.arange(12).view(4, 3) % 2).float()
    forget(optimizer, named["a"], keep)
    after = moments(optimizer, named)
    for kind in ("exp_avg", "exp_avg_sq"):
        assert torch.equal(after[f"{kind}/a"], before[f"{kind}/a"] * keep)
        assert after[f"{kind}/a"][keep == 1].all()
        assert torch.equal(after[f"{kind}/b"], before[f"{kind}/b"])
    assert after["step/a"].item() == 3


def test_a_moment_that_has_overflown_is_zeroed_too() -> None:
    """Infinity times zero is no number, and would come back at the next step."""
    layer = nn.Linear(2, 1, bias=False)
    optimizer = adamw(layer.parameters(), 0.0)
    layer.weight.grad = torch.tensor([[1e21, 1.0]])
    optimizer.step()
    assert optimizer.state[layer.weight]["exp_avg_sq"].isinf().any()

    forget(optimizer, layer.weight, torch.tensor([[0.0, 1.0]]))
    assert optimizer.state[layer.weight]["exp_avg_sq"][0, 0] == 0


def test_there_is_nothing_to_forget_before_the_first_step() -> None:
    named = parameters()
    optimizer = adamw(named.values(), 0.1)
    forget(optimizer, named["a"], torch.zeros(4, 3))
    assert moments(optimizer, named) == {}


# a flat line


def test_a_flat_line_stays_at_the_rate_and_then_falls_straight_to_zero() -> None:
    line = RateLine(0.5, 10, flat=6)
    assert [line.at(step) for step in range(11)] == pytest.approx(
        [0.5] * 7 + [0.375, 0.25, 0.125, 0.0]
    )


def test_a_flat_line_may_warm_up_first_and_falls_no_sooner_than_that() -> None:
    assert [RateLine(1.0, 8, 2, 4).at(step) for step in range(9)] == pytest.approx(
        [0.5, 1, 1, 1, 1, 0.75, 0.5, 0.25, 0]
    )
    assert [RateLine(1.0, 8, 4, 2).at(step) for step in range(9)] == [
        RateLine(1.0, 8, 4).at(step) for step in range(9)
    ]


@pytest.mark.parametrize("horizon", [1, 2, 3, 10, 997])
def test_a_line_that_is_flat_for_nothing_is_the_straight_one(horizon: int) -> None:
    straight, flat = RateLine(0.5, horizon), RateLine(0.5, horizon, flat=0)
    assert [straight.at(step) for step in range(horizon + 1)] == [
        flat.at(step) for step in range(horizon + 1)
    ]
