"""LTH, compared with iterative magnitude pruning written out in plain torch."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

import instant_soup as soup
from instant_soup.core.errors import KnobError, UnknownName
from instant_soup.methods import METHODS, Lottery
from instant_soup.tasks import CourseTask
from instant_soup.training.order import Order
from instant_soup.training.seeds import stream

Make = Callable[..., CourseTask]
Tensors = dict[str, Tensor]
SCOPE = ("one.weight", "two.weight")


def fitted(
    task: CourseTask, theta: Tensors, mask: Tensors, first: int, last: int
) -> Tensors:
    """AdamW with decoupled decay, a clipped gradient and a rate that falls to zero at T, by hand."""
    model: nn.Module = deepcopy(task.course.model)
    model.load_state_dict(
        {name: part * mask.get(name, torch.ones(())) for name, part in theta.items()}
    )
    order = Order(60, 8, stream(task.seed, "order"))
    state = {
        name: (torch.zeros_like(p), torch.zeros_like(p))
        for name, p in model.named_parameters()
    }
    for i in range(first, last):
        inputs, targets = task.course.train.batch(order.at(i))
        F.cross_entropy(model(inputs), targets).backward()
        grads = {
            name: p.grad * mask.get(name, torch.ones(()))
            for name, p in model.named_parameters()
        }
        norm = sum(g.square().sum() for g in grads.values()).sqrt()
        rate, turn = task.regime.rate * (1 - i / task.horizon), i - first + 1
        for name, p in model.named_parameters():
            g, (m, v) = (
                grads[name] * min(1.0, task.regime.clip / float(norm + 1e-6)),
                state[name],
            )
            m.lerp_(g, 0.1)
            v.mul_(0.999).addcmul_(g, g, value=0.001)
            p.data *= 1 - rate * task.regime.weight_decay
            p.data -= (
                rate * (m / (1 - 0.9**turn)) / ((v / (1 - 0.999**turn)).sqrt() + 1e-8)
            )
            p.grad = None
    return {name: p.detach() for name, p in model.named_parameters()}


def cut(theta: Tensors, mask: Tensors, sparsity: float) -> Tensors:
    """The largest living magnitudes of both matrices together."""
    sizes = torch.cat([(theta[name].abs() * mask[name]).flatten() for name in SCOPE])
    bar = sizes.sort(descending=True).values[round((1 - sparsity) * len(sizes)) - 1]
    return {name: (theta[name].abs() >= bar) & mask[name] for name in SCOPE}


def by_hand(
    task: CourseTask, targets: list[float], k: int, *, rewind_head: bool
) -> tuple[Tensors, Tensors]:
    """Iterative magnitude pruning: the last mask, and the weights that each level was rewound to."""
    origin = {
        name: p.detach().clone() for name, p in task.course.model.named_parameters()
    }
    mask = {name: torch.ones_like(origin[name]).bool() for name in SCOPE}
    start = fitted(task, origin, mask, 0, k)
    theta = start
    for sparsity in targets:
        trained = fitted(task, theta, mask, k, task.horizon)
        mask = cut(trained, mask, sparsity)
        theta = {
            name: trained[name] if "head" in name and not rewind_head else start[name]
            for name in start
        }
    return mask, start


@pytest.mark.parametrize("rewind_head", [False, True])
@pytest.mark.parametrize(
    ("name", "rewind", "k"), [("lth", 0.0, 0), ("lth-rewind", 0.2, 3)]
)
def test_the_ticket_is_that_of_iterative_magnitude_pruning_by_hand(
    points: Make, name: str, rewind: float, k: int, rewind_head: bool
) -> None:
    task = points()
    knobs = {"rewind": rewind} if rewind else {}
    ticket = METHODS[name](**knobs, compression=0.3, rewind_head=rewind_head).draw(
        task, 0.8
    )
    mask, start = by_hand(task, [0.3, 0.6, 0.8], k, rewind_head=rewind_head)
    for parameter in SCOPE:
        assert torch.equal(ticket.mask[parameter], mask[parameter])
    if k:
        for parameter, part in ticket.start.items():
            torch.testing.assert_close(
                part, start[parameter] * mask.get(parameter, torch.ones(()))
            )
    else:
        assert set(ticket.start) == task.course.fresh
        assert all(
            torch.equal(part, start[parameter])
            for parameter, part in ticket.start.items()
        )


def test_rewinding_and_the_rewound_head_are_seen_in_the_mask(points: Make) -> None:
    """Else the test above would compare four times the same thing."""
    ways = [(0.0, False), (0.0, True), (0.2, False), (0.2, True)]
    masks = {
        Lottery(rewind=k, compression=0.3, rewind_head=head).draw(points(), 0.8).mask
        for k, head in ways
    }
    assert len(masks) == 4


def test_levels_of_the_way_are_tickets_of_their_own(points: Make) -> None:
    """The sweep through one sparsity leads through those below it."""
    method = Lottery(compression=0.2, share="geometric")
    deep, middle = method.draw(points(), 0.488), method.draw(points(), 0.36)
    assert deep.mask <= middle.mask


def test_each_level_costs_a_whole_fine_tune_and_the_start_is_shared(points: Make) -> None:
    meter = soup.Meter()
    Lottery(rewind=0.2, compression=0.3).draw(points(), 0.8, meter)
    assert meter.bill["train"].steps == 3 + 3 * (15 - 3)
    assert set(meter.bill) == {"train"}


def test_a_rewind_that_is_not_zero_is_one_step_at_least(points: Make) -> None:
    meter = soup.Meter()
    ticket = Lottery(rewind=1e-6, compression=0.5).draw(points(), 0.5, meter)
    assert meter.bill["train"].steps == 15
    assert set(ticket.start) == set(dict(points().course.model.named_parameters()))


def test_knobs_that_cannot_work_are_refused() -> None:
    for rewind in (-0.1, 1.0, float("nan")):
        with pytest.raises(KnobError, match="rewind is"):
            Lottery(rewind=rewind)
    with pytest.raises(KnobError, match="compression"):
        Lottery(compression=1.0)
    with pytest.raises(UnknownName, match="share"):
        Lottery(share="quadratic")  # type: ignore[arg-type]
