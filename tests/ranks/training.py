"""What ranks do to find out that they train, look ahead, prune and save as one does.

The model is a miniature without dropout, whose matrices have rows that 2 and 4 ranks cannot share evenly.
"""

from __future__ import annotations

import os
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

import instant_soup as soup
from instant_soup.core.budget import Meter
from instant_soup.core.errors import RankError, TrainingError
from instant_soup.core.mask import Mask
from instant_soup.core.prune import prune
from instant_soup.core.score import chance, curved, magnitude
from instant_soup.core.task import Brief, Sample, Variation
from instant_soup.core.ticket import Ticket
from instant_soup.soup.average import learned
from instant_soup.tasks import CourseTask
from instant_soup.training import ranks
from instant_soup.training.learner import ModuleLearner


@dataclass
class Rows:
    """Points and their classes; batches are of similar length where *lengths* says so."""

    inputs: Tensor
    targets: Tensor
    lengths: Sequence[int] | None = None

    def __len__(self) -> int:
        return len(self.inputs)

    def batch(self, indices: Sequence[int]) -> tuple[Tensor, Tensor]:
        return self.inputs[list(indices)], self.targets[list(indices)]


def points(**regime: Any) -> CourseTask:
    """Points in three classes, and a network whose blocks are a list, one of its parameters without use."""
    torch.manual_seed(1)
    blocks = nn.ModuleList([nn.Linear(7, 7), nn.Linear(7, 7)])
    model = Net(
        OrderedDict(
            {
                "up": nn.Linear(6, 7),
                "blocks": blocks,
                "narrow": nn.Linear(7, 3),
                "head": nn.Linear(3, 3),
            }
        )
    )
    dice = torch.Generator().manual_seed(0)
    splits = {}
    for name, count in (("train", 61), ("validation", 300), ("test", 40)):
        inputs = torch.randn(count, 6, generator=dice)
        splits[name] = Rows(
            inputs,
            (inputs[:, :3] + 0.5 * torch.randn(count, 3, generator=dice)).argmax(1),
        )
    loader: Any = DataLoader(TensorDataset(torch.zeros(1)))
    settings = {
        "steps": 16,
        "batch": 8,
        "rate": 0.02,
        "weight_decay": 0.1,
        "precision": "float32",
        "clip": 0.5,
    }
    made = soup.tasks.module(
        "points", model, train=loader, validation=loader, test=loader, loss=F.cross_entropy,
        metric=lambda outputs, targets: float((outputs.argmax(1) == targets).float().mean()),
        fresh=("head.weight", "head.bias"), regime=soup.Regime(**{**settings, **regime}),
    )  # fmt: skip

    def smooth(outputs, targets, by):
        return F.cross_entropy(outputs, targets, label_smoothing=by)

    return replace(made, course=replace(made.course, loss=smooth, **splits))


class Net(nn.Module):
    """Blocks with a residual, between two matrices and a head."""

    def __init__(self, parts: dict[str, nn.Module]) -> None:
        super().__init__()
        for name, part in parts.items():
            self.add_module(name, part)
        self.idle = nn.Parameter(torch.ones(2))

    def forward(self, x: Tensor) -> Tensor:
        x = self.up(x)
        for block in self.blocks:
            x = x + block(x.tanh())
        return self.head(self.narrow(x).tanh())


def story(*, accumulation: int = 1) -> dict[str, Any]:
    """Everything that a learner does, and what it leaves, put together at rank 0."""
    task, meter = points(accumulation=accumulation), Meter()
    learner = task.learner(meter)
    learner.train(4)
    learner.apply_mask(prune(chance(learner), learner.mask, 0.3))
    learner.train(4)
    before, memory, seen = learner.weights(), dict(learner.second_moments()), []
    looks = [
        Brief(3, Variation(rate=2.0, seed=seed, subset=0.5), carry_optimizer=seed == 1)
        for seed in (0, 1)
    ]
    for masks, weights in learner.look_ahead(
        looks, lambda scout: (weak(scout), scout.weights())
    ):
        seen += [mask.digest for mask in masks]
        assert not all(torch.equal(weights[name], part) for name, part in before.items())
    after = learner.view()
    assert all(torch.equal(after[name], part) for name, part in before.items())
    moments = learner.second_moments()
    assert all(torch.equal(moments[name], part) for name, part in memory.items())
    by_curvature = prune(curved(learner), learner.mask, 0.6)
    put_together = learner.scope.shards.whole
    whole_moments = {name: put_together(name, part) for name, part in memory.items()}
    learner.apply_mask(prune(magnitude(learner), learner.mask, 0.6))
    learner.train(4)
    dead = {
        name: part[~learner.mask[name]]
        for name, part in learner.view().items()
        if name in learner.mask
    }
    assert not any(part.any() for part in dead.values())
    ticket = Ticket.drawn(learner, {"name": "story"})
    return {
        "ticket": unpacked(ticket.whole()),
        "digest": ticket.digest,
        "looks": seen,
        "curved": by_curvature.kept_by_name,
        "moments": whole_moments,
        "bill": meter.bill,
        "figures": (learner.evaluate(), learner.loss()),
        "layers": learner.mask.kept_by_name,
        "held": sum(part.numel() for part in learner.view().values()),
    }


