"""Parameters: every parameter of a model, whether it is in scope, and the three denominators of sparsity.

Papers give sparsity over the prunable weights, sometimes over the encoder, and readers take it for the whole model.
A survey says all three.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import prod

from torch import nn

from .names.layers import stack_of
from .names.naming import is_fused
from .scope import Scope


@dataclass(frozen=True)
class ParameterFacts:
    """One parameter.

    Attributes:
        shape: as the model has it.
        prunable: whether it is in scope.
        trained: whether training changes it.
        names: other names that the same tensor goes by (tied weights).
        fused: whether it holds several projections in one matrix.
    """

    shape: tuple[int, ...]
    prunable: bool
    trained: bool
    names: tuple[str, ...] = ()
    fused: bool = False

    @property
    def numel(self) -> int:
        """How many weights it has."""
        return prod(self.shape)


@dataclass(frozen=True)
class Survey:
    """All parameters of a model by name, each tensor once."""

    parameters: Mapping[str, ParameterFacts]

    @classmethod
    def of(cls, model: nn.Module, scope: Scope) -> Survey:
        """Look *model* over."""
        all_names: dict[int, list[str]] = {}
        for name, parameter in model.named_parameters(remove_duplicate=False):
            all_names.setdefault(id(parameter), []).append(name)

        parameters = {}
        for name, parameter in model.named_parameters():
            parameters[name] = ParameterFacts(
                shape=tuple(parameter.shape),
                prunable=name in scope,
                trained=parameter.requires_grad,
                names=tuple(other for other in all_names[id(parameter)] if other != name),
                fused=is_fused(name),
            )
        return cls(parameters)

    @property
    def prunable(self) -> int:
        """Weights in scope: the denominator of every sparsity in this project."""
        return sum(facts.numel for facts in self.parameters.values() if facts.prunable)

    @property
    def encoder(self) -> int:
        """Weights of the stacks of layers that the prunable ones stand in, biases and norms included."""
        stacks = {
            stack_of(name) for name, facts in self.parameters.items() if facts.prunable
        }
        return sum(
            facts.numel
            for name, facts in self.parameters.items()
            if stack_of(name) in stacks
        )

    @property
    def whole(self) -> int:
        """All weights of the model."""
        return sum(facts.numel for facts in self.parameters.values())
