"""A miniature in plain torch that tests can redo by hand: points in three classes."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

import instant_soup as soup
from instant_soup.tasks import CourseTask


@dataclass
class Rows:
    """Points and their classes, a batch being a pair of both."""

    inputs: Tensor
    targets: Tensor
    lengths: Sequence[int] | None = None

    def __len__(self) -> int:
        return len(self.inputs)

    def batch(self, indices: Sequence[int]) -> tuple[Tensor, Tensor]:
        return self.inputs[list(indices)], self.targets[list(indices)]


@pytest.fixture
def rows() -> Callable[[int, int], Rows]:
    def draw(count: int, seed: int) -> Rows:
        inputs = torch.randn(count, 6, generator=torch.Generator().manual_seed(seed))
        blurred = inputs[:, :3] + 0.7 * torch.randn(
            count, 3, generator=torch.Generator().manual_seed(seed + 100)
        )
        return Rows(inputs, blurred.argmax(1))

    return draw


@pytest.fixture
def points(rows: Callable[[int, int], Rows]) -> Callable[..., CourseTask]:
    """A network of two matrices and a new head on points; what is given changes the regime."""

    def task(**regime: Any) -> CourseTask:
        with torch.random.fork_rng():
            torch.manual_seed(1)
            layers = {
                "one": nn.Linear(6, 12),
                "a": nn.Tanh(),
                "two": nn.Linear(12, 8),
                "b": nn.Tanh(),
            }
            model = nn.Sequential(OrderedDict({**layers, "head": nn.Linear(8, 3)}))
        settings = {
            "steps": 15,
            "batch": 8,
            "rate": 0.05,
            "weight_decay": 0.1,
            "precision": "float32",
            **regime,
        }
        splits = {"train": rows(60, 0), "validation": rows(40, 1), "test": rows(40, 2)}
        loader: Any = DataLoader(TensorDataset(torch.zeros(1)))
        made = soup.tasks.module(
            "points",
            model,
            train=loader,
            validation=loader,
            test=loader,
            loss=F.cross_entropy,
            metric=lambda outputs, targets: float(
                (outputs.argmax(1) == targets).float().mean()
            ),
            fresh=("head.weight", "head.bias"),
            regime=soup.Regime(**settings),
        )

        def smooth(outputs, targets, by):
            return F.cross_entropy(outputs, targets, label_smoothing=by)

        return replace(made, course=replace(made.course, loss=smooth, **splits))

    return task
