"""Optim: AdamW whose learning rate follows a line, and whose memory obeys the mask."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor, nn
from torch.optim import AdamW

from ..core.weights import Lazy, Weights
from .layout import local
from .regime import Regime

MOMENTS = ("exp_avg", "exp_avg_sq")


@dataclass(frozen=True)
class RateLine:
    """The learning rate at each of *horizon* steps: up for *warmup* steps, flat to step *flat*, then down to zero."""

    rate: float
    horizon: int
    warmup: int = 0
    flat: int = 0

    @classmethod
    def of(cls, regime: Regime, horizon: int) -> Self:
        """The line of *regime*, *horizon* steps long."""
        return cls(
            regime.rate,
            horizon,
            round(regime.warmup * horizon),
            regime.flat_steps(horizon),
        )

    def at(self, step: int) -> float:
        """The rate of step number *step*, counted from 0."""
        if step < self.warmup:
            return self.rate * (step + 1) / self.warmup

        falls_from = max(self.warmup, self.flat)
        if step < falls_from:
            return self.rate

        return self.rate * max(0, self.horizon - step) / max(1, self.horizon - falls_from)


def adamw(parameters: Iterable[nn.Parameter], weight_decay: float) -> AdamW:
    """Fused AdamW, beta 0.9 and 0.999, eps 1e-8; its rate is set before each step."""
    return AdamW(list(parameters), lr=0.0, weight_decay=weight_decay, fused=True)


def moments(optimizer: AdamW, named: Mapping[str, nn.Parameter]) -> dict[str, Tensor]:
    """The optimiser's memory by ``MOMENT/NAME``, with ``step/NAME``: the live tensors."""
    memory = {}
    for kind in (*MOMENTS, "step"):
        for name, parameter in named.items():
            # a parameter that has had no gradient yet has no memory either
            if parameter in optimizer.state:
                memory[f"{kind}/{name}"] = optimizer.state[parameter][kind]
    return memory


def remember(
    optimizer: AdamW, named: Mapping[str, nn.Parameter], memory: Mapping[str, Tensor]
) -> None:
    """Give *optimizer* a copy of a memory that `moments` gave."""
    optimizer.state.clear()
    for name, parameter in named.items():
        if f"step/{name}" in memory:
            optimizer.state[parameter] = {
                kind: memory[f"{kind}/{name}"].to(parameter.device, copy=True)
                for kind in (*MOMENTS, "step")
            }


def second_moments(optimizer: AdamW, named: Mapping[str, nn.Parameter]) -> Weights:
    """The running means of squared gradients without their bias, of what is here; empty where nothing was trained."""
    if not optimizer.state:
        return {}

    beta = optimizer.param_groups[0]["betas"][1]

    def unbiased(name: str) -> Tensor:
        parameter = named[name]
        if parameter not in optimizer.state:
            return torch.zeros_like(local(parameter), dtype=torch.float32)

        memory = optimizer.state[parameter]
        seen: float = 1 - beta ** float(memory["step"])
        return local(memory["exp_avg_sq"]).float() / seen

    return Lazy(named, unbiased)


@torch.no_grad()
def forget(optimizer: AdamW, parameter: nn.Parameter, keep: Tensor) -> None:
    """Zero the optimiser's memory of a parameter's weights where *keep* is zero."""
    if parameter not in optimizer.state:
        return

    pruned = keep == 0
    for kind in MOMENTS:
        # by selection: a product would make NaN of a moment that has overflown
        local(optimizer.state[parameter][kind]).masked_fill_(pruned, 0.0)