def weak(learner: Any) -> tuple[Mask, Mask]:
    """What a look-ahead cuts, by magnitude and by curvature."""
    return tuple(
        prune(score(learner), learner.mask, 0.6) for score in (magnitude, curved)
    )  # type: ignore[return-value]


def unpacked(ticket: Ticket | None) -> tuple[dict[str, Tensor], dict[str, Tensor]] | None:
    """Mask and start of a ticket, as plain tensors."""
    return None if ticket is None else (dict(ticket.mask.items()), dict(ticket.start))


def told() -> dict[str, Any]:
    """The story, and what is refused, under the layout that the environment asks for."""
    found = story()
    learner = points().learner(Meter())
    put_together = learner.scope.shards.whole
    found["gradient"] = {
        name: put_together(name, part)
        for name, part in learner.gradient(Sample(4)).items()
    }
    found["soup"] = learned_soup(learner)
    found["averaged"] = averaged()
    if ranks.sharded():
        with pytest.raises(RankError, match="Hessian is not computed under FSDP2"):
            learner.curvature(Sample(2))
        found["bf16"] = in_bf16()
    else:
        found["disagreement"] = disagreement(learner)
    # on all ranks, though one alone sees it
    with pytest.raises(TrainingError, match="loss is nan"):
        diverge(points())
    return found


def averaged() -> dict[str, Tensor]:
    """The mean of the weights over the last half of a training, put together at rank 0."""
    learner = points(tail=0.5).learner(Meter())
    learner.train(4)
    learner.apply_mask(prune(magnitude(learner), learner.mask, 0.5))
    learner.train(12)
    return dict(learner.whole())


def learned_soup(learner: ModuleLearner) -> list[float]:
    """Figures of the learned soup of two bowls of weights."""
    bowls = [
        learner.weights(),
        {name: 0.5 * part for name, part in learner.weights().items()},
    ]
    learner.restore(learned(learner, bowls, [0.0, 0.0], steps=5, per_class=4).weights)
    return [learner.loss(), learner.evaluate()]


def in_bf16() -> tuple[float, set[torch.dtype]]:
    """Loss after a few steps in bf16 under a mask, and what the weights are kept in."""
    learner = points(precision="bfloat16").learner(Meter())
    learner.train(4)
    learner.apply_mask(prune(magnitude(learner), learner.mask, 0.5))
    learner.train(12)
    dead = {
        name: part[~learner.mask[name]]
        for name, part in learner.view().items()
        if name in learner.mask
    }
    assert not any(part.any() for part in dead.values())
    with pytest.raises(RankError, match="gathers parameters in bf16"):
        learner.gradient(Sample(2))
    return learner.loss(), {part.dtype for part in learner.view().values()}


def disagreement(learner: ModuleLearner) -> str:
    """What is said where the last rank has another mask."""
    mask, team = Mask.dense(learner.scope), ranks.team()
    if team.rank == team.size - 1:
        flags = {name: mask[name] for name in mask}
        flags["blocks.1.weight"][0, 0] = False
        mask = Mask(mask.scope, flags)
    with pytest.raises(RankError) as found:
        learner.apply_mask(mask)
    return str(found.value)


def diverge(task: CourseTask) -> None:
    learner = task.learner(Meter())
    task.course.train.inputs[3] = torch.nan
    learner.train(8)


def both_layouts() -> tuple[dict[str, Any], dict[str, Any]]:
    os.environ.pop("ACCELERATE_USE_FSDP", None)
    replicated = told()
    os.environ |= {"ACCELERATE_USE_FSDP": "true", "FSDP_VERSION": "2"}
    return replicated, told()


def saved(folder: Path) -> list[str]:
    """A ticket of the same scores, saved from each layout by whoever writes: its digests."""
    found = []
    for use in ("false", "true"):
        os.environ |= {"ACCELERATE_USE_FSDP": use, "FSDP_VERSION": "2"}
        learner = points().learner(Meter())
        learner.apply_mask(prune(magnitude(learner), learner.mask, 0.6))
        ticket = Ticket.drawn(learner, {"name": "magnitude"})
        if ranks.sharded() or ranks.team().rank == 0:
            ticket.save(folder / f"{ranks.team().size}-{use}.safetensors")
        found.append(ticket.digest)
    return found
