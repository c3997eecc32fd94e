"""Guard: the corners of other people's loops."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn, optim
from torch import distributed as dist
from torch.distributed.fsdp import fully_shard
from torch.nn import functional as F
from torch.optim import SGD, AdamW, Muon, Optimizer

import instant_soup as soup

from .test_guard import data, dead_bits, dead_place, network, ticket_of, train

# torch tells of its own parts when it compiles or shards
pytestmark = pytest.mark.filterwarnings(
    "ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning"
)
ELEMENTWISE: dict[str, Callable[[Any], Optimizer]] = {
    "Adam, amsgrad": lambda p: optim.Adam(p, lr=0.02, weight_decay=0.1, amsgrad=True),
    "AdamW, maximize": lambda p: AdamW(p, lr=0.02, weight_decay=0.1, maximize=True),
    "NAdam": lambda p: optim.NAdam(
        p, lr=0.02, weight_decay=0.1, decoupled_weight_decay=True
    ),
    "RAdam": lambda p: optim.RAdam(p, lr=0.02, weight_decay=0.1),
    "Adamax": lambda p: optim.Adamax(p, lr=0.02, weight_decay=0.1),
    "Adagrad": lambda p: optim.Adagrad(
        p, lr=0.02, weight_decay=0.1, initial_accumulator_value=0.1
    ),
    "Adadelta": lambda p: optim.Adadelta(p, lr=1.0, weight_decay=0.1),
    "RMSprop": lambda p: optim.RMSprop(
        p, lr=0.02, momentum=0.9, centered=True, weight_decay=0.1
    ),
    "Rprop": lambda p: optim.Rprop(p, lr=0.02),
    "ASGD": lambda p: optim.ASGD(p, lr=0.1, weight_decay=0.1, t0=1),
    "SGD, Nesterov": lambda p: SGD(
        p, lr=0.1, momentum=0.9, nesterov=True, weight_decay=0.1, fused=True
    ),
}


@pytest.fixture
def model() -> nn.Module:
    return network()


@pytest.fixture
def ticket(model: nn.Module) -> soup.Ticket:
    """Already applied to the model."""
    ticket = ticket_of(model)
    ticket.apply(model)
    return ticket


def loss_of(model: Callable[..., Tensor], step: int) -> Tensor:
    inputs, targets = data(step, torch.float32)
    return F.cross_entropy(model(inputs), targets)


def state(model: nn.Module) -> dict[str, Tensor]:
    return dict(model.state_dict())


@pytest.mark.parametrize("kind", ELEMENTWISE)
def test_the_other_optimisers_of_torch_keep_zeros_too(
    model: nn.Module, ticket: soup.Ticket, kind: str
) -> None:
    before = model.get_parameter("one.weight").detach().clone()
    optimizer = ELEMENTWISE[kind](model.parameters())
    with soup.guard(model, optimizer, ticket):
        train(
            model, list(model.parameters()), optimizer, range(4), accumulation=2, clip=0.5
        )
    assert dead_bits(ticket.mask, state(model)) == 0
    assert not torch.equal(model.get_parameter("one.weight"), before)


def test_an_optimiser_that_evaluates_a_closure_keeps_zeros(
    model: nn.Module, ticket: soup.Ticket
) -> None:
    optimizer = optim.LBFGS(
        model.parameters(), lr=0.5, max_iter=4, line_search_fn="strong_wolfe"
    )

    def closure() -> Tensor:
        optimizer.zero_grad(set_to_none=False)
        loss = loss_of(model, 0)
        loss.backward()
        return loss

    first = float(loss_of(model, 0))
    with soup.guard(model, optimizer, ticket) as guard:
        for _ in range(3):
            optimizer.step(closure)  # type: ignore[arg-type]
    assert guard.steps == 3
    assert float(loss_of(model, 0)) < first
    assert dead_bits(ticket.mask, state(model)) == 0


class Sharpness(Optimizer):
    """Climbs along the gradient, takes the gradient there, and steps from where it was: SAM, in short."""

    def __init__(self, inner: Optimizer) -> None:
        super().__init__(inner.param_groups, {})
        self.inner = inner

    def step(self, closure: Any = None) -> None:
        with torch.enable_grad():
            closure()
        parameters = [
            p
            for group in self.param_groups
            for p in group["params"]
            if p.grad is not None
        ]
        climbs = [0.05 * p.grad / p.grad.norm().add(1e-12) for p in parameters]
        with torch.no_grad():
            torch._foreach_add_(parameters, climbs)
            with torch.enable_grad():
                closure()
            torch._foreach_sub_(parameters, climbs)
        self.inner.step()


def test_an_optimiser_that_looks_ahead_for_sharpness_keeps_zeros(
    model: nn.Module, ticket: soup.Ticket
) -> None:
    inner = AdamW(model.parameters(), lr=0.02, weight_decay=0.1)
    optimizer = Sharpness(inner)

    def closure() -> Tensor:
        optimizer.zero_grad()
        loss = loss_of(model, 1)
        loss.backward()
        return loss

    with soup.guard(model, [optimizer, inner], ticket) as guard:
        for _ in range(3):
            optimizer.step(closure)
    assert guard.steps == 3
    assert dead_bits(ticket.mask, state(model)) == 0


@pytest.mark.parametrize("found", [True, False], ids=["a step skipped", "none skipped"])
def test_a_gradient_scaler_may_skip_a_step(
    model: nn.Module, ticket: soup.Ticket, found: bool
) -> None:
    optimizer = AdamW(model.parameters(), lr=0.02, weight_decay=0.1, fused=True)
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**8)  # type: ignore[attr-defined]
    with soup.guard(model, optimizer, ticket) as guard:
        for step in range(3):
            loss = loss_of(model, step) * (float("inf") if found and step == 1 else 1)
            scaler.scale(loss).backward()
            scaler.unscale_(optimizer)
            nn.utils.clip_grad_norm_(model.parameters(), 0.5)
            scaler.step(optimizer)
            scaler.update()
            optimizer.zero_grad()
        # fused optimisers skip within
        assert guard.steps in ((3,) if not found else (2, 3))
    assert dead_bits(ticket.mask, state(model)) == 0
    assert all(bool(p.isfinite().all()) for p in model.parameters())


def muon(model: nn.Module) -> tuple[Optimizer, Optimizer]:
    matrices = [p for p in model.parameters() if p.ndim == 2]
    return Muon(matrices, lr=0.05, weight_decay=0.1), AdamW(
        [p for p in model.parameters() if p.ndim < 2], lr=0.02
    )


def test_muon_is_told_how_it_can_be_guarded(
    model: nn.Module, ticket: soup.Ticket
) -> None:
    optimizers = muon(model)
    soup.guard(model, optimizers, ticket)
    loss_of(model, 0).backward()
    with pytest.raises(
        soup.RevivedError, match=r"step 1; .*Muon updates a weight by .* project=True"
    ):
        optimizers[0].step()


def test_what_mixes_weights_is_projected_and_other_writers_are_still_caught(
    model: nn.Module, ticket: soup.Ticket
) -> None:
    optimizers = muon(model)
    momentum = []
    with soup.guard(model, optimizers, ticket, project=True) as guard:
        for step in range(4):
            loss_of(model, step).backward()
            for optimizer in optimizers:
                optimizer.step()
                optimizer.zero_grad()
            momentum.append(
                optimizers[0]
                .state[model.get_parameter("one.weight")]["momentum_buffer"]
                .clone()
            )
        assert guard.steps == 4  # not eight: two optimisers take one step together
        assert dead_bits(ticket.mask, state(model)) == 0
        assert all(not part[~ticket.mask["one.weight"]].any() for part in momentum)
        with torch.no_grad():
            model.get_parameter("two.weight")[dead_place(ticket, "two.weight")] = 0.5
        loss_of(model, 4).backward()
        with pytest.raises(
            soup.RevivedError, match=r"two\.weight.*step 4; .*something else writes"
        ):
            optimizers[0].step()
        ticket.apply(model, check=False)


def test_what_was_frozen_is_guarded_once_it_is_not(
    model: nn.Module, ticket: soup.Ticket
) -> None:
    frozen = [model.get_parameter("one.weight"), model.get_parameter("two.weight")]
    for parameter in frozen:
        parameter.requires_grad_(False)
    optimizer = AdamW(model.parameters(), lr=0.02, weight_decay=0.1)
    before = frozen[0].clone()
    with soup.guard(model, optimizer, ticket):
        train(model, list(model.parameters()), optimizer, range(2))
        assert torch.equal(frozen[0], before)
        for parameter in frozen:
            assert not parameter.requires_grad
            parameter.requires_grad_(True)
        train(model, list(model.parameters()), optimizer, range(2, 4), clip=0.5)
    assert not torch.equal(frozen[0], before)
    assert dead_bits(ticket.mask, state(model)) == 0


def test_a_model_may_be_converted_under_its_guard(
    model: nn.Module, ticket: soup.Ticket
) -> None:
    optimizer = AdamW(model.parameters(), lr=0.02, weight_decay=0.1)
    with soup.guard(model, optimizer, ticket):
        train(model, list(model.parameters()), optimizer, range(2))
        optimizer.state.clear()
        model.to(torch.bfloat16)
        train(model, list(model.parameters()), optimizer, range(2, 4), "bfloat16")
    assert model.get_parameter("one.weight").dtype == torch.bfloat16
    assert dead_bits(ticket.mask, state(model)) == 0


def test_zeros_with_a_sign_and_gradients_from_before_are_cleared(
    model: nn.Module, ticket: soup.Ticket
) -> None:
    with torch.no_grad():
        for name in ticket.mask:  # as masks that are multiplied leave them
            model.get_parameter(name)[~ticket.mask[name]] = -0.0
    assert dead_bits(ticket.mask, state(model)) > 0
    loss_of(model, 0).backward()
    optimizer = AdamW(model.parameters(), lr=0.02)
    with soup.guard(model, optimizer, ticket):
        assert dead_bits(ticket.mask, state(model)) == 0
        optimizer.step()
    assert dead_bits(ticket.mask, state(model)) == 0


def test_a_moment_kept_in_codes_is_not_overwritten(
    model: nn.Module, ticket: soup.Ticket
) -> None:
    """Optimisers of eight bits: code 0 stands for the most negative value."""
    optimizer = SGD(model.parameters(), lr=0.1)
    parameter = model.get_parameter("one.weight")
    codes = torch.full(parameter.shape, 127, dtype=torch.uint8)
    optimizer.state[parameter]["state1"] = codes
    soup.guard(model, optimizer, ticket)
    optimizer.load_state_dict(optimizer.state_dict())
    assert bool((codes == 127).all())


class Tied(nn.Module):
    """One matrix in two places, used with gradient checkpoints."""

    def __init__(self) -> None:
        super().__init__()
        self.one = nn.Linear(6, 6)
        self.two = nn.Linear(6, 6)
        self.two.weight = self.one.weight
        self.head = nn.Linear(6, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.utils.checkpoint.checkpoint(
            lambda y: torch.tanh(self.one(y)), x, use_reentrant=False
        )
        y: Tensor = torch.utils.checkpoint.checkpoint(self.two, x, use_reentrant=True)
        return self.head(y)


def test_tied_weights_and_gradient_checkpoints() -> None:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = Tied()
    scope = soup.Scope.of(model)
    mask = soup.prune({"one.weight": model.one.weight.abs()}, soup.Mask.dense(scope), 0.5)
    optimizer = AdamW(model.parameters(), lr=0.02, weight_decay=0.1)
    with torch.no_grad():
        model.one.weight.masked_fill_(~mask["one.weight"], 0)
    before = model.one.weight.detach().clone()
    with soup.guard(model, optimizer, mask):
        for step in range(3):
            loss_of(model, step).backward()
            optimizer.step()
            optimizer.zero_grad()
    assert list(scope) == ["one.weight"]
    assert model.two.weight is model.one.weight
    assert not torch.equal(model.two.weight, before)
    assert dead_bits(mask, state(model)) == 0


def test_a_layer_of_which_nothing_is_kept_stays_empty(model: nn.Module) -> None:
    scope = soup.Scope.of(model)
    mask = soup.Mask(
        scope,
        {
            name: torch.full(shape, name == "one.weight")
            for name, shape in scope.shapes.items()
        },
    )
    for kind in (AdamW, optim.Adafactor):
        other = deepcopy(model)
        with torch.no_grad():
            other.get_parameter("two.weight").zero_()
        optimizer: Optimizer = kind(other.parameters(), lr=0.02)
        with soup.guard(other, optimizer, mask):
            train(other, list(other.parameters()), optimizer, range(3))
        assert not other.get_parameter("two.weight").any()
        assert bool(other.get_parameter("head.bias").isfinite().all())


@pytest.mark.parametrize("compiled", [False, True])
def test_distributed_training_keeps_zeros(
    model: nn.Module, ticket: soup.Ticket, processes: None, compiled: bool
) -> None:
    wrapped: Any = nn.parallel.DistributedDataParallel(
        model, gradient_as_bucket_view=True
    )
    run = torch.compile(wrapped, backend="aot_eager") if compiled else wrapped
    optimizer = AdamW(run.parameters(), lr=0.02, weight_decay=0.1, fused=True)
    with soup.guard(run, optimizer, ticket) as guard:
        train(
            run, list(model.parameters()), optimizer, range(2), accumulation=2, clip=0.1
        )
        guard.check(wrapped)
    assert dead_bits(ticket.mask, state(model)) == 0


def test_parameters_in_pieces_are_refused(
    model: nn.Module, ticket: soup.Ticket, processes: None
) -> None:
    fully_shard(model)
    with pytest.raises(soup.SoupError, match=r"'one\.weight' is split among processes"):
        soup.guard(model, SGD(model.parameters(), lr=0.1), ticket)


@pytest.fixture
def processes(tmp_path: Path) -> Iterator[None]:
    """A group of one."""
    dist.init_process_group(
        "gloo", init_method=f"file://{tmp_path}/group", rank=0, world_size=1
    )
    yield
    dist.destroy_process_group()


def test_two_guards_and_a_second_release_do_no_harm(
    model: nn.Module, ticket: soup.Ticket
) -> None:
    optimizer = AdamW(model.parameters(), lr=0.02)
    first, second = (
        soup.guard(model, optimizer, ticket),
        soup.guard(model, optimizer, ticket, every=0),
    )
    with second:
        train(model, list(model.parameters()), optimizer, range(1))
        first.release()
        first.release()
        train(model, list(model.parameters()), optimizer, range(1, 3))
        second.release()
    assert (first.steps, second.steps) == (1, 3)
    assert dead_bits(ticket.mask, state(model)) == 0
    copy = deepcopy(model)  # a guarded model can be copied, and the copy is free
    assert copy.get_parameter("one.weight")._backward_hooks is None


def test_an_average_begun_too_early_is_found(model: nn.Module) -> None:
    average = optim.swa_utils.AveragedModel(
        model, multi_avg_fn=optim.swa_utils.get_ema_multi_avg_fn(0.5)
    )
    average.update_parameters(model)
    ticket = ticket_of(model)
    ticket.apply(model)
    optimizer = AdamW(model.parameters(), lr=0.02)
    guard = soup.guard(model, optimizer, ticket)
    train(model, list(model.parameters()), optimizer, range(1))
    average.update_parameters(model)
    with pytest.raises(
        soup.RevivedError, match="an average begun before the ticket was applied"
    ):
        guard.check(average)
