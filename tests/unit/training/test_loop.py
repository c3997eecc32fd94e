"""Loop: one step under a mask, compared with the same step taken by hand."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from copy import deepcopy
from typing import Any

import pytest
import torch
from accelerate import Accelerator
from torch import Tensor, nn
from torch.nn import functional as F

from instant_soup.core.errors import TrainingError
from instant_soup.training.device import accelerator
from instant_soup.training.loop import step
from instant_soup.training.optim import adamw, moments

Batch = tuple[Tensor, Tensor]


@pytest.fixture(scope="module")
def fast() -> Accelerator:
    return accelerator("float32")


def net() -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return nn.Sequential(nn.Linear(6, 5), nn.Tanh(), nn.Linear(5, 3))


def batch(n: int = 12, seed: int = 0) -> Batch:
    dice = torch.Generator().manual_seed(seed)
    return torch.randn(n, 6, generator=dice), torch.randint(3, (n,), generator=dice)


def loss_of(model: nn.Module, given: Batch, smoothing: float) -> Tensor:
    return F.cross_entropy(model(given[0]), given[1], label_smoothing=smoothing)


def keep_of(model: nn.Module) -> dict[str, Tensor]:
    """Half of the first matrix."""
    return {"0.weight": (torch.arange(30).view(5, 6) % 2).float()}


def pruned(model: nn.Module) -> nn.Module:
    with torch.no_grad():
        for name, bits in keep_of(model).items():
            model.get_parameter(name).masked_fill_(bits == 0, 0.0)
    return model


class Taker:
    """A model with its optimiser, to take steps with."""

    def __init__(
        self, fast: Accelerator, model: nn.Module, decay: float = 0.1, rate: float = 0.05
    ) -> None:
        self.fast, self.model = fast, model
        self.named = dict(model.named_parameters())
        self.optimizer = adamw(self.named.values(), decay)
        self.optimizer.param_groups[0]["lr"] = rate

    def take(
        self,
        micro: Sequence[tuple[Any, float]],
        keep: Mapping[str, Tensor] | None = None,
        *,
        loss: Any = loss_of,
        smoothing: float = 0.0,
        clip: float = 0.0,
    ) -> float:
        return step(
            self.fast, self.model, self.optimizer, self.named, keep or {}, micro, loss, smoothing, clip
        )  # fmt: skip


def by_hand(
    model: nn.Module, steps: int, given: Batch, keep: Mapping[str, Tensor], clip: float
) -> nn.Module:
    """The same steps in plain torch: gradients masked, then clipped, then AdamW."""
    model = deepcopy(model)
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.05, weight_decay=0.1)
    for _ in range(steps):
        optimizer.zero_grad()
        loss_of(model, given, 0.0).backward()
        for name, bits in keep.items():
            model.get_parameter(name).grad *= bits
        if clip:
            norm = math.sqrt(sum(float((p.grad**2).sum()) for p in model.parameters()))
            for parameter in model.parameters():
                parameter.grad *= min(1.0, clip / (norm + 1e-6))
        optimizer.step()
    return model


def close(first: nn.Module, second: nn.Module, tolerance: float = 1e-6) -> bool:
    there = dict(second.named_parameters())
    return all(
        torch.allclose(p, there[name], atol=tolerance)
        for name, p in first.named_parameters()
    )


@pytest.mark.parametrize("clip", [0.0, 0.05, 100.0])
@pytest.mark.parametrize("masked", [False, True])
def test_steps_are_those_of_plain_torch_with_masked_gradients(
    fast: Accelerator, masked: bool, clip: float
) -> None:
    model = pruned(net()) if masked else net()
    keep = keep_of(model) if masked else {}
    wanted = by_hand(model, 5, batch(), keep, clip)
    taker = Taker(fast, model)
    for _ in range(5):
        taker.take([(batch(), 1.0)], keep, clip=clip)
    assert close(model, wanted)


def test_the_loss_comes_back_and_no_gradient_stays(fast: Accelerator) -> None:
    model = net()
    wanted = loss_of(model, batch(), 0.0).item()
    taker = Taker(fast, model)
    assert taker.take([(batch(), 1.0)]) == pytest.approx(wanted)
    assert all(parameter.grad is None for parameter in model.parameters())


def test_label_smoothing_reaches_the_loss(fast: Accelerator) -> None:
    wanted = loss_of(net(), batch(), 0.3).item()
    assert wanted != pytest.approx(loss_of(net(), batch(), 0.0).item())
    assert Taker(fast, net()).take([(batch(), 1.0)], smoothing=0.3) == pytest.approx(
        wanted
    )


@pytest.mark.parametrize("parts", [(6, 6), (5, 5, 2), (1,) * 12])
def test_a_batch_in_parts_is_the_same_step(
    fast: Accelerator, parts: tuple[int, ...]
) -> None:
    inputs, targets = batch()
    micro = [
        ((x, y), len(x) / 12)
        for x, y in zip(inputs.split(parts), targets.split(parts), strict=True)
    ]
    whole, split = Taker(fast, net()), Taker(fast, net())
    losses = whole.take([(batch(), 1.0)], clip=0.5), split.take(micro, clip=0.5)
    assert losses[0] == pytest.approx(losses[1])
    assert close(whole.model, split.model)


def test_dead_stays_dead_with_decay_momentum_and_clipping(fast: Accelerator) -> None:
    model = pruned(net())
    taker, keep = Taker(fast, model, decay=0.5), keep_of(model)
    dead = keep["0.weight"] == 0
    for seed in range(20):
        taker.take([(batch(8, seed), 0.5), (batch(8, 100 + seed), 0.5)], keep, clip=0.3)
        bits = model.get_parameter("0.weight").detach()[dead].view(torch.int32)
        assert not bits.any()  # not even the sign bit
    memory = moments(taker.optimizer, taker.named)
    for kind in ("exp_avg", "exp_avg_sq"):
        assert not memory[f"{kind}/0.weight"][dead].any()
        assert memory[f"{kind}/0.weight"][~dead].all()


def test_gradients_of_pruned_weights_do_not_shrink_the_others(fast: Accelerator) -> None:
    """A huge gradient at a dead weight would, if it entered the norm, leave nothing of the rest."""
    inputs, targets = batch()
    inputs[:, ::2] *= 1e4  # reaches the dead weights alone
    model = pruned(net())
    keep = keep_of(model)
    wanted = by_hand(model, 1, (inputs, targets), keep, clip=0.5)
    taker = Taker(fast, model, rate=0.05)
    taker.take([((inputs, targets), 1.0)], keep, clip=0.5)
    assert close(model, wanted)
    norm = moments(taker.optimizer, taker.named)
    total = math.sqrt(
        sum(
            float((t / 0.1).pow(2).sum())
            for key, t in norm.items()
            if key.startswith("exp_avg/")
        )
    )
    alone = deepcopy(pruned(net()))
    loss_of(alone, (inputs, targets), 0.0).backward()
    alone.get_parameter("0.weight").grad *= keep["0.weight"]
    own = math.sqrt(sum(float((p.grad**2).sum()) for p in alone.parameters()))
    assert total == pytest.approx(min(0.5, own), rel=1e-3)


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("place", [0, 1])
def test_a_loss_that_is_not_finite_changes_nothing(
    fast: Accelerator, bad: float, place: int
) -> None:
    taker = Taker(fast, net())
    taker.take([(batch(), 1.0)])
    weights = deepcopy(taker.model.state_dict())
    memory = {
        key: tensor.clone()
        for key, tensor in moments(taker.optimizer, taker.named).items()
    }
    spoilt = batch()[0].clone(), batch()[1]
    micro = [(batch(), 0.5), (batch(), 0.5)]
    micro[place] = (spoilt, 0.5)

    def loss(model: nn.Module, given: Batch, smoothing: float) -> Tensor:
        return loss_of(model, given, smoothing) * (bad if given is spoilt else 1)

    with pytest.raises(
        TrainingError, match=r"the loss is (nan|inf|-inf); lower the learning rate"
    ):
        taker.take(micro, loss=loss)
    assert all(
        torch.equal(taker.model.state_dict()[name], tensor)
        for name, tensor in weights.items()
    )
    assert all(
        torch.equal(moments(taker.optimizer, taker.named)[key], t)
        for key, t in memory.items()
    )
    assert all(parameter.grad is None for parameter in taker.model.parameters())


def test_parameters_without_a_gradient_are_left_out(fast: Accelerator) -> None:
    model = net()
    model.register_parameter("unused", nn.Parameter(torch.ones(2, 2)))
    Taker(fast, model).take([(batch(), 1.0)], {"unused": torch.zeros(2, 2)}, clip=1.0)
    assert model.unused.tolist() == [[1.0, 1.0], [1.0, 1.0]]


def test_a_step_can_be_taken_where_gradients_are_switched_off(fast: Accelerator) -> None:
    model = net()
    before = model.get_parameter("0.weight").detach().clone()
    with torch.no_grad():
        Taker(fast, model).take([(batch(), 1.0)])
    assert not torch.equal(model.get_parameter("0.weight"), before)
