"""Guard: a ticket's zeros in a loop that is not ours."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterator
from itertools import product
from pathlib import Path
from typing import Any

import pytest
import torch
from accelerate import Accelerator
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim import SGD, Adafactor, AdamW, Optimizer

import instant_soup as soup
from instant_soup.core.budget import Cost
from instant_soup.core.task import Base
from instant_soup.core.weights import digest

SPARSITY = 0.6
OPTIMIZERS: dict[str, Callable[[Any], Optimizer]] = {
    "AdamW": lambda p: AdamW(p, lr=0.02, weight_decay=0.1, foreach=False),
    "AdamW foreach": lambda p: AdamW(p, lr=0.02, weight_decay=0.1, foreach=True),
    "AdamW fused": lambda p: AdamW(p, lr=0.02, weight_decay=0.1, fused=True),
    "SGD": lambda p: SGD(p, lr=0.1, momentum=0.9, weight_decay=0.01),
    "Adafactor": lambda p: Adafactor(p, lr=0.05, weight_decay=0.1),
}
PRECISIONS = ("float32", "autocast", "bfloat16")
CELLS = list(
    product(OPTIMIZERS, PRECISIONS, (1, 2), (0.0, 0.5), (False, True), (False, True))
)
# torch tells of its own parts when it compiles
pytestmark = pytest.mark.filterwarnings(
    "ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning"
)


def network() -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(1)
        return nn.Sequential(
            OrderedDict(
                {
                    "one": nn.Linear(6, 12),
                    "a": nn.Tanh(),
                    "two": nn.Linear(12, 8),
                    "head": nn.Linear(8, 3),
                }
            )
        )


@pytest.fixture
def model() -> nn.Module:
    return network()


def ticket_of(model: nn.Module) -> soup.Ticket:
    """One-shot magnitude, with a head of its own."""
    scope = soup.Scope.of(model)
    weights = dict(model.named_parameters())
    mask = soup.prune(
        {name: weights[name].abs() for name in scope}, soup.Mask.dense(scope), SPARSITY
    )
    start = {"head.weight": torch.full((3, 8), 0.25)}
    return soup.Ticket(mask, start, Base("points", digest(weights, scope)), Cost())


def data(step: int, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    dice = torch.Generator().manual_seed(step)
    inputs = torch.randn(16, 6, generator=dice)
    return inputs.to(dtype), inputs[:, :3].argmax(1)


def train(
    model: Callable[..., Tensor],
    parameters: list[nn.Parameter],
    optimizer: Optimizer,
    steps: range,
    precision: str = "float32",
    accumulation: int = 1,
    clip: float = 0.0,
) -> None:
    dtype = torch.bfloat16 if precision == "bfloat16" else torch.float32
    for step in steps:
        for part in range(accumulation):
            inputs, targets = data(step * accumulation + part, dtype)
            with torch.autocast("cpu", torch.bfloat16, enabled=precision == "autocast"):
                loss = F.cross_entropy(model(inputs).float(), targets)
            loss.backward()
        if clip:
            nn.utils.clip_grad_norm_(parameters, clip)
        optimizer.step()
        optimizer.zero_grad()


def dead_bits(mask: soup.Mask, tensors: dict[str, Tensor]) -> int:
    """How many pruned weights are anything but the bits of +0."""
    as_int = {4: torch.int32, 2: torch.int16}
    return sum(
        int(
            (
                tensors[name].view(as_int[tensors[name].element_size()])[~mask[name]] != 0
            ).sum()
        )
        for name in mask
    )


def memories(optimizer: Optimizer, parameter: nn.Parameter) -> Iterator[Tensor]:
    for memory in optimizer.state[parameter].values():
        if isinstance(memory, Tensor) and memory.shape == parameter.shape:
            yield memory


@pytest.mark.parametrize(
    ("kind", "precision", "accumulation", "clip", "compiled", "resumed"), CELLS
)
def test_zeros_stay_bit_zero_in_every_kind_of_loop(
    model: nn.Module,
    tmp_path: Path,
    kind: str,
    precision: str,
    accumulation: int,
    clip: float,
    compiled: bool,
    resumed: bool,
) -> None:
    ticket = ticket_of(model)
    ticket.apply(model)
    if precision == "bfloat16":
        model.to(torch.bfloat16)
    start = {name: p.detach().clone() for name, p in model.named_parameters()}
    optimizer = OPTIMIZERS[kind](model.parameters())
    how = (precision, accumulation, clip)
    run: Any = torch.compile(model, backend="aot_eager") if compiled else model
    with soup.guard(model, optimizer, ticket):
        train(run, list(model.parameters()), optimizer, range(3), *how)
    if resumed:
        state = optimizer.state_dict()
        other = network().to(start["one.weight"].dtype)
        other.load_state_dict(model.state_dict())
        model, optimizer = other, OPTIMIZERS[kind](other.parameters())
        run = torch.compile(model, backend="aot_eager") if compiled else model
        guard = soup.guard(model, optimizer, ticket)
        optimizer.load_state_dict(state)
        train(run, list(model.parameters()), optimizer, range(3, 6), *how)
        guard.release()
    save_file(model.state_dict(), tmp_path / "model.safetensors")
    saved = load_file(tmp_path / "model.safetensors")
    assert dead_bits(ticket.mask, saved) == 0
    for name in ticket.mask:
        assert not torch.equal(saved[name], start[name])
        parameter = model.get_parameter(name)
        assert all(
            not memory[~ticket.mask[name]].any()
            for memory in memories(optimizer, parameter)
        )


def test_zeros_stay_when_the_guarded_model_is_the_compiled_one(model: nn.Module) -> None:
    ticket = ticket_of(model)
    ticket.apply(model)
    optimizer = OPTIMIZERS["AdamW fused"](model.parameters())
    run: Any = torch.compile(model, backend="aot_eager")
    with soup.guard(run, optimizer, ticket):
        train(run, list(model.parameters()), optimizer, range(3))
    assert dead_bits(ticket.mask, dict(model.state_dict())) == 0


def test_survivors_train_as_if_the_dead_were_not_there(model: nn.Module) -> None:
    """The reference masks gradients by hand before they are clipped."""
    ticket = ticket_of(model)
    ticket.apply(model)
    other = network()
    ticket.apply(other)
    one, two = (
        AdamW(m.parameters(), lr=0.02, weight_decay=0.1, fused=False)
        for m in (model, other)
    )
    with soup.guard(model, one, ticket):
        train(model, list(model.parameters()), one, range(5), clip=0.05)
    for step in range(5):
        F.cross_entropy(
            other(data(step, torch.float32)[0]), data(step, torch.float32)[1]
        ).backward()
        for name in ticket.mask:
            gradient = other.get_parameter(name).grad
            assert gradient is not None
            gradient[~ticket.mask[name]] = 0
        nn.utils.clip_grad_norm_(other.parameters(), 0.05)
        two.step()
        two.zero_grad()
    for name, parameter in model.named_parameters():
        torch.testing.assert_close(parameter, other.get_parameter(name), rtol=0, atol=0)


def test_accelerate_averages_and_two_optimisers_are_followed(model: nn.Module) -> None:
    ticket = ticket_of(model)
    ticket.apply(model)
    average = torch.optim.swa_utils.AveragedModel(
        model, multi_avg_fn=torch.optim.swa_utils.get_ema_multi_avg_fn(0.9)
    )
    matrices = [model.get_parameter("one.weight")]
    rest = [p for name, p in model.named_parameters() if name != "one.weight"]
    accelerator = Accelerator(cpu=True)
    wrapped, one, two = accelerator.prepare(
        model, AdamW(matrices, lr=0.02), SGD(rest, lr=0.1, momentum=0.9)
    )
    with soup.guard(wrapped, [one, two], ticket) as guard:
        for step in range(3):
            accelerator.backward(
                F.cross_entropy(
                    wrapped(data(step, torch.float32)[0]), data(step, torch.float32)[1]
                )
            )
            for optimizer in (one, two):
                optimizer.step()
                optimizer.zero_grad()
            average.update_parameters(model)
        guard.check(average)
    assert dead_bits(ticket.mask, dict(average.module.state_dict())) == 0


def test_a_guard_forgets_what_a_dense_training_left_in_the_optimiser(
    model: nn.Module,
) -> None:
    optimizer = OPTIMIZERS["AdamW"](model.parameters())
    ticket = ticket_of(model)
    train(model, list(model.parameters()), optimizer, range(2))
    dense = optimizer.state_dict()
    ticket.apply(model, check=False)
    with soup.guard(model, optimizer, ticket):
        train(model, list(model.parameters()), optimizer, range(2))
        optimizer.load_state_dict(dense)
        train(model, list(model.parameters()), optimizer, range(2))
    assert dead_bits(ticket.mask, dict(model.state_dict())) == 0


def dead_place(ticket: soup.Ticket, name: str) -> tuple[int, ...]:
    return tuple((~ticket.mask[name]).nonzero()[0].tolist())


def test_a_weight_that_revives_is_named_with_step_and_cause(model: nn.Module) -> None:
    ticket = ticket_of(model)
    ticket.apply(model)
    where = dead_place(ticket, "two.weight")
    parameter = model.get_parameter("two.weight")
    optimizer = OPTIMIZERS["AdamW"](model.parameters())
    named = rf"two\.weight\[{where[0]}, {where[1]}\] is pruned and has become .*step "

    soup.guard(model, optimizer, ticket)
    train(model, list(model.parameters()), optimizer, range(2))
    with torch.no_grad():
        parameter[where] = 0.5
    with pytest.raises(
        soup.RevivedError, match=rf"{named}3; 1 of 2 .*neither gradient nor optimiser"
    ):
        train(model, list(model.parameters()), optimizer, range(1))
    ticket.apply(model, check=False)

    def noisy(*_: object) -> None:
        for p in model.parameters():
            if p.grad is not None:
                p.grad += 0.1

    handle = optimizer.register_step_pre_hook(noisy)
    with pytest.raises(
        soup.RevivedError,
        match=r"one\.weight\[.*step 4; .*writes to \.grad after the backward",
    ):
        train(model, list(model.parameters()), optimizer, range(1))
    handle.remove()
    ticket.apply(model, check=False)
    optimizer.zero_grad()
    with pytest.raises(
        soup.RevivedError, match=r"step 5.*the optimiser's exp_avg holds something"
    ):
        train(model, list(model.parameters()), optimizer, range(1))


def test_a_guard_lets_go(model: nn.Module) -> None:
    ticket = ticket_of(model)
    ticket.apply(model)
    optimizer = OPTIMIZERS["SGD"](model.parameters())
    with soup.guard(model, optimizer, ticket):
        pass
    train(model, list(model.parameters()), optimizer, range(1))
    assert dead_bits(ticket.mask, dict(model.state_dict())) > 0


def test_a_guard_looks_as_often_as_it_is_told(model: nn.Module) -> None:
    ticket = ticket_of(model)
    ticket.apply(model)
    optimizer = OPTIMIZERS["SGD"](model.parameters())
    guard = soup.guard(model, optimizer, ticket, every=2)
    with torch.no_grad():
        model.get_parameter("two.weight")[dead_place(ticket, "two.weight")] = 1.0
    train(model, list(model.parameters()), optimizer, range(1))
    assert guard.steps == 1
    with pytest.raises(soup.RevivedError, match="step 2"):
        train(model, list(model.parameters()), optimizer, range(1))
    with pytest.raises(soup.SoupError, match="every is -1"):
        soup.guard(model, optimizer, ticket, every=-1)


def test_what_cannot_be_guarded_is_refused(model: nn.Module) -> None:
    ticket = ticket_of(model)
    with pytest.raises(soup.RevivedError, match=r"call ticket\.apply\(model\) first"):
        soup.guard(model, OPTIMIZERS["SGD"](model.parameters()), ticket)
    ticket.apply(model)
    with pytest.raises(
        soup.SoupError, match=r"SGD trains none of the 2 parameters .* 'one\.weight'"
    ):
        soup.guard(model, OPTIMIZERS["SGD"](network().parameters()), ticket)
    with pytest.raises(
        soup.SoupError, match=r"'one\.weight' and the model has no such tensor"
    ):
        soup.guard(nn.Linear(2, 2), OPTIMIZERS["SGD"](model.parameters()), ticket)
    optimizer = OPTIMIZERS["SGD"](model.parameters())
    soup.guard(model, optimizer, ticket)
    model.get_submodule("two").register_parameter(
        "weight", nn.Parameter(model.get_parameter("two.weight").detach())
    )
    with pytest.raises(
        soup.RevivedError,
        match=r"'two\.weight' is another parameter than when the guard was set",
    ):
        train(model, list(model.parameters()), optimizer, range(1))


def test_applying_a_ticket_gives_its_start_and_its_zeros_and_looks_at_the_base_first(
    model: nn.Module,
) -> None:
    ticket = ticket_of(model)
    other = network()
    with torch.no_grad():
        other.get_parameter("one.weight")[0, 0] += 1
    before = {name: tensor.clone() for name, tensor in other.state_dict().items()}
    with pytest.raises(
        soup.SoupError, match=r"drawn from 'points' .* of this Sequential are others"
    ):
        ticket.apply(other)
    assert all(
        torch.equal(tensor, before[name]) for name, tensor in other.state_dict().items()
    )
    ticket.apply(nn.DataParallel(model))
    assert torch.equal(model.get_parameter("head.weight"), torch.full((3, 8), 0.25))
    fresh = network()
    for name in ticket.mask:
        expected = torch.where(ticket.mask[name], fresh.get_parameter(name), 0)
        assert torch.equal(model.get_parameter(name), expected)
    model.set_submodule("head", nn.Linear(8, 5))
    with pytest.raises(
        soup.SoupError,
        match=r"'head\.weight' has shape \(3, 8\) and the model's \(5, 8\)",
    ):
        ticket.apply(model, check=False)
